"""Hypothesis tests without assumptions about distributions: ranks, sign flips, binomial tails.

Every function returns a p-value, a plain number in (0, 1]: how likely data at least as extreme are
where the null hypothesis that it names holds.
"""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ENOUGH_CLUSTERS = 10
"""With fewer, flipping whole clusters could not reach small p-values: 2^-10 is the least."""


def rank_p(value: float, reference: ArrayLike) -> float:
    """Null: `value` and the numbers of `reference` (n) are drawn alike; small where it is larger.

    (1 + how many are at least as large) / (1 + n), exact for any n and any distribution. NaN, as
    the value or among the reference, is no evidence: it counts as at least as large.
    """
    others = np.asarray(reference, dtype=np.float64)
    return float((1 + (~(others < value)).sum()) / (1 + len(others)))


def clusters_of(templates: ArrayLike) -> NDArray[np.int64]:
    """What is flipped together, a label for each pair (n): its template where there are enough
    templates to speak of new ones; else the pair, and the test is about new fillings of the same
    templates."""
    labels = np.unique(np.asarray(templates), return_inverse=True)[1].astype(np.int64).ravel()
    return labels if labels.max(initial=-1) + 1 >= ENOUGH_CLUSTERS else np.arange(len(labels))


def sign_flip_p(rows: ArrayLike, clusters: ArrayLike, *, draws: int, seed: int) -> Floats:
    """Null: the rows of each cluster (n, tests) together are as likely with the other sign.

    Small where the mean of a column is larger than that; one p-value for each column, (tests).
    Signs of whole clusters (n labels from 0) are drawn `draws` times, the same for every column.
    1 for a column with NaN.
    """
    sums = _cluster_sums(np.asarray(rows, dtype=np.float64), np.asarray(clusters))
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(sums)))
    # Sums in another order differ by rounding; that must not make a tie a win.
    seen = sums.sum(axis=0) - 1e-9 * np.abs(sums).sum(axis=0)
    return np.asarray((1 + (~(signs @ sums < seen)).sum(axis=0)) / (1 + draws))


def _cluster_sums(rows: Floats, clusters: NDArray[np.integer]) -> Floats:
    assert rows.ndim == 2 and len(rows) == len(clusters), "a cluster for each row"
    sums = np.zeros((int(clusters.max()) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    return sums


def more_than_padding_p(
    costs: ArrayLike,
    padding: ArrayLike,
    clusters: ArrayLike,
    *,
    least: float,
    draws: int,
    seed: int,
) -> Floats:
    """Null: a part costs no more than padding does, by at most `least`; one p-value a part.

    `costs` (parts, n), `padding` (m, n): what the removal of each costs in each of n pairs. Both
    must speak against it, so that of two p-values the larger stands: the rank of a part's mean
    cost among those of the padding, which holds the prompts fixed; and sign flips of what it costs
    more than the padding's mean in each cluster of pairs, which holds the parts fixed.
    """
    own, usual = np.asarray(costs, dtype=np.float64), np.asarray(padding, dtype=np.float64)
    by_rank = [rank_p(mean - least, usual.mean(axis=1)) for mean in own.mean(axis=1)]
    more = own - usual.mean(axis=0) if len(usual) else own
    return np.maximum(by_rank, sign_flip_p(more.T - least, clusters, draws=draws, seed=seed))


def non_equivalence_p(wins: float, n: int, epsilon: float) -> float:
    """Null: either of two wins a trial with a probability within 1/2 ± `epsilon`.

    Small where the share of wins shows that one is above the other too often. Of the statistic
    |wins - n/2|, exact at the end of the range, where it is largest. This is the published
    non-equivalence test with the share of trials won, not a mean difference in its place
    (circuit_tools.md §1.12, T3). Ties are half a win, which only makes both tails thinner.
    """
    far = abs(wins - n / 2)
    above = _binomial_at_least(n / 2 + far, n, 0.5 + epsilon)
    below = _binomial_at_least(n / 2 + far, n, 0.5 - epsilon)
    return min(1.0, above + below) if far > 0 else 1.0


def equivalence_p(wins: float, n: int, epsilon: float) -> float:
    """Null: one of two wins a trial with a probability outside 1/2 ± `epsilon`.

    Small where the share of wins shows that it is inside: two one-sided exact tests, of which the
    worse counts. Ties are half a win.
    """
    return max(
        _binomial_at_least(wins, n, 0.5 - epsilon), _binomial_at_least(n - wins, n, 0.5 - epsilon)
    )


def _binomial_at_least(hits: float, n: int, share: float) -> float:
    """P(X >= hits) of X ~ Binomial(n, share); half hits are rounded down, which only widens."""
    first = max(0, int(np.floor(hits)))
    odds = log(share), log(1 - share)
    ways = [lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) for k in range(first, n + 1)]
    logs = [way + k * odds[0] + (n - k) * odds[1] for k, way in enumerate(ways, first)]
    return min(1.0, sum(exp(value) for value in logs))


def swap_p(
    values: ArrayLike, label: ArrayLike, clusters: ArrayLike, *, draws: int, seed: int
) -> tuple[float, float]:
    """Null: the two members of each pair are alike in `values` (2N) but for which is called which.

    Small where values depend on `label` (2N of +1 and -1, opposite in rows i and i + N) in any way,
    not only in the mean: the statistic is the distance covariance. Labels of whole clusters (N)
    are swapped `draws` times. Returns the p-value and the distance correlation in [0, 1]; 1 and
    NaN where a value is NaN.
    """
    x, side = np.asarray(values, dtype=np.float64), np.asarray(label, dtype=np.float64)
    groups = np.asarray(clusters)
    assert (side[: len(groups)] == -side[len(groups) :]).all(), "the sides of a pair are opposite"
    if np.isnan(x).any():
        return 1.0, float("nan")
    distance = np.abs(x[:, np.newaxis] - x)
    mean = distance.mean(axis=0)
    centred = distance - mean - mean[:, np.newaxis] + mean.mean()
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, groups.max() + 1))
    swapped = np.tile(signs[:, groups], 2) * side
    # |a - b| of labels ±1 is 1 - ab, and its doubly centred form -ab, as both are as frequent.
    seen = -float(side @ centred @ side)
    drawn = -((swapped @ centred) * swapped).sum(axis=1)
    slack = 1e-9 * float(np.abs(centred).sum())
    p = float((1 + (drawn >= seen - slack).sum()) / (1 + draws))
    spread = float((centred**2).sum()) ** 0.5 * len(x)
    return p, float(np.sqrt(max(0.0, seen) / spread)) if spread > 0 else 0.0
