"""Whether a circuit's margins are its model's: which of the two is larger, prompt by prompt.

The published test (circuit_tools.md §1.12, T3) asks whether the one is larger on a share of prompts
within 1/2 ± epsilon. Two things are added. What differs by little is a tie, as a norm makes every
margin of a true circuit a little larger, which all signs would take for a difference. And prompts
of one template answer alike, so that templates are what is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr

from wirework.validation.clusters import variance_of_mean
from wirework.validation.exact_tests import equivalence_p, non_equivalence_p


def by_turns(margins: ArrayLike) -> NDArray[np.float64]:
    """One prompt of each pair, of rows (2N): both sides of a pair are alike. (N)"""
    both = np.asarray(margins, dtype=np.float64).reshape(2, -1)
    pairs = np.arange(both.shape[1])
    return np.asarray(both[pairs % 2, pairs])


def wins(alone: ArrayLike, whole: ArrayLike, zone: float) -> NDArray[np.float64]:
    """1 where the margin `alone` (n) is larger than that of `whole` (n) by more than `zone` times
    the mean size of the latter, 0 where it is as much smaller, else 1/2; NaN where one is NaN."""
    one, other = np.asarray(alone, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    tied = zone * np.abs(other).mean()
    ahead = one - other
    # Of NaN the sign is NaN, and stays so.
    return np.asarray((1 + np.sign(ahead) * (np.abs(ahead) > tied)) / 2)


@dataclass(frozen=True)
class ShareTests:
    """p-values of two nulls about the share of wins in new prompts of new templates: `equivalent`,
    that it is outside 1/2 ± epsilon; `different`, that it is within. `least`: below it the latter
    cannot be, with so few templates."""

    equivalent: float
    different: float
    least: float

    @classmethod
    def of(cls, scores: ArrayLike, clusters: ArrayLike, epsilon: float) -> Self:
        """Of `scores` (n) in [0, 1] of trials in clusters (n labels from 0).

        Of several p-values the largest stands: the exact binomial one, for which all trials are
        for themselves; Student's t of the clusters' shares, with the binomial variance at the end
        of the range times the design effect that was seen, for `different` at least 1; and for
        `different` the probability that all clusters go one way, were each won or lost as a whole:
        with an epsilon of 0.1 no difference is shown at a level of 0.05 by fewer than seven
        clusters. Both are 1 where a score is NaN.
        """
        values, labels = np.asarray(scores, dtype=np.float64), np.asarray(clusters)
        if np.isnan(values).any():
            return cls(1.0, 1.0, 1.0)
        total, n, count = float(values.sum()), len(values), int(labels.max()) + 1
        equivalent = equivalence_p(total, n, epsilon)
        different = non_equivalence_p(total, n, epsilon)
        least = (0.5 + epsilon) ** count + (0.5 - epsilon) ** count
        if count > 1:
            mean = total / n
            variance = variance_of_mean(values, labels)
            error = _error(mean, variance, epsilon)
            above, below = (
                _tail(mean - 0.5 + epsilon, error, count),
                _tail(0.5 + epsilon - mean, error, count),
            )
            far, error = abs(mean - 0.5), _error(mean, variance, epsilon, least=1 / n)
            beyond = _tail(far - epsilon, error, count) + _tail(far + epsilon, error, count)
            equivalent = max(equivalent, above, below)
            different = max(different, min(1.0, beyond), least)
        return cls(equivalent, different, least)


def _error(mean: float, variance: float, epsilon: float, least: float = 0.0) -> float:
    """Standard error of a share at 1/2 ± epsilon with the design effect of one of `mean` with
    `variance`. `least`: of variance as a share of mean (1 - mean), for where all are alike."""
    own = mean * (1 - mean)
    return sqrt(max(variance / own if own > 0 else 0.0, least) * (0.25 - epsilon**2))


def _tail(distance: float, error: float, clusters: int) -> float:
    """P(T >= distance / error), T of `clusters` - 1 degrees of freedom."""
    far = distance / error if error > 0 else inf * np.sign(distance)
    return float(stdtr(clusters - 1, -far)) if distance else 0.5
