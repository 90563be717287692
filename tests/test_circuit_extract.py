"""The lone circuit computes what the masked model computes, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import (
    HEADS,
    VOCAB,
    Switches,
    nodes_of,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from wirework.circuit import extract, sizes
from wirework.core import Site, WireworkError
from wirework.core.names import EDGE_BLOCKS
from wirework.engine import Network, SiteGate, SparseMatrix, check_network, forward

ANSWERS = np.array([7, 2, 4])
EVERY = ("attn.in", "attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.neuron", "mlp.out")
COMPETING = Switches(3, 2, "concat", True, True, True, "gelu", EVERY, False)


def half_kept(network: Network) -> dict[Site, SiteGate]:
    """Every site keeps its even channels."""
    random = np.random.default_rng(0)
    gates = {}
    for index in range(len(network.layers)):
        for kind in EVERY:
            width = network.width(Site(index, kind))
            gates[Site(index, kind)] = SiteGate(
                np.arange(width) % 2 == 0, random.normal(size=width)
            )
    return gates


@settings(max_examples=200)
@given(switches(), st.integers(0, 2**32 - 1))
def test_the_lone_circuit_is_the_masked_model(want: Switches, seed: int) -> None:
    network, tokens = random_network(want), random_tokens(want)
    gates = random_gates(network, seed)
    alone = extract(network, gates, ANSWERS)
    check_network(alone)
    masked = forward(replace(network, gates=gates), tokens, dtype=np.float64, record=True)
    lone = forward(alone, tokens, dtype=np.float64, record=True)
    np.testing.assert_allclose(lone.logits, masked.logits[..., ANSWERS], rtol=0, atol=1e-9)
    # Not only the answer: every site that keeps a node carries the same numbers.
    for site in nodes_of(alone):
        np.testing.assert_allclose(
            lone.sites[site], masked.sites[site], rtol=0, atol=1e-9, err_msg=str(site)
        )


@settings(max_examples=20)
@given(switches())
def test_keeping_everything_is_the_whole_model(want: Switches) -> None:
    network, tokens = random_network(want), random_tokens(want)
    everything = extract(network, {}, np.arange(VOCAB))
    np.testing.assert_array_equal(
        forward(everything, tokens).logits, forward(network, tokens).logits
    )


@settings(max_examples=40)
@given(switches(), st.integers(0, 2**32 - 1))
def test_only_what_is_needed_is_stored(want: Switches, seed: int) -> None:
    """Cut sources leave no weight; rows of cut channels stay only where they compete."""
    network = random_network(want)
    gates = random_gates(network, seed)
    alone = extract(network, gates, ANSWERS)
    for index, layer in enumerate(alone.layers):
        for source, target in EDGE_BLOCKS:
            matrix, whole = layer.into(target), network.layers[index].into(target)
            read = alone.kept(Site(index, source))
            keep = alone.kept(Site(index, target))
            competes = target in want.topk and network.topk[target] < len(keep) and keep.any()
            needed = whole.to_dense() * (keep | competes)[:, None]
            needed[:, : len(read)] *= read
            np.testing.assert_array_equal(matrix.to_dense(), needed)
    assert alone.unembedding.shape == (3, network.d_model)
    assert not np.isin(
        alone.unembedding.indices, np.flatnonzero(~alone.kept(Site(None, "final")))
    ).any()


def test_without_shadow_weights_the_answer_changes() -> None:
    """The weights into cut channels carry no signal, yet decide who wins an AbsTopK."""
    network, tokens = random_network(COMPETING), random_tokens(COMPETING)
    alone = extract(network, half_kept(network), ANSWERS)
    layers = []
    for index, layer in enumerate(alone.layers):
        into = {kind: alone.kept(Site(index, kind)) for kind in EVERY}
        bare = replace(
            layer,
            q=layer.q.select(rows=into["attn.q"]),
            k=layer.k.select(rows=into["attn.k"]),
            v=layer.v.select(rows=into["attn.v"]),
            attn_out=layer.attn_out.select(rows=into["attn.out"]),
            mlp_in=layer.mlp_in.select(rows=into["mlp.neuron"]),
            mlp_out=layer.mlp_out.select(rows=into["mlp.out"]),
        )
        layers.append(bare)
    stripped = replace(alone, layers=tuple(layers))
    nodes = nodes_of(alone)
    assert sizes(alone, nodes, ()).shadow_weights > 0
    assert sizes(stripped, nodes, ()).shadow_weights == 0
    assert sizes(stripped, nodes, ()).edges == sizes(alone, nodes, ()).edges
    full = forward(alone, tokens, dtype=np.float64).logits
    without = forward(stripped, tokens, dtype=np.float64).logits
    assert np.median(np.abs(full - without)) > 0.01


def test_without_abstopk_there_are_no_shadow_weights() -> None:
    network = random_network(replace(COMPETING, topk=()))
    alone = extract(network, half_kept(network), ANSWERS)
    assert sizes(alone, nodes_of(alone), ()).shadow_weights == 0


def test_cut_values_of_a_head_with_a_sink_count_by_its_attention() -> None:
    """Their constants cannot go into a bias: the sink takes a share that changes from token to
    token. Without sinks they can."""
    for sink in (True, False):
        want = replace(COMPETING, sink=sink, topk=())
        network, tokens = random_network(want), random_tokens(want)
        alone = extract(network, half_kept(network), ANSWERS)
        constant = alone.layers[0].head_constant
        assert (constant is not None) == sink
        if constant is not None:
            assert constant.shape == (network.d_model, HEADS)
            frozen = replace(alone.layers[0], head_constant=None)
            without = replace(alone, layers=(frozen, *alone.layers[1:]))
            gap = forward(alone, tokens).logits - forward(without, tokens).logits
            assert np.abs(gap).max() > 0.01


def test_a_tie_between_a_kept_and_a_cut_channel_goes_to_the_lower_index() -> None:
    """Two neurons with equal weights, of which AbsTopK keeps one: the lower index wins, cut or
    not, in the masked model and in the circuit."""
    want = replace(COMPETING, n_layer=1, topk=("mlp.neuron",), ties=False)
    network, tokens = random_network(want), random_tokens(want)
    dense = network.layers[0].mlp_in.to_dense()
    dense[:] = 0
    dense[3, 0] = dense[8, 0] = 2.0
    assert network.layers[0].mlp_in_bias is not None
    twins = replace(
        network.layers[0],
        mlp_in=SparseMatrix.from_dense(dense),
        mlp_in_bias=np.zeros_like(network.layers[0].mlp_in_bias),
    )
    network = replace(network, layers=(twins,), topk={"mlp.neuron": 1})
    site = Site(0, "mlp.neuron")
    for kept, wins in ((3, True), (8, False)):
        gate = SiteGate(np.arange(len(dense)) == kept, np.zeros(len(dense)))
        alone = extract(network, {site: gate}, ANSWERS)
        value = forward(alone, tokens, dtype=np.float64, record=True).sites[site][..., kept]
        assert value.any() == wins


def test_a_part_cannot_be_taken_out_of_a_part() -> None:
    network = random_network(COMPETING)
    alone = extract(network, half_kept(network), ANSWERS)
    with pytest.raises(WireworkError) as caught:
        extract(alone, {}, ANSWERS)
    assert caught.value.code == "network-gated"
