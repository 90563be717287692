"""The feature, or the pair of features, that one node tells best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.explain.node_label import LabelScore, Term
from wirework.probing.feature import NOT_ASKED, YES, Labels
from wirework.probing.one_neuron import confusion, f1_of

Values = NDArray[np.float32]
Holds = NDArray[np.bool_]
Terms = tuple[tuple[int, bool], ...]
"""Columns of features, each with whether its absence is meant."""

_EDGES = 64
"""Quantiles, of values below and of values above zero each, between which thresholds lie."""

_BEAM = 10
"""Terms that a pair may begin with, at every threshold and direction."""

_CUTS = 3
"""Thresholds at which pairs are looked for: those of the best features."""

_REFITTED = 8
"""Pairs whose threshold is chosen anew on all of the training text."""

_PAIR_ROWS = 10_000
"""Training tokens on which pairs are ranked."""

_DRAWS = 1000
"""Of the bootstrap over documents."""


@dataclass(frozen=True)
class Found:
    """All of some terms, and how a node tells them."""

    terms: Terms
    direction: Literal["on", "off"]
    threshold: float
    mcc: float

    def says(self, x: Values) -> NDArray[np.bool_]:
        above: NDArray[np.bool_] = x > self.threshold
        return above if self.direction == "on" else ~above


def mcc_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Matthews' correlation of counts (..., 4) as `confusion` gives them; 0 where undefined."""
    hits, alarms, misses, rejected = (counts[..., i].astype(np.float64) for i in range(4))
    total = np.sqrt((hits + alarms) * (hits + misses) * (rejected + alarms) * (rejected + misses))
    top = hits * rejected - alarms * misses
    return np.divide(top, total, out=np.zeros_like(top), where=total > 0)


def holds(labels: Labels) -> tuple[Holds, Holds]:
    """Labels (n, F) -> whether a token has each feature (n, F), and which tokens count (n).

    A node that tells a feature is silent where the feature makes no sense: a token that is not
    asked has it not. Only tokens that no feature is asked of do not count.
    """
    return labels == YES, (labels != NOT_ASKED).any(1)


def common_columns(parts: Sequence[Holds], least: int, what: str) -> NDArray[np.int64]:
    """Features that `least` tokens of training and of held-out text, `parts`, have, and as many
    have not. Raises `scan-without-features`, which says that `what` cannot be explained."""
    rare = np.minimum.reduce([np.minimum(x.sum(0), (~x).sum(0)) for x in parts])
    columns = np.flatnonzero(rare >= max(1, least))
    if not len(columns):
        raise WireworkError(
            "scan-without-features", f"no feature has enough labels to explain {what}",
            expected=f"{least} tokens with it and {least} without in training and in held-out "
            "text each",
            got=f"at most {int(rare.max(initial=0))} of {len(rare)} features",
            hint="more documents, or a smaller `least`",
        )  # fmt: skip
    return columns


def conjunction(held: Holds, terms: Terms) -> Holds:
    """Features held (n, F) -> whether all terms hold (n)."""
    found: Holds = np.logical_and.reduce([held[:, column] != absent for column, absent in terms])
    return found


def thresholds(x: Values) -> NDArray[np.float64]:
    """Places between values of x, rising; zero, where AbsTopK leaves most nodes, parts them."""
    shares = np.linspace(0, 1, _EDGES)
    parts = [x[x < 0], x[x == 0][:1], x[x > 0]]
    some = [np.quantile(part, shares, method="lower") for part in parts if len(part)]
    values = np.unique(np.concatenate(some)).astype(np.float64)
    between: NDArray[np.float64] = (values[:-1] + values[1:]) / 2
    return between


class LabelSearch:
    """Searches among features held (n, F) by training tokens; only `columns` may be used.

    A node is told by its activations (n) at the same tokens.
    """

    def __init__(self, held: Holds, columns: NDArray[np.int64], seed: int) -> None:
        self.columns = columns
        self.held = held[:, columns]
        self._rows = _Rows.of(self.held)
        few = np.random.default_rng([seed, 4]).permutation(len(held))[:_PAIR_ROWS]
        self._few = np.sort(few)
        # By feature, so that products read rows as a whole.
        self._part = np.ascontiguousarray(self.held[self._few].T).astype(np.float32)
        both, each = self._part @ self._part.T, self._part.sum(1)
        absent = len(self._few) - each[:, None] - each + both
        # How many tokens have both of two terms: every feature, then every absence.
        self._both = np.block([[both, each[:, None] - both], [each - both, absent]])

    def single(self, x: Values) -> Found | None:
        """The best single feature; None where x does not change."""
        edges = thresholds(x)
        if not len(edges):
            return None
        scores = _mcc_by_threshold(x, edges, self._rows)
        place, column = np.unravel_index(np.abs(scores).argmax(), scores.shape)
        score = float(scores[place, column])
        return self._found(((int(column), False),), float(edges[place]), score)

    def pair(self, x: Values) -> Found | None:
        """The best conjunction of two features or their absences; None where there is none."""
        edges = thresholds(x)
        if not len(edges) or len(self.columns) < 2:
            return None
        scores = np.abs(_mcc_by_threshold(x, edges, self._rows))
        features = np.argsort(-scores.max(0), kind="stable")
        places = list(dict.fromkeys(scores.argmax(0)[features].tolist()))
        best: dict[Terms, float] = {}
        for place in places[:_CUTS]:
            above = x[self._few] > edges[place]
            for said in (above, ~above):
                for terms, score in self._pairs(said):
                    best[terms] = max(score, best.get(terms, -1.0))
        chosen = sorted(best, key=lambda terms: (-best[terms], terms))[:_REFITTED]
        refitted = [self._refitted(x, edges, terms) for terms in chosen]
        return max(refitted, key=lambda found: found.mcc, default=None)

    def _pairs(self, said: Holds) -> list[tuple[Terms, float]]:
        """The best pairs for what a node says, with their correlations."""
        width, n, total = len(self.columns), len(said), int(said.sum())
        hits = self._part @ said.astype(np.float32)
        hits = np.concatenate([hits, total - hits])
        alone = mcc_of(_counts(hits, np.diag(self._both), total, n))
        firsts = np.argsort(-alone, kind="stable")[:_BEAM]
        rows = self._part[firsts % width]
        rows = np.where(firsts[:, None] < width, rows, 1 - rows) * said
        both = rows @ self._part.T
        both = np.hstack([both, hits[firsts, None] - both])
        scores = mcc_of(_counts(both, self._both[firsts], total, n))
        for row, first in enumerate(firsts.tolist()):
            scores[row, [first, (first + width) % (2 * width)]] = -1
        found = []
        for place in np.argsort(-scores, axis=None, kind="stable")[:_REFITTED].tolist():
            row, second = divmod(place, 2 * width)
            pair = (int(firsts[row]), second)
            terms = tuple(sorted((term % width, term >= width) for term in pair))
            found.append((terms, float(scores[row, second])))
        return found

    def _refitted(self, x: Values, edges: NDArray[np.float64], terms: Terms) -> Found:
        label = _Rows.of(conjunction(self.held, terms)[:, None])
        scores = _mcc_by_threshold(x, edges, label)[:, 0]
        place = int(np.abs(scores).argmax())
        return self._found(terms, float(edges[place]), float(scores[place]))

    def _found(self, terms: Terms, threshold: float, score: float) -> Found:
        named = tuple((int(self.columns[column]), absent) for column, absent in terms)
        return Found(named, "on" if score >= 0 else "off", threshold, abs(score))


