"""How well a circuit or a ranking recovers a planted truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planted_circuits import circuit_of
from test_planted import TARGET
from wirework.core import Node
from wirework.planted import (
    Planted,
    auroc,
    close_quote,
    minimal_circuits,
    quote_with_decoys,
    recovery,
    twin_values,
)


def by_pairs(labels: list[bool], scores: list[float]) -> float:
    """The definition: over all pairs of a positive and a negative, ties counted half."""
    pairs = [
        (yes > no) + 0.5 * (yes == no)
        for is_yes, yes in zip(labels, scores, strict=True)
        for is_no, no in zip(labels, scores, strict=True)
        if is_yes and not is_no
    ]
    return sum(pairs) / len(pairs) if pairs else math.nan


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=40))
def test_auroc_is_the_share_of_pairs_in_the_right_order(rows: list[tuple[bool, int]]) -> None:
    labels, scores = [label for label, _ in rows], [float(score) for _, score in rows]
    assert auroc(labels, scores) == pytest.approx(by_pairs(labels, scores), nan_ok=True)


def test_auroc_of_known_rows() -> None:
    """The example in scikit-learn's `roc_auc_score`, and what ties alone are worth."""
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([0, 1, 1, 0], [1, 1, 1, 1]) == 0.5
    assert auroc([1, 0], [-2.0, 5.0]) == 0


def test_auroc_is_that_of_scikit_learn() -> None:
    """Its version 1.9.1 gives these for scores with many ties."""
    theirs = [0.5341997264021887, 0.5916193181818181, 0.4162962962962963, 0.5635430038510911]
    for seed, expected in enumerate(theirs):
        random = np.random.default_rng(seed)
        labels, scores = random.random(60) < 0.3, random.integers(0, 9, 60)
        assert auroc(labels, scores) == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def truth(planted: Planted) -> list[frozenset[Node]]:
    return minimal_circuits(planted, TARGET)


def test_the_truth_recovers_itself(planted: Planted, truth: list[frozenset[Node]]) -> None:
    result = recovery(planted, truth, circuit_of(planted, truth[0]))
    assert result.exact and result.edges_exact and result.unique
    assert not result.missing and not result.extra
    assert result.node_auroc == result.edge_auroc == 1


def test_nodes_off_every_path_do_not_count(planted: Planted, truth: list[frozenset[Node]]) -> None:
    more = [*truth[0], planted.parts["decoy value 0"], planted.parts["query"]]
    assert recovery(planted, truth, circuit_of(planted, more)).exact


def test_what_is_missing_and_what_is_extra(planted: Planted, truth: list[frozenset[Node]]) -> None:
    lost = planted.parts["read opening"]
    wrong = truth[0] - {lost, planted.parts["key"]}
    result = recovery(planted, truth, circuit_of(planted, wrong))
    assert not result.exact
    assert result.missing == {lost, planted.parts["key"]} and not result.extra
    widths = sum(len(mean) for mean in planted.checkpoint.means.values())
    assert widths > 100
    # Two of six stand among the nodes that are not kept: half of those pairs are ties.
    assert result.node_auroc == pytest.approx(1 - 2 / 6 / 2)
    assert result.edges_exact
    edges = planted.edges_between(truth[0])
    lacking = sum(lost in (e.source, e.target) or planted.parts["key"] == e.target for e in edges)
    assert result.edge_auroc == pytest.approx(1 - lacking / len(edges) / 2)


def test_an_edge_that_was_cut_is_seen() -> None:
    planted = close_quote()
    truth = minimal_circuits(planted, TARGET)
    edge = sorted(planted.edges_between(truth[0]))[-1]
    circuit = circuit_of(planted, truth[0])
    fewer = replace(circuit_of(planted, truth[0], cut=[edge]), nodes=circuit.nodes)
    result = recovery(planted, truth, fewer)
    assert not (result.exact and result.edges_exact)


def test_alternatives_are_counted_and_the_nearest_one_is_taken() -> None:
    planted = twin_values()
    truth = minimal_circuits(planted, TARGET)
    for nodes in truth:
        result = recovery(planted, truth, circuit_of(planted, nodes))
        assert result.exact and not result.unique and result.alternatives == 2
        assert result.node_auroc == 1


def test_scores_rank_nodes_beyond_the_circuit(
    planted: Planted, truth: list[frozenset[Node]]
) -> None:
    means = planted.checkpoint.means
    scores = {site: np.zeros(len(mean)) for site, mean in means.items()}
    for node in truth[0]:
        scores[node.site][node.index] = 2
    whole = circuit_of(planted, planted.active)
    result = recovery(planted, truth, whole, scores)
    assert result.node_auroc == result.edge_auroc == 1
    worst = {site: -values for site, values in scores.items()}
    assert recovery(planted, truth, whole, worst).node_auroc == 0
