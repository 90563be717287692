"""The forward pass against its definition, in both precisions, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.special import erf

from networks import Switches, dense_forward, random_gates, random_network, random_tokens, switches
from wirework.core import Site, WireworkError
from wirework.core.names import sites
from wirework.engine import Layer, Network, SparseMatrix, check_network, forward
from wirework.engine.pointwise import activate

SOME = ("attn.in", "attn.v", "mlp.neuron")
WHOLE = Switches(5, 2, "concat", True, True, True, "gelu", SOME, False)
PLAIN = replace(WHOLE, position="none", topk=())


def error_of(network: Network, tokens: NDArray[Any], **options: Any) -> str:
    with pytest.raises(WireworkError) as caught:
        forward(network, tokens, **options)
    return caught.value.code


@settings(max_examples=60)
@given(switches())
def test_a_whole_network_computes_the_definition(want: Switches) -> None:
    network, tokens = random_network(want), random_tokens(want)
    check_network(network)
    logits, seen = dense_forward(network, tokens)
    trace = forward(network, tokens, dtype=np.float64, record=True)
    assert trace.sites.keys() == seen.keys()
    for site, value in seen.items():
        np.testing.assert_allclose(trace.sites[site], value, rtol=0, atol=1e-9, err_msg=str(site))
    np.testing.assert_allclose(trace.logits, logits, rtol=0, atol=1e-9)


@settings(max_examples=50)
@given(switches())
def test_gates_stand_after_abstopk(want: Switches) -> None:
    network, tokens = random_network(want), random_tokens(want)
    gated = replace(network, gates=random_gates(network, want.seed))
    check_network(gated)
    logits, seen = dense_forward(gated, tokens)
    trace = forward(gated, tokens, dtype=np.float64, record=True)
    for site, value in seen.items():
        np.testing.assert_allclose(trace.sites[site], value, rtol=0, atol=1e-9, err_msg=str(site))
    np.testing.assert_allclose(trace.logits, logits, rtol=0, atol=1e-9)


@settings(max_examples=25)
@given(switches())
def test_float32_follows_float64(want: Switches) -> None:
    """Without AbsTopK, whose decisions may differ between precisions."""
    want = replace(want, topk=())
    network, tokens = random_network(want), random_tokens(want)
    narrow = forward(network, tokens)
    assert narrow.logits.dtype == np.float32
    wide = forward(network, tokens, dtype=np.float64)
    np.testing.assert_allclose(narrow.logits, wide.logits, rtol=1e-4, atol=1e-4)


def test_numbers_worked_out_by_hand() -> None:
    """One head copies channel 0 of the first token; a sink with logit 0 takes its part."""

    def matrix(*rows: list[float]) -> SparseMatrix:
        return SparseMatrix.from_dense(np.array(rows, dtype=np.float64))

    layer = Layer(
        attn_gain=np.ones(2),
        q=matrix([0, 0]),
        k=matrix([0, 0]),
        v=matrix([2, 0]),
        sink=np.zeros(1),
        attn_out=matrix([0], [3]),
        mlp_gain=np.ones(2),
        mlp_in=matrix([0, 1]),
        mlp_out=matrix([-1], [0]),
    )
    network = Network(
        n_head=1,
        d_head=1,
        embedding=matrix([1, 0], [0, 0]),
        layers=(layer,),
        final_gain=np.array([1.0, 2.0]),
        unembedding=matrix([1, 0], [0, 1]),
        activation="relu",
        eps=0.5,
        bigram=np.array([[0.0, 0.0], [10.0, 20.0]]),
    )
    trace = forward(network, np.array([[0, 1]]), dtype=np.float64, record=True)
    # Token 0: norm([1, 0]) = [1, 0] since mean square + eps is 1, so v = 2; token 1: v = 0.
    np.testing.assert_allclose(trace.sites[Site(0, "attn.v")].ravel(), [2, 0])
    # Equal scores 0 and a sink of 0: halves, then thirds.
    np.testing.assert_allclose(trace.attention[0][0, 0], [[1 / 2, 0], [1 / 3, 1 / 3]])
    np.testing.assert_allclose(trace.sink[0][0, 0], [1 / 2, 1 / 3])
    np.testing.assert_allclose(trace.sites[Site(0, "attn.out")][0], [[0, 3], [0, 2]])
    # Token 1: residual [0, 2], norm divides by sqrt(2.5); the neuron takes that from channel 0.
    neuron = 2 / np.sqrt(2.5)
    np.testing.assert_allclose(trace.sites[Site(0, "mlp.neuron")][0, 1], [neuron])
    scale = np.sqrt((neuron**2 + 4) / 2 + 0.5)
    np.testing.assert_allclose(trace.logits[0, 1], [10 - neuron / scale, 20 + 4 / scale])


@settings(max_examples=20)
@given(switches())
def test_a_prompt_does_not_depend_on_its_neighbours_or_its_future(want: Switches) -> None:
    network, tokens = random_network(want), random_tokens(want)
    whole = forward(network, tokens, dtype=np.float64).logits
    np.testing.assert_array_equal(
        whole[1:2], forward(network, tokens[1:2], dtype=np.float64).logits
    )
    np.testing.assert_array_equal(
        whole[:, :3], forward(network, tokens[:, :3], dtype=np.float64).logits
    )


def test_only_the_asked_position_is_unembedded() -> None:
    network, tokens = random_network(WHOLE), random_tokens(WHOLE)
    last = np.array([5, 0, 3])
    whole = forward(network, tokens)
    chosen = forward(network, tokens, last=last)
    np.testing.assert_array_equal(chosen.logits, whole.logits[np.arange(3), last])


def test_attention_and_sink_share_sum_to_one() -> None:
    network, tokens = random_network(WHOLE), random_tokens(WHOLE)
    trace = forward(network, tokens, dtype=np.float64, attention=True)
    assert not trace.sites
    for layer, weights in trace.attention.items():
        np.testing.assert_allclose(weights.sum(-1) + trace.sink[layer], 1, atol=1e-12)
        assert not np.triu(weights, 1).any()
        assert (trace.sink[layer] > 0.01).any()


def test_only_the_asked_sites_are_recorded() -> None:
    network, tokens = random_network(WHOLE), random_tokens(WHOLE)
    wanted = {Site(1, "attn.k"), Site(None, "final")}
    trace = forward(network, tokens, record=wanted)
    everything = forward(network, tokens, record=True)
    assert trace.sites.keys() == wanted
    assert everything.sites.keys() == set(sites(2))
    for site in wanted:
        np.testing.assert_array_equal(trace.sites[site], everything.sites[site])


def test_a_replacement_acts_like_a_gate() -> None:
    network, tokens = random_network(PLAIN), random_tokens(PLAIN)
    gates = random_gates(network, 1)
    site = Site(1, "mlp.neuron")
    gate = gates[site]

    def change(x: NDArray[Any]) -> NDArray[Any]:
        return np.where(gate.keep, x, gate.constant)

    by_hand = forward(network, tokens, dtype=np.float64, replace={site: change}, record=[site])
    by_gate = forward(replace(network, gates={site: gate}), tokens, dtype=np.float64)
    np.testing.assert_array_equal(by_hand.logits, by_gate.logits)
    np.testing.assert_array_equal(by_hand.sites[site], change(by_hand.sites[site]))


def test_float32_gelu_is_exact_to_rounding() -> None:
    x = np.linspace(-9, 9, 100_001).astype(np.float32)
    exact = 0.5 * x.astype(np.float64) * (1 + erf(x.astype(np.float64) / np.sqrt(2)))
    np.testing.assert_allclose(activate(x.copy(), "gelu"), exact, rtol=5e-7, atol=2e-6)
    np.testing.assert_allclose(
        activate(x.astype(np.float64), "gelu"), exact, rtol=1e-12, atol=1e-15
    )


def test_mistakes_in_what_is_asked_are_told() -> None:
    network, tokens = random_network(WHOLE), random_tokens(WHOLE)
    assert error_of(network, tokens[0]) == "tokens-malformed"
    assert error_of(network, tokens.astype(float)) == "tokens-malformed"
    assert error_of(network, tokens[:, :0]) == "tokens-malformed"
    assert error_of(network, tokens + 9) == "token-unknown"
    assert error_of(network, tokens - 9) == "token-unknown"
    assert error_of(network, np.tile(tokens, 2)) == "prompt-too-long"
    assert error_of(network, tokens, record=[Site(2, "mlp.in")]) == "site-absent"
    assert error_of(network, tokens, replace={Site(7, "mlp.in"): np.copy}) == "site-absent"
    shorter = {Site(0, "mlp.in"): lambda x: x[..., 1:]}
    assert error_of(network, tokens, replace=shorter) == "replacement-malformed"


def test_parts_that_do_not_fit_are_told() -> None:
    """Files that lie in every other way are in `test_circuit_file`."""
    network = random_network(WHOLE)
    for change in ({"topk": {"final": 3}}, {"n_head": 2}, {"final_gain": np.ones(3)}):
        with pytest.raises(WireworkError) as caught:
            check_network(replace(network, **change))
        assert caught.value.code == "network-malformed"


def test_an_empty_batch_gives_no_logits() -> None:
    network, tokens = random_network(WHOLE), random_tokens(WHOLE)
    assert forward(network, tokens[:0]).logits.shape == (0, 6, 9)
