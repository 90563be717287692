"""Training and held-out tokens of probes, and intervals over held-out documents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.core.report import Better
from wirework.probing.activation_windows import checked_rows
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.labelled import LabelledTokens
from wirework.probing.one_neuron import f1_of

LabelPair = tuple[NDArray[np.int8], NDArray[np.int8]]
"""Labels of training and of test tokens, (n) or (n, F) each."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Counts (..., m) -> values (...)."""

_DRAWS = 1000
"""Of the bootstrap over documents."""

_BLOCK = 256
"""Rows that are widened to float64 at a time."""


@dataclass(frozen=True)
class Parts:
    """Training and test tokens, and `labels` (N, F) of both; of test tokens the document, counted
    from 0; how often each of them is drawn in every bootstrap draw, (draws, documents)."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    labels: LabelPair
    document: NDArray[np.int64]
    drawn: NDArray[np.int64]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls, labelled: LabelledTokens, rows: NDArray[np.int64] | None, test: float, seed: int
    ) -> Parts:
        """Raises `rows-unknown` and what `LabelledTokens.split` raises."""
        every = np.arange(len(labelled))
        own = every if rows is None else checked_rows(rows, len(labelled))
        masks = [mask[own] for mask in labelled.split(seed, test)]
        train, held = (own[mask] for mask in masks)
        documents, document = np.unique(labelled.document[held], return_inverse=True)
        many = len(documents)
        random = np.random.default_rng([seed, 2])
        drawn = np.zeros((_DRAWS, 0), np.int64)
        if many:
            drawn = random.multinomial(many, np.full(many, 1 / many), _DRAWS)
        labels = labelled.labels[train], labelled.labels[held]
        names = tuple(feature.name for feature in labelled.features)
        return cls(train, held, labels, document, drawn, names)

    def sums(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values (n, m) of the test tokens, summed in every document: (documents, m)."""
        count = self.documents
        return np.stack([np.bincount(self.document, x, count) for x in values.T], 1)

    @property
    def documents(self) -> int:
        """How many documents are held out."""
        return int(self.drawn.shape[1])

    def spread(self, sums: NDArray[np.float64], statistic: Statistic) -> tuple[float, float]:
        """95% bootstrap interval over whole documents of a statistic of sums (documents, m).

        Draws for which it is undefined (NaN) are left out.
        """
        values = statistic(self.drawn @ sums)
        values = values[~np.isnan(values)]
        if not len(values):
            return float("nan"), float("nan")
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)

    def interval(self, said: NDArray[np.bool_], held: NDArray[np.int8]) -> tuple[float, float]:
        """That of F1; `said`: of the test tokens."""
        return self.spread(self.sums(outcomes(said, held)), f1_of)

    def measure(
        self,
        values: NDArray[Any],
        statistic: Statistic,
        n: int,
        *,
        better: Better = "neither",
        note: str = "",
    ) -> Measure:
        """A statistic of values (n, m) of the test tokens, summed, with its interval."""
        sums = self.sums(values)
        low, high = self.spread(sums, statistic)
        return Measure(float(statistic(sums.sum(0))), low, high, n, better, note=note)


def outcomes(said: NDArray[np.bool_], labels: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Which tokens are hits, false alarms, misses, right rejections, (n, 4); none if not asked."""
    yes, no = labels == YES, labels == NO
    return np.stack([said & yes, said & no, ~said & yes, ~said & no], 1)


def shuffled_labels(labels: LabelPair, seed: int) -> LabelPair:
    """Labels of every feature in a random order among the tokens that are asked."""
    train, test = (part.copy() for part in labels)
    random = np.random.default_rng([seed, 0])
    for part in (train, test):
        for column in part.T:
            asked = np.flatnonzero(column != NOT_ASKED)
            column[asked] = column[random.permutation(asked)]
    return train, test


def scale_of(train: NDArray[np.float32]) -> NDArray[np.float64]:
    """Divisors (d) to a spread of 0.1 on training text (sparse_probing.md §1.2)."""
    blocks = range(0, len(train), _BLOCK)
    mean = sum(train[i : i + _BLOCK].sum(0, dtype=np.float64) for i in blocks) / len(train)
    square = sum(((train[i : i + _BLOCK] - mean) ** 2).sum(0) for i in blocks) / len(train)
    return np.asarray(10 * np.maximum(np.sqrt(square), 1e-3))
