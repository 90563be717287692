"""The verdict follows stated rules, and tells wrong circuits that look right from right ones."""

from __future__ import annotations

import pytest

from wirework.core import Measure, WireworkError
from wirework.discovery import DiscoveryConfig, take_circuit
from wirework.planted import Null, hard_nulls, leaning_pair, minimal_circuits
from wirework.validation import GROUPS, RULES, ValidationConfig, validate, verdict_of
from wirework.validation.groups import chosen, usual_config
from wirework.validation.verdict import with_bars

SMALL = ValidationConfig(
    draws=5, pairs=12, restore_draws=6, budgets=(1, 4), adversary_restarts=2, adversary_steps=2,
    adversary_tries=4,
)  # fmt: skip
GOOD = {
    name: Measure(rule.bar, better="lower" if rule.bar < 0.5 or rule.bar > 1 else "higher")
    for name, rule in RULES.items()
}
EXPOSED = {
    "shortcut/cancelled": "interchange:circuit",
    "shortcut/backup": "interchange:circuit",
    "template/two-paths": "task_accuracy:unseen",
    "forbidden/role-change": "interchange:circuit",
    # Nothing else tells: what it writes is what the model says.
    "shortcut/shared-write": "subset_random",
}
"""Families of wrong circuits, with what must be among the reasons."""
SELDOM = ("shortcut/backup", "forbidden/role-change")
"""Those of which another in the list has the same reason."""


def verdict(null: Null, right: bool = False) -> tuple[str | None, list[str]]:
    config = DiscoveryConfig.parse({"ablation": {"kind": null.ablation}})
    nodes = null.truth if right else null.nodes
    circuit = take_circuit(null.checkpoint, null.task, nodes, config=config)
    groups = ("fit", "subsets", "mechanism")
    report = validate(circuit, null.checkpoint, groups=groups, config=SMALL)
    return report.verdict, [one["measure"] for one in report.details["verdict"]["missed"]]


def without(name: str, value: float) -> dict[str, Measure]:
    return with_bars({**GOOD, name: Measure(value, better=GOOD[name].better)}, None)


def test_every_bar_reached_is_faithful() -> None:
    found = verdict_of(with_bars(GOOD, None))
    assert (found.word, found.missed) == ("faithful", ())


@pytest.mark.parametrize("name", RULES)
def test_a_missed_bar_is_named_and_a_decisive_one_decides(name: str) -> None:
    rule = RULES[name]
    worse = rule.bar - 0.05 if GOOD[name].better == "higher" else rule.bar * 2
    found = verdict_of(without(name, worse))
    assert found.word == ("unfaithful" if rule.decisive else "partly")
    assert found.missed == (name,)
    told = found.to_json()["missed"]
    assert told == [{"measure": name, "decisive": rule.decisive, "says": rule.says}]


@pytest.mark.parametrize("name", RULES)
def test_what_could_not_be_measured_does_not_pass(name: str) -> None:
    assert verdict_of(without(name, float("nan"))).missed == (name,)


@pytest.mark.parametrize("name", RULES)
def test_without_what_decides_nothing_is_decided(name: str) -> None:
    rest = {other: measure for other, measure in with_bars(GOOD, None).items() if other != name}
    found = verdict_of(rest)
    optional = not RULES[name].decisive or name == "task_accuracy:unseen"
    assert found.word == ("faithful" if optional else "undecided")
    assert found.to_json()["lacking"] == ([] if optional else [name])
    worse = Measure(0, better="higher")
    other = "equivalence" if name != "equivalence" else "task_accuracy"
    assert verdict_of(with_bars({**rest, other: worse}, None)).word == "unfaithful"


def test_random_subsets_decide_unless_the_model_needs_every_node() -> None:
    missed = without("subset_random", 0.5)
    for needed, word in ((0.9, "unfaithful"), (float("nan"), "unfaithful"), (1.0, "partly")):
        found = verdict_of({**missed, "needed_in_model": Measure(needed, better="higher")})
        assert (found.word, found.missed) == (word, ("subset_random",))
        (told,) = found.to_json()["missed"]
        assert told["decisive"] == (word == "unfaithful")
        assert ("needs every node" in told["says"]) == (word == "partly")


def test_what_cancels_out_in_a_model_does_not_make_its_circuit_unfaithful() -> None:
    planted = leaning_pair()
    (truth,) = minimal_circuits(planted, 0.15)
    circuit = take_circuit(planted.checkpoint, planted.task, truth)
    groups = ("fit", "subsets", "mechanism")
    config = SMALL.replace(restore_draws=18)
    report = validate(circuit, planted.checkpoint, groups=groups, config=config)
    assert report["needed_in_model"].value == 1
    assert report.verdict == "partly"
    assert report["subset_random"].passed is False


def test_decisive_reasons_come_first() -> None:
    bad = {name: Measure(float("nan"), better=measure.better) for name, measure in GOOD.items()}
    missed = verdict_of(with_bars(bad, None)).missed
    decisive = [RULES[name].decisive for name in missed]
    assert decisive == sorted(decisive, reverse=True)
    assert len(missed) == len(RULES)


@pytest.mark.parametrize(
    "family",
    [pytest.param(f, marks=pytest.mark.long if f in SELDOM else []) for f in EXPOSED],
)
def test_a_wrong_circuit_that_looks_right_is_unfaithful_and_the_right_one_is_not(
    family: str,
) -> None:
    (null,) = hard_nulls([0], families=[family])
    word, missed = verdict(null)
    assert word == "unfaithful"
    assert EXPOSED[family] in missed
    word, missed = verdict(null, right=True)
    assert word != "unfaithful", missed


def test_groups_are_chosen_by_name() -> None:
    assert list(chosen(["mechanism", "fit"])) == ["fit", "mechanism"]
    assert "stability" not in chosen([])
    assert set(chosen(["quick"])) == {name for name, group in GROUPS.items() if group.quick}
    assert set(chosen(["quick", "stability"])) == {*chosen(["quick"]), "stability"}
    with pytest.raises(WireworkError, match="group-unknown"):
        chosen(["fits"])


def test_the_quick_report_asks_for_less() -> None:
    assert usual_config(["quick"]) == ValidationConfig.quick()
    assert usual_config(["quick", "nulls"]) == usual_config([]) == ValidationConfig()
    assert ValidationConfig.quick().budgets < ValidationConfig().budgets
