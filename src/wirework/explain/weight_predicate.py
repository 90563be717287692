"""When one weight matters: the predicate that says it best, with held-out scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from wirework.explain.node_label import Term

ROBUST = 0.75
"""Score from which a predicate counts as robust (weight_sparse_paper.md §10.4)."""

MOST_COVERAGE = 0.5
"""Share of the text in which a robust predicate may hold at most."""

Ablation = Literal["zero", "mean"]
"""What an ablated weight reads instead of its source: nothing, or the source's mean."""


@dataclass(frozen=True)
class PredicateScore:
    """How well "all of `terms` hold" says at which positions a weight matters.

    With dCE the rise of the cross-entropy when the weight is ablated everywhere: `recovery` is
    1 - (rise when it is ablated where the predicate does not hold) / dCE, `inverse` is
    1 - (rise when it is ablated where it holds) / dCE. Both are on held-out documents, as is
    `score`, min(recovery, 1 - inverse), with its 95% interval over documents and `coverage`, the
    share of tokens at which the predicate holds. `train_score` chose it. A score above 1: the
    weight does harm elsewhere.
    """

    terms: tuple[Term, ...]
    train_score: float
    recovery: float
    inverse: float
    low: float
    high: float
    coverage: float

    @property
    def score(self) -> float:
        return min(self.recovery, 1 - self.inverse)

    @property
    def robust(self) -> bool:
        return self.score >= ROBUST and self.coverage <= MOST_COVERAGE

    def __str__(self) -> str:
        return " and ".join(map(str, self.terms))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `score` follows from the rest."""
        return {**asdict(self), "score": self.score}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PredicateScore:
        """Raises KeyError, TypeError or ValueError for anything that is not such a score."""
        terms = tuple(Term(str(t["feature"]), bool(t["negated"])) for t in value["terms"])
        if not terms:
            raise ValueError("a predicate without terms")
        return cls(terms, **{name: float(value[name]) for name in _SCORES})


_SCORES = tuple(name for name in PredicateScore.__dataclass_fields__ if name != "terms")


@dataclass(frozen=True)
class WeightPredicate:
    """When one weight matters, on held-out documents of `tokens` tokens.

    `loss`: cross-entropy of the model in nats per token. `rise`: by how much it rises when the
    weight is ablated everywhere, with a 95% interval over documents. `best`: the predicate;
    `control`: what the same search finds among labels that are rolled within their documents.
    `reason`: why there is no predicate, empty where there is one.
    """

    weight: float
    ablation: Ablation
    tokens: int
    loss: float
    rise: float
    rise_low: float
    rise_high: float
    best: PredicateScore | None = None
    control: PredicateScore | None = None
    reason: str = ""

    @property
    def robust(self) -> bool:
        """Whether the weight matters on held-out text, and the predicate says when."""
        return not self.unexplained

    @property
    def robust_by_chance(self) -> bool:
        """Whether the control would count as robust."""
        return self.rise_low > 0 and self.control is not None and self.control.robust

    @property
    def unexplained(self) -> str:
        """Why there is no robust predicate; empty where there is one."""
        if self.best is None:
            return self.reason
        if self.rise_high < 0:
            return f"held-out text is predicted better without it: {self._measured}"
        if self.rise_low <= 0:
            return f"does not matter for sure on held-out text: {self._measured}"
        if not self.best.robust:
            return f"score {self.best.score:.2f} at coverage {self.best.coverage:.2f}: {self.best}"
        return ""

    @property
    def _measured(self) -> str:
        return f"{self.rise:+.1e} nats [{self.rise_low:+.1e}, {self.rise_high:+.1e}]"

    def __str__(self) -> str:
        if self.unexplained:
            return f"unexplained: {self.unexplained}"
        return f"{self.best}, {self._measured}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; `robust` and `unexplained` are for readers, and follow from the rest."""
        scores = {
            name: None if score is None else score.to_json()
            for name, score in (("best", self.best), ("control", self.control))
        }
        told = {"robust": self.robust, "unexplained": self.unexplained}
        return {**asdict(self), **scores, **told}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> WeightPredicate:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
        if value["ablation"] not in ("zero", "mean"):
            raise ValueError(f"ablation {value['ablation']!r}")
        names = ("weight", "loss", "rise", "rise_low", "rise_high")
        best, control = (
            None if value[name] is None else PredicateScore.from_json(value[name])
            for name in ("best", "control")
        )
        return cls(
            ablation=value["ablation"],
            tokens=int(value["tokens"]),
            best=best,
            control=control,
            reason=str(value["reason"]),
            **{name: float(value[name]) for name in names},
        )
