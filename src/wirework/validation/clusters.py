"""Intervals for few clusters of alike rows: prompts of one template.

Sources: Kish, Survey Sampling (1965), the design effect; Korn and Graubard, Survey Methodology 24
(1998) 193-201, few failures in clustered samples; Cameron and Miller, Journal of Human Resources 50
(2015) 317-372, few clusters.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from wirework.core.stats import wilson_interval

_TAIL = 0.975
"""All intervals are of 95%."""


def template_clusters(templates: ArrayLike) -> NDArray[np.int64]:
    """What is drawn whole, a label from 0 for each pair (n): its template, or the pair itself where
    there is one template only."""
    labels = np.unique(np.asarray(templates), return_inverse=True)[1].astype(np.int64).ravel()
    return labels if labels.max(initial=0) > 0 else np.arange(len(labels))


def variance_of_mean(rows: ArrayLike, clusters: ArrayLike) -> float:
    """Variance of the mean of `rows` (n) that come in clusters (n labels from 0, at least two), by
    linearisation, as clusters may differ in size."""
    data, labels = np.asarray(rows, dtype=np.float64), np.asarray(clusters)
    sums = np.bincount(labels, weights=data - data.mean())
    return float((sums**2).sum()) * len(sums) / (len(sums) - 1) / len(data) ** 2


def clustered_share_interval(rows: ArrayLike, clusters: ArrayLike) -> tuple[float, float]:
    """95% interval of the mean of `rows` (n, …), shares in [0, 1], for other rows and clusters.

    Wilson's with the effective sample size, that of values over their design effect (at least 1),
    and with the t quantile of one less than the number of clusters (n labels from 0). The design
    effect is that of rows or of clusters, whichever is larger; where no value differs it cannot be
    estimated, and a row counts as one value. (0, 1) of one cluster.
    """
    data, labels = np.asarray(rows, dtype=np.float64), np.asarray(clusters)
    count = int(labels.max()) + 1
    if count < 2:
        return 0.0, 1.0
    share, each = float(data.mean()), data.reshape(len(data), -1).mean(axis=1)
    variance = max(variance_of_mean(each, by) for by in (labels, np.arange(len(data))))
    effective = float(len(data))
    if variance > 0:
        effective = min(float(data.size), share * (1 - share) / variance)
    return wilson_interval(share, effective, float(stdtrit(count - 1, _TAIL)))


def widened(value: float, ends: tuple[float, float], clusters: int) -> tuple[float, float]:
    """`ends` of a 95% percentile bootstrap interval over few clusters, moved away from `value`.

    A bootstrap takes the spread of the clusters that there are for that of all, which is too small
    by (n - 1) / n in variance, and is normal where it should be Student's t. One cluster shows no
    spread: unchanged.
    """
    if clusters < 2:
        return ends
    ratio = float(stdtrit(clusters - 1, _TAIL)) / NormalDist().inv_cdf(_TAIL)
    ratio *= math.sqrt(clusters / (clusters - 1))
    low, high = (value + ratio * (end - value) for end in ends)
    return min(ends[0], low), max(ends[1], high)