@dataclass(frozen=True)
class _Rows:
    """Which of `width` features every token has: `columns` from `starts[i]` to `starts[i + 1]`."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    width: int

    @classmethod
    def of(cls, held: Holds) -> _Rows:
        starts = np.concatenate([[0], held.sum(1).cumsum()])
        return cls(starts, np.nonzero(held)[1], held.shape[1])


def _counts(hits: NDArray[Any], having: NDArray[Any], total: Any, n: int) -> NDArray[Any]:
    """As `confusion` gives them: of n tokens `total` are said to have it and `having` do."""
    parts = np.broadcast_arrays(hits, total - hits, having - hits, n - total - having + hits)
    return np.stack(parts, -1)


def _mcc_by_threshold(x: Values, edges: NDArray[np.float64], rows: _Rows) -> NDArray[np.float64]:
    """Correlation of x > edge with every feature, (edges, F)."""
    bins = np.searchsorted(edges, x)
    counted = np.zeros((len(edges) + 1, rows.width), np.int64)
    _count(bins, rows.starts, rows.columns, counted)
    above = counted[::-1].cumsum(0)[::-1]
    total = np.bincount(bins, minlength=len(edges) + 1)[::-1].cumsum()[::-1]
    return mcc_of(_counts(above[1:], above[0], total[1:, None], len(x)))


@numba.njit(cache=True)
def _count(bins: Any, starts: Any, columns: Any, counted: Any) -> None:
    for i in range(len(bins)):
        for place in range(starts[i], starts[i + 1]):
            counted[bins[i], columns[place]] += 1


@dataclass(frozen=True)
class HeldOut:
    """Held-out tokens: features held (n, F), document (n) counted from 0, names of the features,
    and how often each document is drawn in every bootstrap draw, (draws, documents)."""

    held: Holds
    document: NDArray[np.int64]
    names: tuple[str, ...]
    drawn: NDArray[np.int64]

    @classmethod
    def of(
        cls, held: Holds, document: NDArray[np.int64], names: tuple[str, ...], seed: int
    ) -> HeldOut:
        own, place = np.unique(document, return_inverse=True)
        many = len(own)
        random = np.random.default_rng([seed, 5])
        drawn = random.multinomial(many, np.full(many, 1 / many), _DRAWS)
        return cls(held, place, names, drawn)

    def score(self, found: Found, x: Values) -> LabelScore:
        """What was found in training text, on the activations x (n) here."""
        said, yes = found.says(x), conjunction(self.held, found.terms)
        kinds = np.stack([said & yes, said & ~yes, ~said & yes, ~said & ~yes], 1)
        by_document = np.zeros((self.drawn.shape[1], 4))
        np.add.at(by_document, self.document, kinds)
        draws, counts = self.drawn @ by_document, confusion(said, yes)
        hits, alarms, misses, _ = counts.tolist()
        low, high = np.quantile(f1_of(draws), [0.025, 0.975])
        mcc_low, mcc_high = np.quantile(mcc_of(draws), [0.025, 0.975])
        rate = float(yes.mean())
        return LabelScore(
            terms=tuple(Term(self.names[column], absent) for column, absent in found.terms),
            direction=found.direction,
            threshold=found.threshold,
            train_mcc=found.mcc,
            mcc=float(mcc_of(counts)),
            mcc_low=float(mcc_low),
            mcc_high=float(mcc_high),
            f1=float(f1_of(counts)),
            low=float(low),
            high=float(high),
            precision=hits / (hits + alarms) if hits + alarms else 0.0,
            recall=hits / (hits + misses) if hits + misses else 0.0,
            base_rate=rate,
            chance_f1=2 * rate / (1 + rate),
            tokens=len(yes),
        )
