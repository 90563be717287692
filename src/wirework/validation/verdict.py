"""The verdict: which measures have bars, and what missing one means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from wirework.core import Measure

FAITHFUL, PARTLY, UNFAITHFUL = "faithful", "partly", "unfaithful"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Rule:
    """`bar`: what a measure must reach. `decisive`: who misses it is unfaithful, not only partly
    faithful. `says`: what it would mean to miss it. `unless`: a measure that, where it is 1, takes
    the decision away, and what missing the bar means then. `everywhere`: every task can be asked
    for it, so that nothing is decided without it."""

    bar: float
    decisive: bool
    says: str
    unless: tuple[str, str] | None = None
    everywhere: bool = True

    def decides(self, measures: Mapping[str, Measure]) -> bool:
        """Whether missing it makes a circuit with these measures unfaithful."""
        spared = False
        if self.unless is not None and self.unless[0] in measures:
            spared = measures[self.unless[0]].value == 1
        return self.decisive and not spared


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "model_accuracy": Rule(0.9, True, "the whole model does not do the task at all"),
        "task_loss": Rule(0.15, True, "the circuit alone misses its target"),
        "task_accuracy": Rule(0.97, True, "the circuit alone gives wrong answers"),
        "task_accuracy:unseen": Rule(
            0.9, True, "it fails templates that the search never saw", everywhere=False
        ),
        "equivalence": Rule(0.9, True, "it answers otherwise than the model"),
        "subset_random": Rule(
            0.9,
            True,
            "it lives on what the rest is held at",
            unless=(
                "needed_in_model",
                "the model needs every node of it, but parts of the rest drown it one by one",
            ),
        ),
        "interchange:circuit": Rule(0.9, True, "the model's own activations break it"),
        "faithfulness": Rule(0.9, False, "its margin is not the model's"),
        "sufficiency": Rule(0.95, False, "random circuits of its size do as well"),
        "necessity": Rule(0.95, False, "cutting random nodes hurts as much as cutting its own"),
        "interchange": Rule(0.9, False, "its activations break the model"),
        "subset_adversarial@1": Rule(0.9, False, "a single node of the rest can overrule it"),
        "equivalence:shifted": Rule(0.9, False, "it answers otherwise where prompts are unusual"),
        "exhaustive_agreement": Rule(0.9, False, "it answers otherwise in a finite domain"),
        "sign_changes": Rule(0.1, False, "nodes play another part than in the model"),
        "attention_distance": Rule(0.2, False, "heads look elsewhere than in the model"),
        "norm_shift": Rule(2.0, False, "norms amplify the few writes that are kept"),
        "exactness": Rule(1e-9, False, "the lone circuit is not the masked model"),
    }
)
"""By measure. `task_loss` has the target that the circuit was searched for, where it knows one.

The bars were fixed on planted circuits and nulls of half of the families (`benchmarks/LOG.md`);
`wirework bench trust` scores the verdicts on the others.
"""


@dataclass(frozen=True)
class Verdict:
    """`word`: `unfaithful` where a decisive bar is missed; else `undecided` where one was not
    measured; else `faithful` where every bar is reached, and `partly` where one is missed.
    `missed`: the measures that missed, decisive first; `decisive`: those that decide; `lacking`:
    what would have to be measured to decide."""

    word: str
    missed: tuple[str, ...]
    decisive: frozenset[str]
    lacking: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "word": self.word,
            "missed": [
                {"measure": name, "decisive": name in self.decisive, "says": self._says(name)}
                for name in self.missed
            ],
            "lacking": list(self.lacking),
        }

    def _says(self, name: str) -> str:
        rule = RULES[name]
        if rule.unless is not None and rule.decisive and name not in self.decisive:
            return rule.unless[1]
        return rule.says


def with_bars(measures: Mapping[str, Measure], target_loss: float | None) -> dict[str, Measure]:
    """The same measures with the bars of `RULES`; `target_loss` for `task_loss`."""
    bars = {name: rule.bar for name, rule in RULES.items()}
    if target_loss is not None:
        bars["task_loss"] = target_loss
    return {name: replace(measure, bar=bars.get(name)) for name, measure in measures.items()}


def verdict_of(measures: Mapping[str, Measure]) -> Verdict:
    """The verdict on measures with bars. What was not measured is not held against a circuit, nor
    counted for it."""
    lacking = tuple(
        name
        for name, rule in RULES.items()
        if rule.decisive and rule.everywhere and name not in measures
    )
    missed = [name for name in RULES if name in measures and measures[name].passed is False]
    decisive = frozenset(name for name in missed if RULES[name].decides(measures))
    missed.sort(key=lambda name: name not in decisive)
    word = UNDECIDED if lacking else PARTLY if missed else FAITHFUL
    return Verdict(UNFAITHFUL if decisive else word, tuple(missed), decisive, lacking)
