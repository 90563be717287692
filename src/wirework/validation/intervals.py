"""Measures over pairs of prompts, with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, TaskScore
from wirework.core import Measure
from wirework.core.report import Better
from wirework.core.stats import bootstrap_interval, share_interval

Rows = NDArray[np.float64]


def per_pair(rows: Rows) -> Rows:
    """Mean over the two sides of every pair: (2N, …) -> (N, …)."""
    mean: Rows = rows.reshape(2, -1, *rows.shape[1:]).mean(axis=0)
    return mean


def over_pairs(
    prompts: PromptTensors,
    rows: Rows,
    statistic: Callable[[Rows], float] | None = None,
    *,
    seed: int,
    better: Better,
    note: str,
    draws: int = 1000,
) -> Measure:
    """A statistic of one row a pair (N, …), the mean by default.

    Interval: bootstrap over pairs, whole templates at a time where there are several.
    """
    labels = [int(label) for label in prompts.template[: len(prompts)]]
    clusters = labels if len(set(labels)) > 1 else None
    low, high = bootstrap_interval(rows, statistic, clusters=clusters, draws=draws, seed=seed)
    value = statistic(rows) if statistic is not None else float(rows.mean())
    return Measure(value, low, high, len(rows), better=better, note=note)


def loss_over_pairs(prompts: PromptTensors, score: TaskScore, *, seed: int, note: str) -> Measure:
    """Two-sided loss in nats."""
    return over_pairs(prompts, per_pair(score.losses), seed=seed, better="lower", note=note)


def share(hits: NDArray[np.bool_], note: str) -> Measure:
    """Share of prompts, the higher the better, with a Wilson interval."""
    count, n = int(hits.sum()), len(hits)
    low, high = share_interval(count, n)
    return Measure(count / n, low, high, n, better="higher", note=note)
