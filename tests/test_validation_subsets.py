"""Subset tests tell a circuit that is the mechanism from one that lives on what is cut."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cache

import numpy as np
import pytest

from planted_cancelled import ENDS, TRUE, WRONG, cancelled
from planted_circuits import all_nodes, circuit_of
from wirework.core import Edge, Node, WireworkError
from wirework.core.progress import silent
from wirework.core.stats import share_interval
from wirework.planted import Planted, close_quote, quote_with_decoys, twin_values
from wirework.validation import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.subject import Subject
from wirework.validation.subsets import subset_findings, subset_passes

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
QUICK = ValidationConfig(
    pairs=12, restore_rates=(0.25, 0.75), restore_draws=9, budgets=(1, 4),
    adversary_restarts=3, adversary_steps=1, adversary_tries=4,
)  # fmt: skip


def found(
    planted: Planted,
    nodes: Collection[Node],
    *,
    cut: Collection[Edge] = (),
    config: ValidationConfig = QUICK,
    seed: int = 0,
) -> Findings:
    subject = Subject.of(circuit_of(planted, nodes, cut=cut), planted.checkpoint, None)
    return subset_findings(subject, config, seed=seed, start=silent)


@cache
def shortcut() -> Planted:
    return cancelled()


@cache
def true() -> Findings:
    return found(shortcut(), shortcut().nodes(*TRUE))


@cache
def wrong() -> Findings:
    return found(shortcut(), shortcut().nodes(*WRONG))


def test_the_circuit_of_a_planted_model_keeps_its_answers() -> None:
    decoys, neuron = quote_with_decoys(), close_quote()
    for planted, nodes in ((decoys, decoys.nodes(*QUOTE)), (neuron, frozenset(neuron.active))):
        measures = found(planted, nodes).measures
        assert measures["subset_random"].value == 1
        for budget in QUICK.budgets:
            assert measures[f"subset_adversarial@{budget}"].value == 1
            assert measures[f"model_adversarial@{budget}"].value == 1
        # Half of it is nothing.
        assert measures["subset_dropped"].value < 0.75


def test_a_circuit_that_lives_on_what_is_cut_falls() -> None:
    assert wrong().measures["subset_random"].value < 0.95
    assert true().measures["subset_random"].value == 1
    assert wrong().measures["subset_adversarial@1"].value == 0
    assert true().measures["subset_adversarial@1"].value == 1
    assert wrong().details["subset_adversarial"]["nodes"][0] == [str(shortcut().parts["cancel"])]
    # With all cut and with all restored both are right: neither end of the curve tells them apart.
    shares = wrong().details["subset_random"]["share"]
    assert shares[0] == shares[-1] == 1


def test_the_model_beside_it_stands_what_the_right_circuit_leaves() -> None:
    for budget in QUICK.budgets:
        assert true().measures[f"model_adversarial@{budget}"].value == 1
    # Of the model less the two true values the shortcut and what outweighs it are left.
    assert wrong().measures["model_adversarial@1"].value == 1
    assert wrong().measures["model_adversarial@4"].value == 0


def test_the_other_of_two_equal_units_answers_where_one_is_dropped() -> None:
    twins = twin_values()
    both = {*twins.nodes(*QUOTE), twins.parts["value twin"]}
    dropped = found(twins, both).details["subset_dropped"]
    lone = found(twins, twins.nodes("value")).details["subset_dropped"]
    last = [row for row in range(len(dropped["rate"])) if dropped["dropped"][row] == 1]
    # Without all of it nothing answers, whatever is restored; without one twin the other does.
    assert all(dropped["share"][row] <= 0.5 for row in last)
    assert lone["share"][last[-1]] == 1


def test_what_is_reported_can_be_read_and_kept() -> None:
    report = true()
    budgets = [f"{kind}_adversarial@{b}" for kind in ("subset", "model") for b in QUICK.budgets]
    names = {"subset_random", "subset_dropped", *budgets}
    assert set(report.measures) == {*names, "needed_in_model"}
    prompts = 2 * QUICK.pairs
    for name in names:
        measure = report.measures[name]
        assert measure.note and measure.bar is None
        assert measure.low is not None and measure.high is not None and measure.n is not None
        assert measure.low <= measure.value <= measure.high
        low, high = share_interval(round(measure.value * prompts), prompts)
        assert measure.low <= low and measure.high >= high
        assert measure.n % prompts == 0
        assert measure.better == ("lower" if name == "subset_dropped" else "higher")
    assert json.loads(json.dumps(report.details)) == report.details
    curve = report.details["subset_random"]
    assert curve["rate"] == [0, 0.25, 0.75, 1]
    assert report.measures["subset_random"].value == min(curve["share"])
    assert all(len(values) == 4 for values in curve.values())
    for name in ("subset_adversarial", "model_adversarial"):
        worst = report.details[name]
        assert worst["budget"] == [1, 4]
        assert worst["share"] == sorted(worst["share"], reverse=True)
        for budget, nodes in zip(worst["budget"], worst["nodes"], strict=True):
            assert len(nodes) <= budget


def test_equal_seeds_give_equal_findings() -> None:
    planted = shortcut()
    nodes = planted.nodes(*WRONG)
    assert wrong() == found(planted, nodes)
    other = found(planted, nodes, seed=4)
    assert wrong().details["subset_random"] != other.details["subset_random"]


def test_the_ends_of_the_curve_are_the_circuit_and_the_model() -> None:
    planted = shortcut()
    cut = [Edge(planted.parts["read"], planted.parts["true 0"])]
    subject = Subject.of(
        circuit_of(planted, planted.nodes(*TRUE), cut=cut), planted.checkpoint, None
    )
    sample = subject.sample(QUICK.pairs, 0)
    rest = {site: ~kept for site, kept in subject.keep.items()}
    curve = subset_findings(subject, QUICK, seed=0, start=silent).details["subset_random"]
    for end, restored in ((0, None), (-1, rest)):
        margins = subject.circuit_margins(sample, restored=restored).numpy()
        assert curve["loss"][end] == pytest.approx(np.logaddexp(0, -margins).mean(), abs=1e-9)
    # A cut edge stays cut: with all nodes restored it is still not the whole model.
    whole = subject.margins(None, sample).numpy()
    assert abs(margins - whole).max() > 0.1


def test_the_model_can_do_without_what_another_node_silences() -> None:
    parts, nodes = shortcut().parts, shortcut().nodes(*WRONG)
    measure, kept = wrong().measures["needed_in_model"], wrong().details["needed_in_model"]
    assert set(kept) == {str(node) for node in nodes}
    assert {name for name in WRONG if kept[str(parts[name])] > 0.9} == {"shortcut"}
    assert (measure.value, measure.n) == (3 / 4, 4)
    subject = Subject.of(circuit_of(shortcut(), nodes), shortcut().checkpoint, None)
    sample = subject.sample(QUICK.pairs, 0)
    whole = subject.margins(None, sample) > 0
    for node in nodes:
        keep = {site: np.ones_like(mask) for site, mask in subject.keep.items()}
        keep[node.site][node.index] = False
        same = (subject.margins(keep, sample) > 0) == whole
        assert kept[str(node)] == pytest.approx(float(same.double().mean()))


def test_all_nodes_are_tried_before_all_are_said_to_be_needed() -> None:
    planted, few = shortcut(), QUICK.replace(needed_nodes=1)
    spared = found(planted, planted.nodes("true 0", "true 1"), config=few).measures
    assert (spared["needed_in_model"].value, spared["needed_in_model"].n) == (0, 1)
    needed = found(planted, planted.nodes(*ENDS), config=few).measures
    assert (needed["needed_in_model"].value, needed["needed_in_model"].n) == (1, len(ENDS))


def test_an_edge_that_was_wrongly_cut_is_found_out() -> None:
    planted = shortcut()
    cut = [Edge(planted.parts["read"], planted.parts["true 0"])]
    nodes = planted.nodes(*TRUE)
    measures = found(planted, nodes, cut=cut).measures
    assert measures["subset_adversarial@1"].value == 0
    assert true().measures["subset_adversarial@1"].value == 1


@pytest.mark.parametrize("whole", [True, False])
def test_everything_and_nothing_can_be_asked(whole: bool) -> None:
    planted = shortcut()
    report = found(planted, all_nodes(planted) if whole else [])
    if whole:
        assert report.measures["subset_random"].value == 1
        assert report.details["subset_adversarial"]["nodes"] == [[], []]
    else:
        assert np.isnan(report.measures["needed_in_model"].value)
        # All cut: one answer to everything, right for one side.
        assert report.details["subset_random"]["share"][0] == 0.5
        assert report.measures["subset_random"].value <= 0.5


def test_the_cost_grows_with_what_is_asked() -> None:
    planted = shortcut()
    subject = Subject.of(circuit_of(planted, planted.nodes(*TRUE)), planted.checkpoint, None)
    less = subset_passes(subject, QUICK)
    assert 0 < less < subset_passes(subject, QUICK.replace(budgets=(1, 2, 3, 4, 5)))
    assert less < subset_passes(subject, QUICK.replace(restore_draws=30))
    assert less < subset_passes(subject, QUICK.replace(needed_nodes=60))


def test_rates_and_budgets_are_checked() -> None:
    for bad in ({"restore_rates": [0.0]}, {"restore_rates": [1.0]}, {"budgets": [0]}):
        with pytest.raises(WireworkError):
            ValidationConfig.parse(bad)
