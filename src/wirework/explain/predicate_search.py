"""Conjunctions of at most three terms, ranked by how much of a sum over positions they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.explain.label_search import Holds, Terms, conjunction
from wirework.explain.weight_predicate import MOST_COVERAGE

_COVERAGE_PRICE = 0.1
"""Score that holding everywhere costs."""

_TERM_PRICE = 0.02
"""Score that every term but the first has to gain."""

_BEAM = 60
"""Pairs that a third term is added to."""

_RANKED = 100
"""Candidates by the sum, of which those that are alike are left out."""

_ALIKE = 0.02
"""Two predicates are alike if they differ on less than this share of the absolute sum."""

_Numbers = NDArray[np.float64]


def worth(score: float, coverage: float, terms: int) -> float:
    """What the search makes large: the score up to 1, less the price of coverage and length."""
    return float(_worth(np.array(score), np.array(coverage), terms))


def _worth(score: _Numbers, coverage: _Numbers, terms: int) -> _Numbers:
    price = _COVERAGE_PRICE * coverage + _TERM_PRICE * (terms - 1)
    allowed = (coverage > 0) & (coverage <= MOST_COVERAGE)
    found: _Numbers = np.where(allowed, np.minimum(score, 1.0) - price, -np.inf)
    return found


@dataclass(frozen=True)
class _Ranked:
    """Candidates of one length, as literals: a feature, or its absence `width` further."""

    literals: NDArray[np.int64]
    worth: _Numbers

    def best(self, count: int) -> _Ranked:
        order = np.argsort(-self.worth, kind="stable")[:count]
        order = order[np.isfinite(self.worth[order])]
        return _Ranked(self.literals[order], self.worth[order])


class PredicateSearch:
    """Searches among features held (n, F); only `columns` may be used."""

    def __init__(self, held: Holds, columns: NDArray[np.int64]) -> None:
        self._held = held
        self._columns = columns
        self._width = len(columns)
        # By feature, so that products read rows as a whole.
        self._has = np.ascontiguousarray(held[:, columns].T).astype(np.float32)
        self._counts = self._pair_sums(np.ones(len(held), np.float32))

    def ranked(self, gain: _Numbers, total: float) -> Iterator[Terms]:
        """The best predicates for `gain` (n), by the share of `total` that they hold.

        `gain` summed where a predicate holds, divided by `total`, is its score. All features,
        absences and pairs of them are tried, and the best pairs with any third.
        """
        part = gain.astype(np.float32)
        sums = self._pair_sums(part) / total
        coverage = self._counts / len(gain)
        singles = self._alone(sums, coverage)
        pairs = self._pairs(sums, coverage).best(_RANKED)
        triples = self._triples(part, total, pairs.best(_BEAM)).best(_RANKED)
        found = [
            (-value, tuple(sorted((i % self._width, i >= self._width) for i in literals)))
            for group in (singles, pairs, triples)
            for literals, value in zip(group.literals.tolist(), group.worth.tolist(), strict=True)
        ]
        ordered = list(dict.fromkeys(terms for _, terms in sorted(found)))[:_RANKED]
        return self._unlike(ordered, gain)

    def _pair_sums(self, part: NDArray[np.float32]) -> _Numbers:
        """Sums of `part` (n) where both of two literals hold, (2F, 2F)."""
        some = np.flatnonzero(part)
        has, part = self._has[:, some], part[some]
        both = (has * part) @ has.T
        each, whole = np.diag(both), part.sum()
        absent = whole - each[:, None] - each + both
        rest = each[:, None] - both
        return np.block([[both, rest], [rest.T, absent]]).astype(np.float64)

    def _alone(self, sums: _Numbers, coverage: _Numbers) -> _Ranked:
        literals = np.arange(2 * self._width)[:, None]
        return _Ranked(literals, _worth(np.diag(sums), np.diag(coverage), 1)).best(_RANKED)

    def _pairs(self, sums: _Numbers, coverage: _Numbers) -> _Ranked:
        first, second = np.triu_indices(2 * self._width, 1)
        other = first + self._width != second
        literals = np.stack([first, second], 1)[other]
        at = tuple(literals.T)
        return _Ranked(literals, _worth(sums[at], coverage[at], 2))

    def _triples(self, part: NDArray[np.float32], total: float, pairs: _Ranked) -> _Ranked:
        if not len(pairs.literals) or self._width < 3:
            return _Ranked(np.zeros((0, 3), np.int64), np.zeros(0))
        width, literals = self._width, pairs.literals
        rows = np.stack([self._literal(pair[0]) * self._literal(pair[1]) for pair in literals])
        sums = self._thirds(rows * part) / total
        coverage = self._thirds(rows) / rows.shape[1]
        value = _worth(sums, coverage, 3)
        for own in literals.T:
            for literal in (own % width, own % width + width):
                value[np.arange(len(literals)), literal] = -np.inf
        third = np.broadcast_to(np.arange(2 * width), value.shape)
        many = np.repeat(literals, 2 * width, 0)
        return _Ranked(np.column_stack([many, third.ravel()]), value.ravel())

    def _thirds(self, rows: NDArray[np.float32]) -> _Numbers:
        """Sums of rows (m, n) where a literal holds, (m, 2F)."""
        has = rows @ self._has.T
        return np.hstack([has, rows.sum(1, keepdims=True) - has]).astype(np.float64)

    def _literal(self, literal: np.int64) -> NDArray[np.float32]:
        has: NDArray[np.float32] = self._has[literal % self._width]
        return has if literal < self._width else 1 - has

    def _unlike(
        self, ordered: list[tuple[tuple[int, bool], ...]], gain: _Numbers
    ) -> Iterator[Terms]:
        size = np.abs(gain)
        known: list[Holds] = []
        for terms in ordered:
            named = tuple((int(self._columns[column]), absent) for column, absent in terms)
            mine = conjunction(self._held, named)
            if all(size[mine != other].sum() > _ALIKE * size.sum() for other in known):
                known.append(mine)
                yield named
