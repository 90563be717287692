"""All features against all neurons: ranked by products, the best refitted, scored held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.probing.activation_windows import checked_rows
from wirework.probing.checks import about, check_finite
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.labelled import LabelledTokens
from wirework.probing.one_neuron import (
    balanced_accuracy_of,
    confusion,
    f1_of,
    fit_one_neuron_probes,
)
from wirework.probing.split_tokens import LabelPair, Parts, scale_of, shuffled_labels

Floats = NDArray[np.float32]

CONTROLS = ("shuffled", "random")
"""`shuffled`: labels in a random order among the tokens that are asked, in training and in test
text each. `random`: as many random directions as neurons are refitted, in place of neurons."""


class Matrices(Protocol):
    """Activations of several sites for the same tokens, such as `Activations`."""

    @property
    def sites(self) -> tuple[str, ...]: ...

    def matrix(self, site: str, rows: NDArray[np.int64] | None = None) -> Floats:
        """(n, d) for tokens `rows`, all where None; the caller may change it."""
        ...


@dataclass(frozen=True)
class InMemory:
    """Arrays (n, d) by site as `Matrices`; row i is token i."""

    arrays: Mapping[str, NDArray[Any]]

    @property
    def sites(self) -> tuple[str, ...]:
        return tuple(self.arrays)

    def matrix(self, site: str, rows: NDArray[np.int64] | None = None) -> Floats:
        values = self.arrays[site]
        if rows is None:
            return values.astype(np.float32)
        return values[checked_rows(rows, len(values))].astype(np.float32, copy=False)


@dataclass(frozen=True)
class NeuronScore:
    """How well one neuron tells one feature. score = weight x activation + bias > 0.

    `train_f1` chose it; `f1`, `precision`, `recall`, `balanced_accuracy` are on held-out
    documents; `low`, `high`: 95% interval of `f1` over these documents.
    """

    feature: str
    site: str
    neuron: int
    weight: float
    bias: float
    train_f1: float
    f1: float
    low: float
    high: float
    precision: float
    recall: float
    balanced_accuracy: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Scan:
    """`best`: feature -> its best neuron of all sites, by training F1. `by_site`: feature -> the
    best neuron of every site. `controls`: name -> feature -> the same for a control. `left_out`:
    features with too few positives, feature -> how many there are (training, test)."""

    best: Mapping[str, NeuronScore]
    by_site: Mapping[str, Mapping[str, NeuronScore]]
    controls: Mapping[str, Mapping[str, NeuronScore]]
    left_out: Mapping[str, tuple[int, int]]

    def to_json(self) -> dict[str, Any]:
        return {
            "best": {name: score.to_json() for name, score in self.best.items()},
            "by_site": {
                name: {site: score.to_json() for site, score in sites.items()}
                for name, sites in self.by_site.items()
            },
            "controls": {
                control: {name: score.to_json() for name, score in found.items()}
                for control, found in self.controls.items()
            },
            "left_out": {name: list(counts) for name, counts in self.left_out.items()},
        }


def scan(
    activations: Matrices,
    labelled: LabelledTokens,
    *,
    rows: NDArray[np.int64] | None = None,
    refits: int = 30,
    least: int = 50,
    controls: Sequence[str] = CONTROLS,
    test: float = 0.3,
    seed: int = 0,
    start: StartProgress = silent,
) -> Scan:
    """The best single neuron for every feature (sparse_probing.md §1.3, §1.4, §8).

    Activations are scaled to a spread of 0.1 on training text (§1.2). At each site neurons are
    ranked by their mean difference, all features in one product; the `refits` best get a balanced
    logistic probe each; the one with the highest F1 on training text is scored on the test
    documents, which no choice has seen.

    `rows`: tokens of `labelled` that have activations; all where None. `least`: positives and
    negatives that a feature must have in training and in test text each. Neurons with one value
    at all training tokens are not chosen before others. Raises `probe-control-unknown`,
    `scan-without-features`, `probe-not-finite`, `rows-unknown` and what `LabelledTokens.split`
    raises.
    """
    for control in controls:
        if control not in CONTROLS:
            raise WireworkError(
                "probe-control-unknown", f"no control is called {control!r}",
                expected=" or ".join(CONTROLS), got=control,
            )  # fmt: skip
    parts = Parts.of(labelled, rows, test, seed)
    columns, left_out = _enough(labelled, parts, least)
    shuffled = shuffled_labels(parts.labels, seed)
    found: dict[str, list[list[NeuronScore]]] = {name: [] for name in ("", *controls)}
    with start("scan", len(activations.sites)) as progress:
        for site in activations.sites:
            train, held = (activations.matrix(site, own) for own in (parts.train, parts.test))
            with about(site):
                check_finite(train)
                check_finite(held)
            search = _Search(site, train, held, parts, refits, seed)
            found[""].append(search.best(columns, parts.labels))
            if "shuffled" in controls:
                found["shuffled"].append(search.best(columns, shuffled))
            if "random" in controls:
                found["random"].append(search.directions().best(columns, parts.labels))
            progress.advance()
    by_feature = {name: list(zip(*sites, strict=True)) for name, sites in found.items()}
    firsts = {
        name: {scores[0].feature: _first(scores) for scores in features}
        for name, features in by_feature.items()
    }
    by_site = {
        scores[0].feature: {score.site: score for score in scores} for scores in by_feature[""]
    }
    return Scan(firsts.pop(""), by_site, firsts, left_out)


def _first(scores: Sequence[NeuronScore]) -> NeuronScore:
    return max(scores, key=lambda score: score.train_f1)


def _enough(
    labelled: LabelledTokens, parts: Parts, least: int
) -> tuple[list[int], dict[str, tuple[int, int]]]:
    """Columns of features with enough positives and negatives; the others' positives."""
    rare = [np.minimum((x == YES).sum(0), (x == NO).sum(0)) for x in parts.labels]
    both = np.minimum(*rare)
    enough = both >= max(1, least)
    if not enough.any():
        most = f", of {labelled.features[int(both.argmax())].name!r}" if len(both) else ""
        raise WireworkError(
            "scan-without-features",
            f"no feature of {labelled.feature_set!r} has enough labels to be scanned",
            expected=f"{least} positives and {least} negatives in training and in test text each",
            got=f"at most {int(both.max(initial=0))}{most}, the most of {len(both)} features",
            hint="more documents, or a smaller `least`",
        )  # fmt: skip
    positives = [(x == YES).sum(0) for x in parts.labels]
    left_out = {
        labelled.features[i].name: (int(positives[0][i]), int(positives[1][i]))
        for i in np.flatnonzero(~enough)
    }
    return np.flatnonzero(enough).tolist(), left_out


