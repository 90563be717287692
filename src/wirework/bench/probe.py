"""A scan beside scikit-learn's fits one by one, and optimal probes beside one L1 fit."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from wirework.bench.machine import describe_machine, notes_on
from wirework.bench.memory import process_status
from wirework.bench.probe_data import made_activations
from wirework.bench.probe_race import race_measures, run_races, timed
from wirework.bench.turns import quickest, ratio
from wirework.core import Config, Measure, Report, RunRecord
from wirework.core.progress import StartProgress, silent
from wirework.core.stats import share_interval
from wirework.model.threads import threads
from wirework.probing import InMemory, LabelledTokens, Scan, best_subset, scan
from wirework.probing.feature import YES
from wirework.probing.losses import Logistic, balanced_weights
from wirework.probing.one_neuron import confusion, f1_of, fit_one_neuron_probes
from wirework.probing.rankings import best, mean_difference
from wirework.probing.split_tokens import scale_of

Floats = NDArray[np.float64]

SOLVERS = ("lbfgs", "newton-cholesky")
"""Of scikit-learn; the quicker one of them is what a scan is measured against."""

_SITE = "made"


class ProbeBench(Config):
    """How much is measured: `seeds` data sets of every kind, from `seed` on.

    A scan reads `tokens` x `neurons` for `features` and refits the `refits` best; `fits` pairs of
    a feature and a neuron are fitted one by one for every solver. The scan's choice is compared
    with fits of the `near` neurons of the largest mean difference and of `far` others. Optimal
    probes have `sizes` neurons of `columns`, fitted on `rows` with `loss`.
    """

    seed: int = 0
    seeds: int = Field(3, ge=1)
    tokens: int = Field(10_000, ge=1000)
    neurons: int = Field(10_000, ge=30)
    features: int = Field(100, ge=1)
    refits: int = Field(30, ge=1)
    fits: int = Field(40, ge=1)
    near: int = Field(300, ge=1)
    far: int = Field(200, ge=0)
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    rows: int = Field(1400, ge=20)
    columns: int = Field(1024, ge=50)
    loss: Literal["logistic", "squared_hinge", "squared"] = "logistic"

    def bar(self, value: float) -> float | None:
        """Bars are meant for the measurement as it is, but for `seed` and `seeds`."""
        return value if ProbeBench(seed=self.seed, seeds=self.seeds) == self else None


def bench_probe(config: ProbeBench | None = None, *, start: StartProgress = silent) -> Report:
    """`scan_speedup`: one-neuron logistic fits of scikit-learn for every feature and neuron, timed
    on a sample in the same run and scaled ÷ `scan` without its controls: scaling, ranking, refits,
    test report with intervals. Only `fit` of the quicker solver counts for scikit-learn.

    `scan_top1_agreement`: share of the features of which no neuron of a sample has a higher F1 on
    training text after its own one-neuron fit than the neuron that the scan chose of all by the
    same score. `scan_memory`: GB of 1e9 bytes that a process takes at most, its 400 MB of
    activations and all imports within. `optimal_gap:k`, `optimal_time_ratio:k`: the largest gap of
    optimal probes; time until the gap is 0.1% (`:weak`: 3%) ÷ one balanced L1 logistic fit
    (liblinear, C = 0.1) on the same data. `others_worse_by:k`: how much higher the objective is on
    the neurons of the best other method, at least: mean difference, adaptive thresholding, greedy
    and, where it is installed, abess. Half of these data are hard: latent factors, decoys.

    One thread everywhere. Times are processor seconds, so that other work on the machine does not
    count. Intervals: over data sets; of the agreement: Wilson's.
    """
    config = config or ProbeBench()
    machine = describe_machine()
    seeds = range(config.seed, config.seed + config.seeds)
    with threads(1), threadpool_limits(1):
        _warm_up()
        with start("scans", config.seeds) as progress:
            scans = []
            for seed in seeds:
                scans.append(_scan_beside_fits(config, seed))
                progress.advance()
        memory = _scan_memory(config)
        races = run_races(seeds, config.sizes, config.rows, config.columns, config.loss, start)
    measures = {**_scan_measures(config, scans, memory), **race_measures(races, config.bar)}
    record = RunRecord.collect(
        seed=config.seed, dtype="float32", threads=1, config=config.plain(),
        config_hash=config.hash(),
    )  # fmt: skip
    provenance = {
        **record.to_json(),
        "notes": notes_on(machine),
        "details": {
            "machine": {**machine, "threads": 1},
            "scans": [asdict(one) for one in scans],
            "optimal": [asdict(one) for one in races],
        },
    }
    asked = any(measure.bar is not None for measure in measures.values())
    passed = all(measure.passed is not False for measure in measures.values())
    verdict = ("bars met" if passed else "bars missed") if asked else None
    return Report("bench-probe", measures, verdict, provenance)


# -- scans


@dataclass(frozen=True)
class _ScanRun:
    """Seconds of a scan, and of one fit by every solver in the mean; `agreed` of `features`.

    `f1_apart`: largest difference of training F1 between our fits and scikit-learn's.
    """

    seed: int
    scan_seconds: float
    wall_seconds: float
    fit_seconds: dict[str, float]
    features: int
    agreed: int
    f1_apart: float
    chosen_f1: list[float]


def _scan_beside_fits(config: ProbeBench, seed: int) -> _ScanRun:
    X, labelled = made_activations(config.tokens, config.neurons, config.features, seed)
    wall = time.perf_counter()
    found, seconds = timed(lambda: _scan(config, X, labelled, seed))
    wall = time.perf_counter() - wall
    train, _ = labelled.split(seed)
    rows = X[train]
    rows /= scale_of(rows).astype(np.float32)
    y = labelled.labels[train] == YES
    fits, apart = _one_by_one(config, rows, y, seed)
    agreed = sum(
        _none_is_better(config, rows, y[:, labelled.index(name)], score.train_f1, seed)
        for name, score in found.best.items()
    )
    chosen = [round(score.f1, 4) for score in found.best.values()]
    return _ScanRun(seed, seconds, wall, fits, len(found.best), agreed, apart, chosen)


def _scan(config: ProbeBench, X: NDArray[np.float32], labelled: LabelledTokens, seed: int) -> Scan:
    return scan(
        InMemory({_SITE: X}), labelled, refits=config.refits, least=1, controls=(), seed=seed
    )


def _one_by_one(
    config: ProbeBench, rows: NDArray[np.float32], y: NDArray[np.bool_], seed: int
) -> tuple[dict[str, float], float]:
    """Seconds of one fit in the mean over random pairs, by solver; how far our F1 is from it."""
    random = np.random.default_rng([seed, 1])
    seconds: dict[str, list[float]] = {solver: [] for solver in SOLVERS}
    apart = 0.0
    for _ in range(config.fits):
        feature, neuron = random.integers(y.shape[1]), random.integers(rows.shape[1])
        x, labels = np.ascontiguousarray(rows[:, [neuron]]), y[:, feature]
        for solver, own in seconds.items():
            model = LogisticRegression(class_weight="balanced", solver=solver)
            own.append(timed(partial(model.fit, x, labels))[1])
        theirs = f1_of(confusion(model.predict(x), labels))
        apart = max(apart, abs(float(theirs) - float(_train_f1(x.T, labels)[0])))
    return {solver: float(np.mean(own)) for solver, own in seconds.items()}, apart


def _none_is_better(
    config: ProbeBench, rows: NDArray[np.float32], y: NDArray[np.bool_], f1: float, seed: int
) -> bool:
    """Whether no neuron of the sample has a higher training F1 than the one that was chosen."""
    order = best(mean_difference(rows, y), rows.shape[1])
    near, rest = order[: config.near], order[config.near :]
    far = np.random.default_rng([seed, 2]).permutation(rest)[: config.far]
    sample = np.concatenate([near, far])
    return bool(_train_f1(np.ascontiguousarray(rows[:, sample].T), y).max() <= f1)


def _train_f1(x: NDArray[np.float32], y: NDArray[np.bool_]) -> Floats:
    """Of a fit on every row of x (m, n) alone."""
    fitted = fit_one_neuron_probes(np.ascontiguousarray(x), y)
    return f1_of(confusion(fitted[:, :1] * x + fitted[:, 1:] > 0, y))


def _scan_memory(config: ProbeBench) -> int | None:
    """Bytes of the largest size of a process that makes the data and scans them."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_size_after_scan, config.plain()).result()


