"""Intervals and means used by every report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray


def share_interval(hits: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval for a share `hits / n`; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    return wilson_interval(hits / n, n, NormalDist().inv_cdf(0.5 + level / 2))


def wilson_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Of a share of `n` > 0 observations, which need not be a whole number of them."""
    square = quantile**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    # The ends touch 0 and 1 exactly where all or none hit; rounding must not move them.
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return low, high


def bootstrap_interval(
    rows: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], float] | None = None,
    *,
    clusters: Sequence[int] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic of `rows` (n, …), the mean by default.

    With `clusters` (n labels) whole clusters are drawn, which is right where rows of one
    cluster (prompts of one template) are alike.
    """
    data = np.asarray(rows, dtype=np.float64)
    compute = statistic or (lambda sample: float(sample.mean()))
    labels = np.arange(len(data)) if clusters is None else np.asarray(clusters)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    random = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        chosen = random.integers(len(groups), size=len(groups))
        values[draw] = compute(data[np.concatenate([groups[i] for i in chosen])])
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def geometric_mean(values: ArrayLike) -> float:
    """exp(mean(log(values))) of positive values; for edges pass `edges + 1`."""
    data = np.asarray(values, dtype=np.float64)
    return float(np.exp(np.log(data).mean()))
