"""Hypothesis tests keep their level where the null holds and find what is planted."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, false_discovery_control

from planted_circuits import all_nodes, circuit_of
from wirework import load
from wirework.core import Node
from wirework.core.progress import silent
from wirework.discovery import DiscoveryConfig, discover, take_circuit
from wirework.planted import Planted, quote_with_decoys, twin_values
from wirework.tasks import load_task
from wirework.validation.config import ValidationConfig
from wirework.validation.exact_tests import (
    clusters_of,
    equivalence_p,
    more_than_padding_p,
    non_equivalence_p,
    rank_p,
    sign_flip_p,
    swap_p,
)
from wirework.validation.findings import Findings
from wirework.validation.hypotheses import hypothesis_findings, hypothesis_passes
from wirework.validation.multiplicity import benjamini_hochberg, holm
from wirework.validation.subject import Subject

ALPHA = 0.05
NULLS = 1000
MOST = float(binom.ppf(0.99, NULLS, ALPHA) / NULLS)
"""The rate of false positives that a test of level alpha exceeds once in a hundred times."""

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
QUICK = ValidationConfig(
    pairs=12,
    test_draws=19,
    padding_draws=99,
    padding_most=99,
    edge_draws=9,
    edge_tests=8,
    flips=500,
)

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def rate(test: Callable[[np.random.Generator], float], draws: int = NULLS) -> float:
    """How often a test of level alpha rejects."""
    random = np.random.default_rng(0)
    return float(np.mean([test(random) <= ALPHA for _ in range(draws)]))


# -- counting the tests


@given(p_values)
def test_benjamini_hochberg_is_that_of_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p), abs=1e-12)


@given(p_values, st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_rejects_step_by_step(p: list[float], alpha: float) -> None:
    rejected = np.zeros(len(p), dtype=bool)
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) > alpha:
            break
        rejected[index] = True
    assert np.array_equal(holm(p) <= alpha, rejected)


@given(p_values)
def test_holm_is_stricter_and_neither_makes_a_p_value_smaller(p: list[float]) -> None:
    assert (holm(p) >= benjamini_hochberg(p) - 1e-12).all()
    assert (benjamini_hochberg(p) >= np.array(p) - 1e-12).all()
    assert holm(p).max() <= 1


def test_nothing_tested_is_nothing_adjusted() -> None:
    assert len(holm([])) == len(benjamini_hochberg([])) == 0


def test_holm_keeps_the_chance_of_any_false_positive() -> None:
    def any_false(random: np.random.Generator) -> float:
        # Of 20 hypotheses 15 are true; the others are plain.
        return float(holm([*random.random(15), *random.random(5) * 1e-6])[:15].min())

    assert rate(any_false) <= MOST


def test_benjamini_hochberg_keeps_the_false_share_of_tests_with_one_reference() -> None:
    random, shares = np.random.default_rng(0), []
    for _ in range(NULLS):
        padding = random.normal(size=99)
        parts = [*random.normal(size=15), *random.normal(6, 1, size=15)]
        chosen = benjamini_hochberg([rank_p(part, padding) for part in parts]) <= ALPHA
        shares.append(chosen[:15].sum() / max(1, chosen.sum()))
    margin = 2.33 * np.std(shares) / NULLS**0.5
    assert np.mean(shares) <= ALPHA + margin


# -- level and power


def test_the_rank_among_random_circuits() -> None:
    def null(random: np.random.Generator) -> float:
        return rank_p(random.exponential(), random.exponential(size=99))

    draws = 10 * NULLS
    assert rate(null, draws) <= binom.ppf(0.99, draws, ALPHA) / draws
    assert rate(lambda random: rank_p(5, random.exponential(size=99))) >= 0.8
    assert rank_p(1, [0.0, 1.0, 2.0]) == 3 / 4
    assert rank_p(1, []) == 1
    # What is not known is no evidence.
    assert rank_p(np.nan, [0.0, 1.0, 2.0]) == 1
    assert rank_p(3, [0.0, np.nan, 2.0]) == 2 / 4


def flips(
    random: np.random.Generator, effect: float, templates: NDArray[np.int64], spread: float
) -> float:
    """One column: an effect, what all pairs of a template share, and noise."""
    shared = random.normal(0, spread, templates.max() + 1)[templates]
    rows = effect + shared + random.normal(size=len(templates))
    seed = int(random.integers(2**31))
    return float(sign_flip_p(rows[:, None], clusters_of(templates), draws=199, seed=seed)[0])


def test_the_paired_test_where_templates_are_alike() -> None:
    templates = np.arange(60) % 12
    assert rate(lambda random: flips(random, 0, templates, 2.0)) <= MOST
    assert rate(lambda random: flips(random, 0.8, templates, 0.3)) >= 0.8

    def alone(random: np.random.Generator) -> float:
        """The same with every pair for itself, which such data forbid."""
        rows = random.normal(0, 2, 12)[templates] + random.normal(size=60)
        return float(sign_flip_p(rows[:, None], np.arange(60), draws=199, seed=1)[0])

    assert rate(alone) > 2 * MOST


def test_few_templates_are_taken_as_they_are_and_pairs_flipped_one_by_one() -> None:
    few, many = np.arange(40) % 3, np.arange(40) % 10 + 5
    assert np.array_equal(clusters_of(few), np.arange(40))
    assert np.array_equal(clusters_of(many), np.arange(40) % 10)
    assert rate(lambda random: flips(random, 0, few, 0.0)) <= MOST
    assert rate(lambda random: flips(random, 0.5, few, 0.0)) >= 0.8


def padded(random: np.random.Generator, effect: float) -> float:
    """One part among 59 of padding, each with an effect of its own on 24 pairs of 12 templates."""
    templates = np.arange(24) % 12
    costs = random.normal(0, 1, (60, 1)) + random.normal(0, 1, (60, 12))[:, templates]
    costs += random.normal(0, 1, (60, 24))
    costs[0] += effect
    found = more_than_padding_p(
        costs[:1], costs[1:], clusters_of(templates), least=0, draws=199,
        seed=int(random.integers(2**31)),
    )  # fmt: skip
    return float(found[0])


def test_a_part_beside_padding() -> None:
    assert rate(lambda random: padded(random, 0)) <= MOST
    assert rate(lambda random: padded(random, 4.0)) >= 0.8
    # What a part costs must exceed the least that counts as harm.
    costs, padding, clusters = np.full((1, 20), 0.5), np.zeros((99, 20)), np.arange(20)
    for least, p in ((0.4, 0.01), (0.6, 1.0)):
        found = more_than_padding_p(costs, padding, clusters, least=least, draws=199, seed=0)
        assert found == pytest.approx([p])


def test_what_never_changes_is_no_effect() -> None:
    rows = np.zeros((20, 2))
    assert sign_flip_p(rows, np.arange(20), draws=99, seed=0).tolist() == [1, 1]
    rows[:, 1] = 1.0
    assert sign_flip_p(rows, np.arange(20), draws=99, seed=0).tolist() == [1, 0.01]
    rows[3, 1] = np.nan
    assert sign_flip_p(rows, np.arange(20), draws=99, seed=0).tolist() == [1, 1]


def share_rate(test: Callable[[float, int, float], float], share: float, n: int = 200) -> float:
    """How often a test of shares within 1/2 ± 0.1 rejects where one of two wins with `share`."""
    return rate(lambda random: test(random.binomial(n, share), n, 0.1))


def test_shares_not_means_decide_whether_two_differ() -> None:
    """Where the null holds at its end (a share of 0.6) and in its middle."""
    assert share_rate(non_equivalence_p, 0.5) <= MOST
    assert share_rate(non_equivalence_p, 0.6) <= MOST
    assert share_rate(non_equivalence_p, 0.75) >= 0.8
    # Far ahead on few prompts and just behind on most: the mean is ahead, the share is not.
    ahead = np.array([100.0] * 20 + [-1.0] * 180)
    assert ahead.mean() > 0
    assert non_equivalence_p(float((ahead > 0).sum()), 200, 0.1) < 1e-9
    assert non_equivalence_p(100, 200, 0.1) == 1


def test_equivalence_is_claimed_only_where_it_was_shown() -> None:
    assert max(share_rate(equivalence_p, share) for share in (0.4, 0.6, 0.9)) <= MOST
    assert share_rate(equivalence_p, 0.5, n=300) >= 0.8
    # Too few prompts show nothing.
    assert equivalence_p(5, 10, 0.1) > 0.2


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0.01, 0.4))
def test_binomial_tails(n: int, share: float, epsilon: float) -> None:
    wins = round(share * n)
    far = abs(wins - n / 2)
    least = int(np.ceil(n / 2 + far))
    q = 0.5 + epsilon
    two_sided = binom.sf(least - 1, n, q) + binom.cdf(n - least, n, q) if far else 1.0
    assert non_equivalence_p(wins, n, epsilon) == pytest.approx(min(1, two_sided), abs=1e-9)
    tost = max(binom.cdf(wins, n, q), binom.sf(wins - 1, n, 1 - q))
    assert equivalence_p(wins, n, epsilon) == pytest.approx(tost, abs=1e-9)


def independence(random: np.random.Generator, effect: float) -> float:
    """20 pairs in two templates, fillings with a level of their own."""
    label = np.repeat([1.0, -1.0], 20)
    level = np.tile(random.normal(0, 1, 20) + 3 * (np.arange(20) % 2), 2)
    values = level + random.normal(size=40) + effect * label
    return swap_p(values, label, np.arange(20), draws=199, seed=int(random.integers(2**31)))[0]


def test_what_is_left_is_seen_to_know_the_answer_or_not() -> None:
    assert rate(lambda random: independence(random, 0)) <= MOST
    assert rate(lambda random: independence(random, 1.2)) >= 0.8
    label = np.repeat([1.0, -1.0], 20)
    assert swap_p(np.ones(40), label, np.arange(20), draws=99, seed=0) == (1, 0)
    assert swap_p(label, label, np.arange(20), draws=99, seed=0) == pytest.approx((0.01, 1))
    p, strength = swap_p(np.full(40, np.nan), label, np.arange(20), draws=99, seed=0)
    assert p == 1 and np.isnan(strength)


# -- on models


def findings_of(
    planted: Planted, nodes: Collection[Node], config: ValidationConfig = QUICK
) -> Findings:
    circuit = circuit_of(planted, nodes)
    subject = Subject.of(circuit, planted.checkpoint, None)
    assert hypothesis_passes(subject, config) > circuit.n_nodes
    return hypothesis_findings(subject, config, seed=0, start=silent)


def needed(found: Findings, table: str = "minimal_nodes", kind: str = "margin") -> set[str]:
    parts = found.details[table]
    return {name for name, p in zip(parts["part"], parts[f"bh:{kind}"], strict=True) if p <= ALPHA}


def test_every_true_node_is_needed_and_no_decoy() -> None:
    planted = quote_with_decoys()
    decoys = ("decoy value 0", "decoy read", "decoy neuron 0", "decoy neuron 1")
    found = findings_of(planted, planted.nodes(*QUOTE, *decoys))
    true = {str(planted.parts[name]) for name in QUOTE}
    assert needed(found) == needed(found, kind="loss") == true
    assert found.measures["minimal_share"].value == 0.6
    assert found.measures["p:sufficiency"].value == 1 / 20
    assert found.measures["p:necessity"].value <= 0.05
    assert needed(found, "minimal_edges") == {
        f"{source} -> {target}"
        for source, target in (
            (planted.parts["read opening"], planted.parts["key"]),
            (planted.parts["read kind"], planted.parts["value"]),
            (planted.parts["value"], planted.parts["write answer"]),
        )
    }
    # Nothing is left in the rest.
    assert found.measures["p:independence"].value == 1
    assert found.measures["independence"].value == 0


def test_the_whole_model_is_equivalent_to_itself() -> None:
    planted = quote_with_decoys()
    found = findings_of(planted, all_nodes(planted), QUICK.replace(edge_tests=0))
    assert found.measures["p:non_equivalence"].value == 1
    assert found.measures["margin_above"].value == 0.5
    # A node that does nothing is in the way of minimality.
    assert found.measures["minimal_share"].value < 0.2


def test_neither_twin_is_needed_for_the_task_and_each_adds_to_the_margin() -> None:
    planted = twin_values(size=64)
    names = (*QUOTE, "value twin")
    found = findings_of(planted, planted.nodes(*names))
    twins = {str(planted.parts[name]) for name in ("value", "value twin")}
    assert not needed(found, kind="loss") & twins
    assert len(needed(found, kind="loss")) == len(QUOTE) - 1
    parts = found.details["minimal_nodes"]
    harm = dict(zip(parts["part"], parts["harm:margin"], strict=True))
    assert all(0.1 < harm[twin] < 0.3 for twin in twins)
    # With one of them left out, the other one is needed.
    alone = findings_of(planted, planted.nodes(*QUOTE), QUICK.replace(equivalence_zone=0.1))
    assert str(planted.parts["value"]) in needed(alone, kind="loss")
    # And the model is always ahead of the circuit, which three templates cannot show of others.
    assert alone.measures["margin_above"].value == 0
    assert alone.measures["p:equivalence"].value == 1
    assert alone.measures["p:non_equivalence"].value == pytest.approx(0.6**3 + 0.4**3)


def test_random_nodes_pass_no_test() -> None:
    planted = quote_with_decoys(size=64)
    random = np.random.default_rng(1)
    wrong = {Node(node.site, int(random.integers(64))) for node in planted.nodes(*QUOTE)}
    found = findings_of(planted, wrong)
    assert found.measures["p:sufficiency"].value > 0.2
    assert found.measures["p:independence"].value < 0.01
    assert not needed(found)


def test_nothing_kept_is_no_circuit() -> None:
    found = findings_of(quote_with_decoys(), [])
    assert found.measures["p:sufficiency"].value == 1
    assert "minimal_share" not in found.measures
    assert found.details["minimal_nodes"]["part"] == []


def test_all_tests_are_counted_together() -> None:
    planted, quick = quote_with_decoys(size=64), QUICK.replace(test_draws=1)
    found = findings_of(planted, planted.nodes(*QUOTE), quick)
    tests, nodes, edges = (
        found.details[name] for name in ("hypotheses", "minimal_nodes", "minimal_edges")
    )
    columns = {}
    for name in ("p", "holm", "bh"):
        kinds = [f"{name}:margin", f"{name}:loss"]
        columns[name] = [x for part in (nodes, edges) for kind in kinds for x in part[kind]]
        columns[name] = [*tests[name], *columns[name]]
    assert len(columns["p"]) == 5 + 2 * 6 + 2 * len(edges["part"])
    assert columns["holm"] == pytest.approx(holm(columns["p"]))
    assert columns["bh"] == pytest.approx(benjamini_hochberg(columns["p"]))
    assert [found.measures[f"p:{name}"].value for name in tests["test"]] == tests["p"]
    assert all(isinstance(p, float) for p in columns["p"])
    told = f"Adjusted for {len(columns['p'])} tests: {tests['holm'][0]:.2g} by Holm"
    assert told in found.measures[f"p:{tests['test'][0]}"].note
    assert findings_of(planted, planted.nodes(*QUOTE), quick).details == found.details


def test_padding_is_drawn_until_a_part_can_be_told_needed_by_itself() -> None:
    planted, quick = quote_with_decoys(), QUICK.replace(test_draws=1, edge_tests=0, flips=4000)
    found = findings_of(planted, planted.nodes(*QUOTE), quick.replace(padding_most=199))
    few = findings_of(
        planted, planted.nodes(*QUOTE), quick.replace(padding_draws=19, padding_most=19)
    )
    assert "each can be passed by itself" in found.measures["minimal_share"].note
    assert "no fewer than" in few.measures["minimal_share"].note
    assert min(found.details["minimal_nodes"]["holm:loss"]) <= ALPHA
    assert min(few.details["minimal_nodes"]["holm:loss"]) > ALPHA


def test_edges_are_tested_where_they_can_be_cut() -> None:
    planted = quote_with_decoys(size=64)
    nodes = planted.nodes(*QUOTE)
    quick = QUICK.replace(test_draws=1, padding_draws=9)
    assert "minimal_edge_share" in findings_of(planted, nodes, quick).measures
    none = findings_of(planted, nodes, quick.replace(edge_tests=0))
    assert "minimal_edge_share" not in none.measures
    config = DiscoveryConfig.parse({"ablation": {"kind": "mean-position"}})
    circuit = take_circuit(planted.checkpoint, planted.task, nodes, config=config)
    subject = Subject.of(circuit, planted.checkpoint, None)
    found = hypothesis_findings(subject, quick, seed=0, start=silent)
    assert not circuit.runs_alone
    assert "minimal_edge_share" not in found.measures


@pytest.mark.long
def test_a_circuit_of_a_trained_model() -> None:
    checkpoint, task = load("reference/v1-sparse-small"), load_task("python/single_double_quote")
    circuit = discover(checkpoint, task, config=DiscoveryConfig(steps=200))
    subject = Subject.of(circuit, checkpoint, None)
    # Some 280 parts are tested: with fewer draws hardly a p-value is small enough.
    usual = ValidationConfig()
    config = QUICK.replace(padding_most=usual.padding_most, flips=usual.flips)
    found = hypothesis_findings(subject, config, seed=0, start=silent)
    assert found.measures["p:sufficiency"].value == 1 / 20
    assert found.measures["minimal_share"].value > 0.5
