"""Timing of rivals turn by turn in one run, and the ratios that come of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.core.report import Better
from wirework.core.stats import bootstrap_interval

Seconds = dict[str, list[float]]
"""Of every side, one entry a turn."""


@dataclass(frozen=True)
class Side:
    """What is timed, and what has to be put in order before every turn, untimed."""

    run: Callable[[], object]
    prepare: Callable[[], object] = tuple  # nothing


def take_turns(
    sides: Mapping[str, Side], *, turns: int, warm_up: int, label: str, start: StartProgress
) -> Seconds:
    """A B C, A B C, …: each side once a turn, so that a slow minute of the machine hits them all.

    `warm_up` turns come first and do not count.
    """
    seconds: Seconds = {name: [] for name in sides}
    with start(label, warm_up + turns) as progress:
        for turn in range(warm_up + turns):
            for name, side in sides.items():
                side.prepare()
                began = time.perf_counter()
                side.run()
                passed = time.perf_counter() - began
                if turn >= warm_up:
                    seconds[name].append(passed)
            progress.advance()
    return seconds


def ratio(
    above: list[float],
    below: list[float],
    *,
    better: Better,
    bar: float | None = None,
    note: str = "",
) -> Measure:
    """Median over the turns of above / below, with a bootstrap interval of that median."""
    ratios = np.asarray(above) / np.asarray(below)
    low, high = bootstrap_interval(ratios, _median, seed=0)
    return Measure(_median(ratios), low, high, len(ratios), better, bar, note)


def quickest(seconds: Seconds) -> str:
    """The side of the lowest median."""
    return min(seconds, key=lambda name: _median(np.asarray(seconds[name])))


def milliseconds(seconds: Seconds) -> dict[str, Any]:
    """For the details of a report: of every side the median, and every turn."""
    return {
        name: {
            "median": round(1e3 * _median(np.asarray(every)), 3),
            "turns": [round(1e3 * one, 3) for one in every],
        }
        for name, every in seconds.items()
    }


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))
