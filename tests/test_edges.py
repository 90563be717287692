"""Edges that are cut: the target sees the constant of the source, in every kind of block."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuits import small_circuit
from networks import (
    PLACES,
    Switches,
    dense_forward,
    nodes_of,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from wirework.circuit import (
    Circuit,
    cut_edges,
    edges,
    extract,
    on_path,
    sizes,
    unlinked,
    without_edges,
    without_node,
)
from wirework.core import Edge, Node, Site, WireworkError
from wirework.core.names import EDGE_BLOCKS
from wirework.engine import Network, SiteGate, check_network, forward

ANSWERS = np.array([7, 2, 4])
SINKS = Switches(
    3, 2, "concat", True, True, True, "gelu", PLACES, False, "layer", True, position_in_topk=True
)
SHARES = st.sampled_from([0.1, 0.5, 1.0])


def some_edges(network: Network, seed: int, share: float) -> list[Edge]:
    """Some of the nonzero weights between kept nodes of a gated network."""
    random = np.random.default_rng([seed, 4])
    found = [edge for edge, _ in edges(network, nodes_of(network))]
    return [edge for edge in found if random.random() < share]


@settings(max_examples=120)
@given(switches(), st.integers(0, 2**32 - 1), SHARES, st.booleans())
def test_a_circuit_without_some_edges_is_the_model_without_them(
    want: Switches, seed: int, share: float, before: bool
) -> None:
    network, tokens = random_network(want), random_tokens(want)
    gated = replace(network, gates=random_gates(network, seed, every=True, before=before))
    cut = some_edges(gated, seed, share)
    alone = extract(network, gated.gates, ANSWERS, cut)
    check_network(alone)
    logits, sites = dense_forward(gated, tokens, cut)
    lone = forward(alone, tokens, dtype=np.float64, record=True)
    for site in nodes_of(alone):
        np.testing.assert_allclose(
            lone.sites[site], sites[site], rtol=0, atol=1e-9, err_msg=str(site)
        )
    np.testing.assert_allclose(lone.logits, logits[..., ANSWERS], rtol=0, atol=1e-9)
    # The same edges cut in the gated model, or later out of the circuit, in two goes.
    whole = forward(without_edges(gated, cut), tokens, dtype=np.float64).logits
    np.testing.assert_allclose(whole, logits, rtol=0, atol=1e-9)
    half = extract(network, gated.gates, ANSWERS, cut[::2])
    later = forward(without_edges(half, cut[1::2]), tokens, dtype=np.float64).logits
    np.testing.assert_allclose(later, logits[..., ANSWERS], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), EDGE_BLOCKS)
@pytest.mark.parametrize("sink", [True, False])
def test_one_edge_of_every_block_is_cut_and_counted(source: str, target: str, sink: bool) -> None:
    network = random_network(replace(SINKS, sink=sink))
    tokens = random_tokens(SINKS)
    random = np.random.default_rng(0)
    gates = {}
    for layer in range(2):
        for place in PLACES[:8]:
            site = Site(layer, place)
            width = network.width(site)
            gates[site] = SiteGate(np.arange(width) != 1, random.normal(size=width))
    gated = replace(network, gates=gates)
    alone = extract(network, gates, ANSWERS)
    nodes = nodes_of(alone)
    before = sizes(alone, nodes, ())
    logits = forward(alone, tokens, dtype=np.float64).logits
    changed = False
    for edge, _ in edges(alone, nodes):
        if (edge.source.site.kind, edge.target.site.kind) == (source, target):
            less = without_edges(alone, [edge])
            found = forward(less, tokens, dtype=np.float64).logits
            np.testing.assert_allclose(
                found, dense_forward(gated, tokens, [edge])[0][..., ANSWERS], rtol=0, atol=1e-9
            )
            after = sizes(less, nodes, ())
            assert replace(after, edges=after.edges + 1) == before
            assert edge not in {found for found, _ in edges(less, nodes)}
            changed |= bool(np.abs(found - logits).max() > 1e-3)
    assert changed


@settings(max_examples=40)
@given(switches(), st.integers(0, 2**32 - 1), SHARES)
def test_a_node_whose_edges_are_all_gone_falls_off_every_path(
    want: Switches, seed: int, share: float
) -> None:
    network = random_network(want)
    gates = random_gates(network, seed, every=True)
    gated = replace(network, gates=gates)
    nodes, cut = nodes_of(gated), some_edges(gated, seed, share)
    alone = extract(network, gates, ANSWERS, cut)
    used = on_path(network, nodes, outputs=ANSWERS, cut=cut)
    assert used == on_path(alone, nodes)
    assert used == on_path(unlinked(network, cut), nodes, outputs=ANSWERS)
    # Whether a path is left does not depend on edges of nodes that are on none.
    left = [e for e in cut if all(end.index in used.get(end.site, ()) for end in ends(e))]
    assert on_path(network, used, outputs=ANSWERS, cut=left) == used


def ends(edge: Edge) -> tuple[Node, Node]:
    return edge.source, edge.target


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(switches(), st.integers(0, 2**32 - 1), SHARES, st.booleans())
def test_the_cut_edges_of_a_circuit_can_be_told_from_its_file(
    tmp_path: Path, want: Switches, seed: int, share: float, before: bool
) -> None:
    network = random_network(want)
    gates = random_gates(network, seed, every=True, before=before)
    cut = some_edges(replace(network, gates=gates), seed, share)
    alone = extract(network, gates, ANSWERS, cut)
    circuit = small_circuit(nodes=nodes_of(alone), network=alone)
    circuit.save(tmp_path / "a.circuit")
    found = Circuit.load(tmp_path / "a.circuit")
    assert found.edges() == circuit.edges()
    assert set(cut_edges(found, network)) == set(cut)
    assert len(cut) + found.n_edges == len(edges(network, found.nodes))
    again = extract(network, gates, ANSWERS, cut_edges(found, network))
    tokens = random_tokens(want)
    np.testing.assert_array_equal(
        forward(again, tokens, dtype=np.float64).logits, found.logits(tokens, np.float64)
    )


@settings(max_examples=40)
@given(switches(), st.integers(0, 2**32 - 1), st.booleans())
def test_a_node_is_cut_out_of_a_circuit(want: Switches, seed: int, before: bool) -> None:
    network, tokens = random_network(want), random_tokens(want)
    gates = random_gates(network, seed, every=True, before=before)
    alone = extract(network, gates, ANSWERS)
    nodes = [Node(site, index) for site, found in nodes_of(alone).items() for index in found]
    for node in nodes[:: max(1, len(nodes) // 5)]:
        gate = gates[node.site]
        keep = gate.keep.copy()
        keep[node.index] = False
        other = {**gates, node.site: replace(gate, keep=keep)}
        wanted = dense_forward(replace(network, gates=other), tokens)[0][..., ANSWERS]
        found = forward(without_node(alone, node), tokens, dtype=np.float64).logits
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


def test_an_edge_with_a_cut_end_says_nothing() -> None:
    network = random_network(SINKS)
    gates = random_gates(network, 1, every=True)
    kept = nodes_of(replace(network, gates=gates))
    everything = {site: tuple(range(network.width(site))) for site in gates}
    shadows = [
        edge
        for edge, _ in edges(network, everything)
        if any(end.index not in kept.get(end.site, ()) for end in ends(edge))
    ]
    assert shadows
    plain, same = extract(network, gates, ANSWERS), extract(network, gates, ANSWERS, shadows)
    tokens = random_tokens(SINKS)
    np.testing.assert_array_equal(forward(plain, tokens).logits, forward(same, tokens).logits)
    assert edges(plain, kept) == edges(same, kept)


def test_what_is_no_edge_is_told() -> None:
    network = random_network(SINKS)
    dense = network.layers[0].mlp_in.to_dense()
    row, col = np.argwhere(dense[:, : network.d_model] == 0)[0]
    wrong = [
        f"0.mlp.in:{col} -> 0.mlp.neuron:{row}",
        "0.mlp.in:0 -> 1.mlp.neuron:0",
        "0.attn.in:0 -> 0.mlp.neuron:0",
        "9.mlp.in:0 -> 9.mlp.neuron:0",
        "0.mlp.in:0 -> 0.mlp.neuron:99",
        "0.mlp.in:99 -> 0.mlp.neuron:0",
        f"0.mlp.in:{network.d_model} -> 0.mlp.neuron:0",  # a position column
    ]
    for name in wrong:
        with pytest.raises(WireworkError) as caught:
            unlinked(network, [Edge.parse(name)])
        assert caught.value.code == "edge-absent", name
    source, target = np.argwhere(dense[:, : network.d_model])[0][::-1]
    edge = Edge.parse(f"0.mlp.in:{source} -> 0.mlp.neuron:{target}")
    with pytest.raises(WireworkError) as caught:
        without_edges(network, [edge])
    assert caught.value.code == "edge-without-constant"