def _size_after_scan(plain: dict[str, Any]) -> int | None:
    config = ProbeBench.parse(plain)
    with threads(1), threadpool_limits(1):
        X, labelled = made_activations(config.tokens, config.neurons, config.features, config.seed)
        _scan(config, X, labelled, config.seed)
    return process_status("VmHWM")


def _scan_measures(
    config: ProbeBench, scans: list[_ScanRun], memory: int | None
) -> dict[str, Measure]:
    by_solver = {solver: [run.fit_seconds[solver] for run in scans] for solver in SOLVERS}
    rival = quickest(by_solver)
    agreed, features = sum(run.agreed for run in scans), sum(run.features for run in scans)
    low, high = share_interval(agreed, features)
    measures = {
        "scan_speedup": ratio(
            [run.features * config.neurons * run.fit_seconds[rival] for run in scans],
            [run.scan_seconds for run in scans],
            better="higher", bar=config.bar(50.0),
            note=f"Fits of scikit-learn ({rival}) one by one, scaled from a sample / our scan",
        ),
        "scan_top1_agreement": Measure(
            agreed / features, low, high, features, "higher", config.bar(0.95),
            "Share of features whose neuron by the scan no sampled neuron beats in training F1",
        ),
    }  # fmt: skip
    if memory is not None:
        measures["scan_memory"] = Measure(
            memory / 1e9, n=1, better="lower", bar=config.bar(2.0),
            note="GB that a process takes at most, with data and imports",
        )  # fmt: skip
    return measures


def _warm_up() -> None:
    """Compile everything, or read it from the cache, before anything is timed."""
    X, labelled = made_activations(1000, 40, 1, 0)
    scan(InMemory({_SITE: X}), labelled, least=1, controls=())
    y = labelled.labels[:, 0] == YES
    LogisticRegression(class_weight="balanced").fit(X[:, :1], y)
    loss = Logistic(np.where(y, 1.0, -1.0), balanced_weights(y))
    best_subset(X.astype(np.float64), loss, 1, 1.0)
