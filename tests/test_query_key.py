"""Attention scores as sums over channels, and channels as sums over what they read."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits import small_circuit
from networks import (
    CONTEXT,
    HEADS,
    WIDTH,
    Switches,
    dense_forward,
    nodes_of,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from planted_circuits import circuit_of
from wirework.circuit import Circuit, edges, extract
from wirework.core import Node, Site, WireworkError
from wirework.explain import HeadScores, explain_scores, heads, summarise_heads
from wirework.planted import close_quote

ANSWERS = np.array([7, 2, 4])
LATER = np.triu(np.ones((CONTEXT, CONTEXT), dtype=np.bool_), 1)
LAST = np.array([5, 3, 0])


def random_circuit(want: Switches, seed: int, share: float = 0.2) -> Circuit:
    """With a third of its gates before AbsTopK and some edges cut."""
    network = random_network(want)
    gates = random_gates(network, seed, every=True, before=True)
    nodes = nodes_of(replace(network, gates=gates))
    random = np.random.default_rng(seed)
    cut = [edge for edge, _ in edges(network, nodes) if random.random() < share]
    alone = extract(network, gates, ANSWERS, cut)
    return small_circuit(nodes=nodes_of(alone), network=alone)


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1), st.integers(0, HEADS - 1))
def test_the_terms_add_up_to_the_score(want: Switches, seed: int, head: int) -> None:
    circuit, tokens = random_circuit(want, seed), random_tokens(want)
    layer = seed % want.n_layer
    network = circuit.network
    _, sites = dense_forward(network, tokens)
    mine = slice(head * WIDTH, head * WIDTH + WIDTH)
    q, k = (sites[Site(layer, name)][..., mine] for name in ("attn.q", "attn.k"))
    wanted = np.einsum("bqc,bkc->bqk", q, k) / np.sqrt(WIDTH)
    found = explain_scores(circuit, layer, head, tokens)
    assert np.isneginf(found.scores[:, LATER]).all()
    np.testing.assert_allclose(found.scores[:, ~LATER], wanted[:, ~LATER], rtol=0, atol=1e-9)
    kept = {i for name in ("q", "k") for i in circuit.nodes.get(Site(layer, f"attn.{name}"), ())}
    assert set(found.channels) == {i - mine.start for i in kept if mine.start <= i < mine.stop}
    # And these scores, the sink beside them, are what the softmax turns into attention.
    sink = -np.inf if found.sink is None else found.sink
    highest = np.maximum(found.scores.max(-1, keepdims=True), sink)
    weights = np.exp(found.scores - highest)
    below = weights.sum(-1, keepdims=True) + np.exp(sink - highest)
    np.testing.assert_allclose(found.attention, weights / below, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.on_sink, 1 - found.attention.sum(-1), rtol=0, atol=1e-9)
    assert (found.sink is None) == (not want.sink)


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1), st.integers(0, HEADS - 1))
def test_every_channel_adds_up_from_what_it_reads(want: Switches, seed: int, head: int) -> None:
    circuit, tokens = random_circuit(want, seed), random_tokens(want)
    layer = seed % want.n_layer
    _, sites = dense_forward(circuit.network, tokens)
    found = explain_scores(circuit, layer, head, tokens)
    edges = dict(circuit.edges())
    mine = range(head * WIDTH, (head + 1) * WIDTH)
    for name, channels in (("attn.q", found.queries), ("attn.k", found.keys)):
        site = Site(layer, name)
        kept = [Node(site, i) for i in circuit.nodes.get(site, ()) if i in mine]
        assert [parts.node for parts in channels] == kept
        for parts in channels:
            value = sites[site][..., parts.node.index]
            np.testing.assert_allclose(parts.value, value, rtol=0, atol=1e-9)
            whole = parts.parts.sum(-1) + parts.positions + parts.constant
            np.testing.assert_allclose(whole, value, rtol=0, atol=1e-9)
            into = {e.source: w for e, w in edges.items() if e.target == parts.node}
            assert dict(zip(parts.sources, parts.weights, strict=True)) == into
            alive = value != 0
            for place, source in enumerate(parts.sources):
                one = sites[source.site][..., source.index] * into[source] * alive
                np.testing.assert_allclose(parts.parts[..., place], one, rtol=0, atol=1e-9)
            if want.position != "concat":
                assert not parts.positions.any()


def test_what_positions_add_is_their_weights_times_their_normed_vectors() -> None:
    want = Switches(3, 1, "concat", True, True, True, "gelu", (), False)
    circuit, tokens = random_circuit(want, 1, 0), random_tokens(want)
    network, layer = circuit.network, circuit.network.layers[0]
    assert network.positions is not None
    assert layer.position_gain_attn is not None
    squares = (network.positions**2).mean(-1, keepdims=True)
    rows = network.positions / np.sqrt(squares + network.eps) * layer.position_gain_attn
    checked = 0
    for head in range(HEADS):
        found = explain_scores(circuit, 0, head, tokens)
        for parts in (*found.queries, *found.keys):
            weights = layer.into(parts.node.site.kind).to_dense()[parts.node.index]
            np.testing.assert_allclose(
                parts.positions[0], rows @ weights[network.d_model :], rtol=0, atol=1e-9
            )
            checked += bool(parts.positions.any())
    assert checked > 1


@settings(max_examples=30)
@given(switches(), st.integers(0, 2**32 - 1), st.integers(0, HEADS - 1))
def test_shares_are_of_the_spread_over_keys_and_sum_to_one(
    want: Switches, seed: int, head: int
) -> None:
    circuit, tokens = random_circuit(want, seed), random_tokens(want)
    found = explain_scores(circuit, seed % want.n_layer, head, tokens)
    shares = found.shares(LAST)
    moments = np.zeros(len(found.channels))
    for prompt, last in enumerate(LAST):
        terms = found.terms[:, prompt, last, : last + 1]
        scores = found.scores[prompt, last, : last + 1]
        moments += (terms * (scores - scores.mean())).sum(-1)
    if moments.sum() > 1e-9:
        np.testing.assert_allclose(shares, moments / moments.sum(), rtol=1e-6, atol=1e-6)
        assert shares.sum() == pytest.approx(1)


def test_a_head_that_looks_nowhere_in_particular_has_no_shares() -> None:
    ones = np.ones((2, 4, 4))
    flat = HeadScores(0, 0, (3,), np.tril(ones)[None] * 0.1, 0.0, None, ones, ones[0], (), ())
    assert flat.shares(np.array([3, 2])).tolist() == [0]


def test_a_planted_head_looks_at_the_opening_quote_for_its_key() -> None:
    planted = close_quote()
    circuit = circuit_of(planted, planted.active)
    checkpoint = planted.checkpoint
    report = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context).report
    (found,) = summarise_heads(circuit, report.tokens, report.last)
    key = planted.parts["key"]
    assert heads(circuit) == ((found.layer, found.head),)
    assert found.head == planted.parts["value"].index // circuit.network.d_head
    assert {text for text, _ in found.looks_at} == {' "', " '"}
    assert sum(share for _, share in found.looks_at) == pytest.approx(1)
    (channel,) = found.channels
    assert (channel.index, channel.query) == (key.index, None)
    assert channel.share == pytest.approx(1)
    assert channel.there > channel.elsewhere + 1
    assert channel.key is not None
    read = {part.source: part for part in channel.key}
    opening = read[str(planted.parts["read opening"])]
    assert opening.elsewhere is not None
    assert opening.there > opening.elsewhere
    assert json.loads(json.dumps(found.to_json()))["channels"][0]["index"] == key.index


def test_what_cannot_be_explained_is_told() -> None:
    circuit = small_circuit()
    tokens = np.array([[0, 1, 2]])
    for layer, head in ((9, 0), (0, 9), (-1, 0)):
        with pytest.raises(WireworkError) as caught:
            explain_scores(circuit, layer, head, tokens)
        assert caught.value.code == "head-absent"
    with pytest.raises(WireworkError) as caught:
        explain_scores(replace(circuit, runs_alone=False), 0, 0, tokens)
    assert caught.value.code == "circuit-needs-model"
    with pytest.raises(WireworkError) as caught:
        explain_scores(circuit, 0, 0, np.array([[99]]))
    assert caught.value.code == "token-unknown"
