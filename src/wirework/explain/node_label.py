"""What a node was found to tell: its label, how good that is beside chance, what it explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

CLEARLY = 0.3
"""By how much the low end of a label's correlation must exceed that of its control."""

PAIR_GAIN = 0.05
"""A pair is the label where it gains this much correlation in training text over one feature."""


@dataclass(frozen=True)
class Term:
    """A feature or, `negated`, its absence."""

    feature: str
    negated: bool = False

    def __str__(self) -> str:
        return f"not {self.feature}" if self.negated else self.feature


@dataclass(frozen=True)
class LabelScore:
    """How well a node tells whether all of `terms` hold: yes where its activation is above
    `threshold` (`direction` "on") or not above it ("off").

    `train_mcc`, Matthews' correlation in training text, chose terms, threshold and direction.
    The rest is on held-out documents: `mcc`, `f1`, each with a 95% interval over documents,
    `precision`, `recall`. `base_rate`: share of the `tokens` at which the label holds;
    `chance_f1`: F1 of always saying yes, the most that can be had without looking.
    """

    terms: tuple[Term, ...]
    direction: Literal["on", "off"]
    threshold: float
    train_mcc: float
    mcc: float
    mcc_low: float
    mcc_high: float
    f1: float
    low: float
    high: float
    precision: float
    recall: float
    base_rate: float
    chance_f1: float
    tokens: int

    def __str__(self) -> str:
        return " and ".join(map(str, self.terms))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LabelScore:
        """Raises KeyError, TypeError or ValueError for anything that is not such a score."""
        numbers = {name: float(value[name]) for name in _NUMBERS}
        terms = tuple(Term(str(t["feature"]), bool(t["negated"])) for t in value["terms"])
        direction: Literal["on", "off"] = "on" if value["direction"] == "on" else "off"
        if not terms or value["direction"] not in ("on", "off"):
            raise ValueError(f"terms {terms}, direction {value['direction']!r}")
        return cls(terms=terms, direction=direction, tokens=int(value["tokens"]), **numbers)


_NUMBERS = tuple(
    name for name in LabelScore.__dataclass_fields__ if name not in ("terms", "direction", "tokens")
)


@dataclass(frozen=True)
class EffectShare:
    """How much of a node's effect on the task its label explains.

    `value`: 1 - (margin that the circuit loses with the node replaced by two values, one where
    the label holds and one elsewhere) / (margin that it loses without the node); 1 is all of it,
    and it may be negative. `low`, `high`: 95% interval over pairs. `control`: the same with the
    marks of the label in a random order among the tokens of the prompts. `pairs`: how many were
    measured; `unlabelled`: how many could not be labelled. None where it cannot be measured;
    `reason` says why.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    control: float | None = None
    pairs: int = 0
    unlabelled: int = 0
    reason: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EffectShare:
        """Raises KeyError, TypeError or ValueError for anything that is not such a share."""
        known = {name: None if value[name] is None else float(value[name]) for name in _SHARE}
        return cls(
            value=known["value"],
            low=known["low"],
            high=known["high"],
            control=known["control"],
            pairs=int(value["pairs"]),
            unlabelled=int(value["unlabelled"]),
            reason=str(value["reason"]),
        )


_SHARE = ("value", "low", "high", "control")


@dataclass(frozen=True)
class NodeLabel:
    """The best single feature and the best pair of a node, each beside its control.

    `control`, `pair_control`: what the same search finds for shuffled labels, of several shuffles
    the one with the highest held-out correlation. None: there is no such label; all are None for a
    node that does not change in the text. `inside`, `outside`: mean activation in training text
    where the label `best` holds and elsewhere. `share`: of the node's effect on the task.
    """

    single: LabelScore | None
    control: LabelScore | None
    pair: LabelScore | None
    pair_control: LabelScore | None
    inside: float
    outside: float
    share: EffectShare

    @property
    def best(self) -> LabelScore | None:
        """The pair where it is worth its length (`PAIR_GAIN`), else the single feature."""
        return self.pair if self._takes_pair else self.single

    @property
    def best_control(self) -> LabelScore | None:
        return self.pair_control if self._takes_pair else self.control

    @property
    def _takes_pair(self) -> bool:
        pair, single = self.pair, self.single
        return (
            pair is not None
            and single is not None
            and pair.train_mcc >= single.train_mcc + PAIR_GAIN
        )

    @property
    def explained(self) -> bool:
        """Whether `best` beats its control and chance clearly on held-out text."""
        return not self.unexplained

    @property
    def unexplained(self) -> str:
        """Why the node counts as unexplained; empty where it is explained."""
        best, control = self.best, self.best_control
        if best is None:
            return "its activation does not change in the text"
        bar = max(0.0, control.mcc if control is not None else 0.0) + CLEARLY
        if best.mcc_low < bar:
            return f"correlation {best.mcc:.2f}, from {best.mcc_low:.2f}: less than {bar:.2f}"
        if best.low <= best.chance_f1:
            return f"F1 {best.f1:.2f}, from {best.low:.2f}: chance is {best.chance_f1:.2f}"
        return ""

    def __str__(self) -> str:
        best = self.best
        if best is None or self.unexplained:
            return f"unexplained: {self.unexplained}"
        side = "" if best.direction == "on" else "off for "
        return f"{side}{best}, F1 {best.f1:.2f} [{best.low:.2f}, {best.high:.2f}]"

    def to_json(self) -> dict[str, Any]:
        """Plain values; `label` and `unexplained` are for readers, and follow from the rest."""
        best = None if self.best is None else str(self.best)
        return {**asdict(self), "label": best, "unexplained": self.unexplained}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NodeLabel:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        names = ("single", "control", "pair", "pair_control")
        scores = {
            name: None if value[name] is None else LabelScore.from_json(value[name])
            for name in names
        }
        return cls(
            **scores,
            inside=float(value["inside"]),
            outside=float(value["outside"]),
            share=EffectShare.from_json(value["share"]),
        )
