"""Optimal probes beside one L1 fit, and their objectives beside those of other methods."""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from wirework.bench.turns import ratio
from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.probing import best_subset, planted_neurons
from wirework.probing.adaptive import adaptive_path
from wirework.probing.greedy import greedy_swap
from wirework.probing.losses import Logistic, Loss, balanced_weights, make_loss
from wirework.probing.newton import fit_ridge
from wirework.probing.rankings import best, mean_difference

Floats = NDArray[np.float64]
Chosen = dict[str, NDArray[np.int64]]
"""The neurons that each of the other methods chooses."""

_T = TypeVar("_T")

_PLANTED, _SHIFT = 8, 0.35
_DATA: Mapping[str, Mapping[str, int]] = {"easy": {}, "hard": {"decoys": 40, "factors": 20}}
_WIDE = 256
"""Neurons that adaptive thresholding begins with, as published."""


@dataclass(frozen=True)
class Strength:
    """Shrinkage of optimal probes on neurons of standard deviation 0.1: `gamma(n)`; the gap at
    which the clock stops, and the bar of the time over that of the L1 fit."""

    gamma: Callable[[int], float]
    gap: float
    bar: float


STRENGTHS: Mapping[str, Strength] = MappingProxyType(
    {
        "": Strength(lambda n: 1 / n**0.5, 1e-3, 15.0),
        ":weak": Strength(lambda n: 1000 / n, 0.03, 80.0),
    }
)
"""The published shrinkage, and n gamma = 10 for z-scored neurons (sparse_probing.md §1.6, §8)."""


@dataclass(frozen=True)
class Race:
    """One proof beside one L1 fit; `strength` as in STRENGTHS. `worse_by`: how much higher than
    the optimal probe's the same objective is on another method's neurons, as a share."""

    data: str
    seed: int
    strength: str
    k: int
    seconds: float
    l1_seconds: float
    gap: float
    status: str
    nodes: int
    worse_by: dict[str, float]


def run_races(
    seeds: Sequence[int],
    sizes: Sequence[int],
    rows: int,
    columns: int,
    loss_name: str,
    start: StartProgress,
) -> list[Race]:
    """Every size and strength on easy and hard data of every seed."""
    races: list[Race] = []
    total = len(_DATA) * len(seeds) * len(STRENGTHS) * len(sizes)
    with start("optimal probes", total) as progress:
        for seed in seeds:
            for data, extra in _DATA.items():
                X, y, _ = planted_neurons(rows, columns, _PLANTED, shift=_SHIFT, seed=seed, **extra)
                X /= 10 * X.std(axis=0)
                loss = make_loss(loss_name, np.where(y, 1.0, -1.0), balanced_weights(y))
                for k in sizes:
                    others = _others(X, y, loss, k)
                    for strength in STRENGTHS:
                        races.append(_race(X, y, loss, k, others, (data, seed, strength)))
                        progress.advance(gap=races[-1].gap)
    return races


def race_measures(
    races: Sequence[Race], bar: Callable[[float], float | None]
) -> dict[str, Measure]:
    """`optimal_gap`, `optimal_time_ratio`, `others_worse_by`, each for every k and strength."""
    measures = {}
    for strength, k in dict.fromkeys((race.strength, race.k) for race in races):
        asked = STRENGTHS[strength]
        same = [race for race in races if (race.strength, race.k) == (strength, k)]
        measures[f"optimal_gap:{k}{strength}"] = Measure(
            max(race.gap for race in same), n=len(same), better="lower", bar=bar(asked.gap),
            note="Largest gap between a probe and its lower bound",
        )  # fmt: skip
        largest = max(race.seconds / race.l1_seconds for race in same)
        measures[f"optimal_time_ratio:{k}{strength}"] = ratio(
            [race.seconds for race in same], [race.l1_seconds for race in same],
            better="lower", bar=bar(asked.bar),
            note=f"Time until the gap is {asked.gap:g} / one L1 fit; largest {largest:.3g}",
        )  # fmt: skip
        measures[f"others_worse_by:{k}{strength}"] = Measure(
            min(min(race.worse_by.values()) for race in same), n=len(same), better="higher",
            bar=bar(-1e-9),
            note=f"How much worse the best of {', '.join(same[0].worse_by)} is at least",
        )  # fmt: skip
    return measures


def _race(
    X: Floats, y: NDArray[np.bool_], loss: Loss, k: int, others: Chosen, place: tuple[str, int, str]
) -> Race:
    data, seed, strength = place
    asked = STRENGTHS[strength]
    gamma = asked.gamma(len(y))
    l1 = LogisticRegression(C=0.1, l1_ratio=1, solver="liblinear", class_weight="balanced")
    l1_seconds = min(timed(lambda: l1.fit(10 * X, y))[1] for _ in range(3))
    # The clock of the search is the wall's: generous, so that a busy machine does not end it.
    limit = max(4 * asked.bar * l1_seconds, 10.0)
    found, seconds = timed(lambda: best_subset(X, loss, k, gamma, gap=asked.gap, time_limit=limit))
    told = found.certificate
    greedy = greedy_swap(X, loss.y, loss.c, k, gamma)
    worse_by = {
        name: fit_ridge(X[:, chosen], loss, gamma).value / told.value - 1
        for name, chosen in {**others, "greedy": greedy}.items()
    }
    return Race(
        data, seed, strength, k, seconds, l1_seconds, told.gap, told.status, told.nodes, worse_by
    )


def _others(X: Floats, y: NDArray[np.bool_], loss: Loss, k: int) -> Chosen:
    """Those that know no shrinkage; abess where it is installed."""
    apart = mean_difference(X, y)
    wide = best(apart, _WIDE)
    path = adaptive_path(X[:, wide], Logistic(loss.y, loss.c), apart[wide], k)
    found = {"mean_difference": best(apart, k), "adaptive": wide[path[k]]}
    if importlib.util.find_spec("abess"):
        found["abess"] = _abess(X, y, loss.c, k)
    return found


def _abess(X: Floats, y: NDArray[np.bool_], c: Floats, k: int) -> NDArray[np.int64]:
    abess: Any = importlib.import_module("abess")
    model = abess.LogisticRegression(support_size=[k])
    model.fit(X, y.astype(int), sample_weight=c)
    return np.flatnonzero(model.coef_)


def timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """What the work gives, and the processor seconds that it took."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began
