"""One neuron and one feature: the neuron's probe, its held-out scores, how it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.one_neuron import balanced_accuracy_of, f1_of, fit_one_neuron_probes
from wirework.probing.split_tokens import LabelPair, Parts, Statistic, outcomes

Measures = dict[str, Measure]
Details = dict[str, Any]
Findings = tuple[Measures, Details]

_BINS, _THRESHOLDS, _BLOCK = 50, 50, 25
_CLEAR = 0.1
"""Precision and recall that differ by less are called alike."""


@dataclass(frozen=True)
class Case:
    """A neuron's activations `train` and `held` (n), scaled; the labels of one feature there; the
    balanced logistic probe that training text gives: weight x activation + bias > 0."""

    parts: Parts
    train: NDArray[np.float32]
    held: NDArray[np.float32]
    labels: LabelPair
    weight: float
    bias: float

    @classmethod
    def of(
        cls,
        parts: Parts,
        train: NDArray[np.float32],
        held: NDArray[np.float32],
        labels: LabelPair,
    ) -> Case:
        asked = labels[0] != NOT_ASKED
        fitted = fit_one_neuron_probes(
            np.ascontiguousarray(train[asked])[None], labels[0][asked] == YES
        )
        return cls(parts, train, held, labels, float(fitted[0, 0]), float(fitted[0, 1]))

    def of_labels(self, labels: LabelPair) -> Case:
        """The same neuron, with a probe for other labels."""
        return Case.of(self.parts, self.train, self.held, labels)

    def at(self, bias: float) -> Case:
        """The same with another threshold."""
        return replace(self, bias=bias)

    @property
    def scores(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Of training and held-out tokens."""
        train, held = (self.weight * x.astype(np.float64) + self.bias for x in self.both)
        return train, held

    @property
    def both(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.train, self.held

    @property
    def asked(self) -> int:
        """How many held-out tokens are asked."""
        return int((self.labels[1] != NOT_ASKED).sum())

    def train_f1(self) -> float:
        return float(f1_of(outcomes(self.scores[0] > 0, self.labels[0]).sum(0)))

    def outcomes(self) -> NDArray[np.bool_]:
        """(n, 4) of the held-out tokens."""
        return outcomes(self.scores[1] > 0, self.labels[1])

    def measure(self, statistic: Statistic, note: str = "") -> Measure:
        """A statistic of the held-out confusion counts, with its interval over documents."""
        return self.parts.measure(
            self.outcomes(), statistic, self.asked, better="higher", note=note
        )


def precision_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """TP / (TP + FP) of counts (..., 4); 0 where nothing is said."""
    return _share(counts[..., 0], counts[..., 0] + counts[..., 1])


def recall_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """TP / (TP + FN) of counts (..., 4); 0 without positives."""
    return _share(counts[..., 0], counts[..., 0] + counts[..., 2])


def accuracy_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Balanced accuracy of counts (..., 4); NaN where a class is absent."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return balanced_accuracy_of(counts)


STATISTICS: Mapping[str, Statistic] = {
    "f1": f1_of,
    "precision": precision_of,
    "recall": recall_of,
    "balanced_accuracy": accuracy_of,
}


def read(case: Case, shuffled: Case) -> Findings:
    """Held-out scores, the sweep over thresholds, the histogram by class, what they say.

    `shuffled`: the same neuron with labels in a random order. Measures as in `investigate`.
    """
    best = best_threshold(case)
    measures: Measures = {}
    for name, statistic in STATISTICS.items():
        measures[name] = case.measure(statistic)
        measures[f"{name}_shuffled"] = shuffled.measure(statistic)
    measures["average_precision"] = _average_precision(case)
    measures["average_precision_shuffled"] = _average_precision(shuffled)
    measures["best_threshold_f1"] = best.measure(f1_of, "threshold of the best training F1")
    measures["best_threshold_f1_shuffled"] = best_threshold(shuffled).measure(f1_of)
    measures["base_rate"] = case.parts.measure(
        np.stack([case.labels[1] == YES, case.labels[1] != NOT_ASKED], 1),
        lambda sums: _share(sums[..., 0], sums[..., 1]),
        case.asked,
    )
    details = {
        "histogram": _histogram(case),
        "thresholds": _sweep(case),
        "reading": _reading(measures["precision"], measures["recall"]),
    }
    return measures, details


def best_threshold(case: Case) -> Case:
    """With the threshold that has the highest F1 on training text."""
    asked = case.labels[0] != NOT_ASKED
    score, yes = case.scores[0][asked], case.labels[0][asked] == YES
    order, last = _descending(score)
    hits = np.cumsum(yes[order])[last]
    said = last + 1
    place = int(np.argmax(2 * hits / (said + yes.sum())))
    # Between this score and the next lower one.
    ends = score[order][last]
    below = ends[place + 1] if place + 1 < len(ends) else ends[place] - 1
    return case.at(case.bias - float(ends[place] + below) / 2)


def _descending(score: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order of falling score, and the place of the last of every run of equal scores."""
    order = np.argsort(-score, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(score[order]) != 0, True))


def _average_precision(case: Case) -> Measure:
    """Mean precision over recall, of scores; its interval over documents."""
    asked = case.labels[1] != NOT_ASKED
    score, yes = case.scores[1][asked], case.labels[1][asked] == YES
    order, last = _descending(score)
    yes, document = yes[order], case.parts.document[asked][order]

    def of(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of token weights (..., n) in falling order."""
        said = np.cumsum(weights, -1)[..., last]
        hits = np.cumsum(weights * yes, -1)[..., last]
        steps = np.diff(hits, axis=-1, prepend=0)
        precision = np.divide(hits, said, out=np.zeros_like(hits), where=said > 0)
        return _share((steps * precision).sum(-1), hits[..., -1])

    value = float(of(np.ones(len(yes))))
    drawn = case.parts.drawn.astype(np.float64)
    values = np.concatenate(
        [of(drawn[i : i + _BLOCK][:, document]) for i in range(0, len(drawn), _BLOCK)]
    )
    low, high = np.quantile(values, [0.025, 0.975])
    return Measure(value, float(low), float(high), len(yes), "higher")


def _sweep(case: Case) -> list[Details]:
    """Held-out scores at thresholds from quantiles of the training scores."""
    train, held = case.scores
    found = []
    for threshold in np.unique(np.quantile(train, np.linspace(0, 1, _THRESHOLDS + 1)[:-1])):
        said = held > threshold
        counts = outcomes(said, case.labels[1]).sum(0)
        names = ("precision", "recall", "f1")
        scores = {name: float(STATISTICS[name](counts)) for name in names}
        found.append({"score": float(threshold), "said": int(said.sum()), **scores})
    return found


def _histogram(case: Case) -> Details:
    """Held-out activations, scaled as for the probe, by class."""
    edges = np.histogram_bin_edges(case.held.astype(np.float64), _BINS)
    kinds = {"positive": YES, "negative": NO}
    found: Details = {"edges": edges.tolist(), "threshold": None}
    if case.weight:
        found["threshold"] = -case.bias / case.weight
    for name, kind in kinds.items():
        values = case.held[case.labels[1] == kind].astype(np.float64)
        quantiles = np.quantile(values, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        found[name] = {
            "counts": np.histogram(values, edges)[0].tolist(),
            "mean": float(values.mean()),
            "quantiles": quantiles.tolist(),
        }
    return found


def _reading(precision: Measure, recall: Measure) -> str:
    """What precision and recall say together (sparse_probing.md §4.6)."""
    apart = precision.value - recall.value
    if abs(apart) < _CLEAR:
        return "precision and recall are alike"
    if apart > 0:
        return "more precise than complete: the neuron may stand for something narrower"
    return "more complete than precise: the neuron may stand for something wider"


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
