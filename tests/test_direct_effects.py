"""Direct effects add up: links into a node and its constant are what stands there, exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf

from circuits import ANSWERS, small_circuit
from networks import CONTEXT, Switches, nodes_of, random_gates, random_network, switches
from wirework.circuit import Circuit, extract, without_edges
from wirework.core import WireworkError
from wirework.interop.neuronpedia import DirectEffects, direct_effects
from wirework.interop.neuronpedia.influence import Links, cumulative, influence, prune

Floats = NDArray[np.float64]


def circuit_of(want: Switches, seed: int) -> Circuit:
    """With a third of its gates before AbsTopK and some edges cut."""
    network = random_network(want)
    gates = random_gates(network, seed, every=True, before=True)
    alone = extract(network, gates, ANSWERS)
    whole = small_circuit(want, nodes=nodes_of(alone), network=alone)
    cut = [edge for edge, _ in whole.edges()][::5]
    lone = without_edges(alone, cut)
    return small_circuit(want, nodes=nodes_of(lone), network=lone)


def entering(found: DirectEffects) -> tuple[Floats, Floats]:
    """Sum of the links into every node, (T, K), and into every logit, (O)."""
    sums: Floats = np.zeros(found.n_ends)
    np.add.at(sums, found.target, found.weight)
    length, count = found.values.shape
    inside = sums[length : length * (1 + count)].reshape(count, length).T
    return inside, sums[length * (1 + count) :]


def tokens_of(seed: int, length: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(9, size=length)


@settings(max_examples=60)
@given(switches(), st.integers(0, 1000), st.integers(1, CONTEXT))
def test_links_and_constants_add_up(want: Switches, seed: int, length: int) -> None:
    circuit = circuit_of(want, seed)
    found = direct_effects(circuit, tokens_of(seed, length))
    nodes, logits = entering(found)
    alive = found.values != 0
    gap = np.abs(nodes + found.constants - found.before)[alive]
    assert gap.max(initial=0) <= 1e-9 * max(1.0, np.abs(found.before).max(initial=0))
    np.testing.assert_allclose(logits + found.logit_constants, found.logits, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        found.logits, circuit.logits(found.tokens[None], np.float64)[0, -1], rtol=0, atol=1e-12
    )


@settings(max_examples=30)
@given(switches(), st.integers(0, 1000))
def test_what_stands_before_a_neuron_gives_its_value(want: Switches, seed: int) -> None:
    found = direct_effects(circuit_of(want, seed), tokens_of(seed, CONTEXT))
    relu = want.activation == "relu"
    for k, node in enumerate(found.nodes):
        before, value = found.before[:, k], found.values[:, k]
        alive = value != 0
        if node.site.kind == "mlp.neuron":
            after = np.maximum(before, 0) if relu else before * (1 + erf(before / 2**0.5)) / 2
            np.testing.assert_allclose(value[alive], after[alive], rtol=0, atol=1e-9)
        else:
            np.testing.assert_array_equal(before, value)


def test_links_only_run_forward() -> None:
    circuit = small_circuit()
    found = direct_effects(circuit, tokens_of(0, CONTEXT))
    length = len(found.tokens)
    sites = sorted(circuit.nodes)
    rank = [0] * length + [1 + sites.index(n.site) for n in found.nodes for _ in range(length)]
    rank += [99] * len(found.logits)
    ranks = np.array(rank)
    assert len(found.weight) > 100
    assert (ranks[found.source] < ranks[found.target]).all()
    places = np.concatenate([np.arange(length), np.tile(np.arange(length), len(found.nodes))])
    inside = found.target < len(places)
    before = places[found.source[inside]] <= places[found.target[inside]]
    assert before.all(), "no token sees a later one"
    assert len({*zip(found.source.tolist(), found.target.tolist(), strict=True)}) == len(
        found.weight
    )


def test_a_circuit_that_needs_its_model_is_refused() -> None:
    with pytest.raises(WireworkError) as raised:
        direct_effects(small_circuit(runs_alone=False), tokens_of(0, 3))
    assert raised.value.code == "circuit-needs-model"


def random_links(seed: int, count: int = 40) -> tuple[Links, Floats, NDArray[np.bool_]]:
    """A random graph in rows; the last two ends are logits, the first five tokens."""
    random = np.random.default_rng(seed)
    row = np.sort(random.integers(0, 9, count))
    row[:5], row[-2:] = 0, 10
    pairs = [(s, t) for s in range(count) for t in range(count) if row[s] < row[t]]
    chosen = random.choice(len(pairs), size=120, replace=False)
    ends = np.array([pairs[i] for i in chosen])
    weights = np.zeros(count)
    weights[-2:] = (0.7, 0.3)
    return (
        Links(ends[:, 0], ends[:, 1], random.normal(0, 1, len(ends)), row),
        weights,
        row % 10 == 0,
    )


@pytest.mark.parametrize("seed", range(4))
def test_influence_is_the_sum_over_all_paths(seed: int) -> None:
    links, logits, _ = random_links(seed)
    shares = np.zeros((len(links.row), len(links.row)))
    np.add.at(shares, (links.target, links.source), links.shares())
    expected, step = np.zeros(len(links.row)), logits
    for _ in range(12):
        step = step @ shares
        expected += step
    np.testing.assert_allclose(influence(links, logits), expected, rtol=1e-12, atol=1e-15)


def test_cumulative_shares_rank_from_the_largest() -> None:
    found = cumulative(np.array([1.0, 5.0, 0.0, 4.0]))
    np.testing.assert_allclose(found, [1.0, 0.5, 1.0, 0.9])
    np.testing.assert_array_equal(cumulative(np.zeros(3)), 1.0)


def test_a_threshold_of_one_keeps_everything_and_lower_ones_less() -> None:
    links, logits, fixed = random_links(1)
    sizes = []
    for node, edge in ((1.0, 1.0), (0.9, 0.98), (0.6, 0.8)):
        nodes, kept = prune(links, logits, fixed, node_threshold=node, edge_threshold=edge)
        sizes.append((int(nodes.sum()), int(kept.sum())))
        assert nodes[fixed].all()
        ends = kept.nonzero()[0]
        assert nodes[links.source[ends]].all() and nodes[links.target[ends]].all()
        if node < 1:
            free = np.flatnonzero(nodes & ~fixed)
            assert set(free) <= set(links.source[ends]), "what is kept leads somewhere"
    assert sizes[0] == (len(links.row), len(links.weight))
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