class _Search:
    """The neurons of one site on scaled activations."""

    def __init__(
        self, site: str, train: Floats, held: Floats, parts: Parts, refits: int, seed: int
    ) -> None:
        self.site, self.parts, self.refits, self.seed = site, parts, refits, seed
        self.scale = scale_of(train)
        # In place: these are the largest arrays of a scan.
        for x in (train, held):
            np.divide(x, self.scale, out=x, dtype=np.float32)
        self.train, self.held = train, held

    def directions(self) -> _Search:
        """The same with random directions in place of neurons."""
        width = self.train.shape[1]
        random = np.random.default_rng([self.seed, 1])
        basis = random.standard_normal((width, min(width, self.refits))).astype(np.float32)
        basis /= np.linalg.norm(basis, axis=0)
        train, held = self.train @ basis, self.held @ basis
        return _Search(self.site, train, held, self.parts, self.refits, self.seed)

    def best(self, columns: Sequence[int], labels: LabelPair) -> list[NeuronScore]:
        """The best neuron for the features of some columns of the labels."""
        train, held = labels
        chosen = self._ranked(train[:, columns])
        return [
            self._refitted(self.parts.names[column], neurons, train[:, column], held[:, column])
            for neurons, column in zip(chosen, columns, strict=True)
        ]

    def _ranked(self, labels: NDArray[np.int8]) -> NDArray[np.int64]:
        """Neurons with the largest mean differences, (F, refits)."""
        yes, asked = (x.astype(np.float32) for x in (labels == YES, labels != NOT_ASKED))
        sums, totals = yes.T @ self.train, asked.T @ self.train
        count, of_all = yes.sum(0)[:, None], asked.sum(0)[:, None]
        apart = np.abs(sums / count - (totals - sums) / (of_all - count))
        few = min(self.refits, apart.shape[1])
        return np.argpartition(-apart, few - 1, axis=1)[:, :few].astype(np.int64)

    def _refitted(
        self,
        feature: str,
        neurons: NDArray[np.int64],
        train: NDArray[np.int8],
        held: NDArray[np.int8],
    ) -> NeuronScore:
        neurons = np.sort(neurons)
        asked = train != NOT_ASKED
        x = np.ascontiguousarray(self.train[:, neurons][asked].T)
        y = train[asked] == YES
        fitted = fit_one_neuron_probes(x, y)
        f1 = f1_of(confusion(fitted[:, :1] * x + fitted[:, 1:] > 0, y))
        place = int(f1.argmax())
        neuron, (weight, bias) = int(neurons[place]), fitted[place]
        said = weight * self.held[:, neuron] + bias > 0
        asked = held != NOT_ASKED
        counts = confusion(said[asked], held[asked] == YES)
        hits, alarms, misses, _ = counts.tolist()
        low, high = self.parts.interval(said, held)
        return NeuronScore(
            feature=feature,
            site=self.site,
            neuron=neuron,
            weight=float(weight / self.scale[neuron]),
            bias=float(bias),
            train_f1=float(f1[place]),
            f1=float(f1_of(counts)),
            low=low,
            high=high,
            precision=hits / (hits + alarms) if hits + alarms else 0.0,
            recall=hits / (hits + misses),
            balanced_accuracy=float(balanced_accuracy_of(counts)),
        )
