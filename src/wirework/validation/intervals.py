"""Measures over pairs of prompts, with their intervals.

Pairs of one template are alike, so that whole templates are what is drawn: an interval is for other
templates with other fillings. Of a single template it is for other fillings of that one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, TaskScore
from wirework.core import Measure
from wirework.core.report import Better
from wirework.core.stats import bootstrap_interval
from wirework.validation.clusters import clustered_share_interval, template_clusters, widened

Rows = NDArray[np.float64]

ANY = (-np.inf, np.inf)
POSITIVE = (0.0, np.inf)


def per_pair(rows: Rows) -> Rows:
    """Mean over the two sides of every pair: (2N, …) -> (N, …)."""
    mean: Rows = rows.reshape(2, -1, *rows.shape[1:]).mean(axis=0)
    return mean


def clusters_of_pairs(prompts: PromptTensors) -> NDArray[np.int64]:
    """See `template_clusters`; a label for each pair (N)."""
    return template_clusters(prompts.template[: len(prompts)].numpy())


def over_pairs(
    prompts: PromptTensors,
    rows: Rows,
    statistic: Callable[[Rows], float] | None = None,
    *,
    seed: int,
    better: Better,
    note: str,
    draws: int = 1000,
    within: tuple[float, float] = ANY,
) -> Measure:
    """A statistic of one row a pair (N, …), the mean by default; its values lie `within`.

    Interval: bootstrap over pairs, whole templates at a time where there are several, `widened`
    for there being so few of them.
    """
    clusters = clusters_of_pairs(prompts)
    ends = bootstrap_interval(rows, statistic, clusters=clusters.tolist(), draws=draws, seed=seed)
    value = statistic(rows) if statistic is not None else float(rows.mean())
    low, high = np.clip(widened(value, ends, int(clusters.max()) + 1), *within)
    return Measure(value, float(low), float(high), len(rows), better=better, note=note)


def loss_over_pairs(prompts: PromptTensors, score: TaskScore, *, seed: int, note: str) -> Measure:
    """Two-sided loss in nats."""
    return over_pairs(
        prompts, per_pair(score.losses), seed=seed, better="lower", note=note, within=POSITIVE
    )


def share(
    prompts: PromptTensors, hits: NDArray[np.bool_], note: str, better: Better = "higher"
) -> Measure:
    """Share of prompts (2N), with the interval of `interval_of_share`."""
    low, high = interval_of_share(prompts, hits.astype(np.float64))
    return Measure(float(hits.mean()), low, high, len(hits), better=better, note=note)


def interval_of_share(prompts: PromptTensors, rows: Rows) -> tuple[float, float]:
    """Of the mean of shares of prompts (2N) or of pairs (N); see `clustered_share_interval`."""
    pairs = len(prompts)
    by_pair = rows.reshape(len(rows) // pairs, pairs).T
    return clustered_share_interval(by_pair, clusters_of_pairs(prompts))
