"""Planted neurons found again, by method and strength; the same methods on shuffled labels.

    OMP_NUM_THREADS=1 python benchmarks/planted_neurons.py --out benchmarks/results/planted.json

Synthetic activations of 400 neurons, 4 of which are moved by +-`shift` with the label, then GELU;
20% positive (sparse_probing.md §1.9). Every method chooses 4 neurons on 1,000 tokens. `recovery`:
share of the planted ones among them. `accuracy`: balanced accuracy on 400 other tokens at the
largest shift; `accuracy_shuffled`: the same where labels were put in a random order, by method and,
without a name, in the mean over methods: it should be 0.5. Intervals: Wilson's over the planted
neurons of all seeds; of accuracies Student's t over the seeds.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score

from wirework.cli.progress import progress_to
from wirework.core import Measure, RunRecord
from wirework.core.files import write_json
from wirework.core.stats import share_interval
from wirework.probing import METHODS, SparseProbe, planted_neurons

TRAIN, TEST, NEURONS, PLANTED = 1000, 400, 400, 4
SHIFTS = (0.1, 0.15, 0.2, 0.3)
COMPARED = tuple(method for method in METHODS if method != "dense")

Values = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--methods", nargs="+", choices=COMPARED, default=list(COMPARED))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/planted.json"))
    wanted = parser.parse_args()
    values: Values = {}
    shown = progress_to(Console(stderr=True), quiet=False)
    with shown("fits", wanted.seeds * len(wanted.methods)) as progress:
        for seed in range(wanted.seeds):
            for method in wanted.methods:
                for name, value in _scores(method, seed).items():
                    values.setdefault(name, []).append(value)
                progress.advance()
    shuffled = [values[f"accuracy_shuffled:{method}"] for method in wanted.methods]
    values["accuracy_shuffled"] = np.mean(shuffled, axis=0).tolist()
    measures = {name: _measure(name, every) for name, every in values.items()}
    record = RunRecord.collect(seed=0, dtype="float64", threads=1)
    told = {name: measure.to_json() for name, measure in measures.items()}
    write_json(wanted.out, {"measures": told, "values": values, "provenance": record.to_json()})
    print(_table(measures, wanted.methods))


def _scores(method: str, seed: int) -> dict[str, float]:
    """Of one seed, by name as in the docstring."""
    found = {}
    for shift in SHIFTS:
        X, y, planted = planted_neurons(TRAIN + TEST, NEURONS, PLANTED, shift=shift, seed=seed)
        probe = _fitted(method, X, y, seed)
        found[f"recovery:{method}:{shift}"] = len(set(probe.neurons_) & set(planted)) / PLANTED
    found[f"accuracy:{method}"] = _accuracy(probe, X, y)
    y = np.random.default_rng(seed).permutation(y)
    found[f"accuracy_shuffled:{method}"] = _accuracy(_fitted(method, X, y, seed), X, y)
    return found


def _fitted(method: str, X: NDArray[np.float64], y: NDArray[np.bool_], seed: int) -> SparseProbe:
    with warnings.catch_warnings():
        # The linear machine does not end on noise; its ranking is read all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return SparseProbe(PLANTED, method, seed=seed, time_limit=20).fit(X[:TRAIN], y[:TRAIN])


def _accuracy(probe: SparseProbe, X: NDArray[np.float64], y: NDArray[np.bool_]) -> float:
    return float(balanced_accuracy_score(y[TRAIN:], probe.predict(X[TRAIN:])))


def _measure(name: str, values: Sequence[float]) -> Measure:
    n, mean = len(values), float(np.mean(values))
    if name.startswith("recovery"):
        hits = round(PLANTED * sum(values))
        return Measure(mean, *share_interval(hits, PLANTED * n), PLANTED * n, "higher")
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / n**0.5)
    return Measure(mean, mean - half, mean + half, n, "higher")


def _table(measures: Mapping[str, Measure], methods: Sequence[str]) -> str:
    """In Markdown, as docs/probing.md has it."""
    heads = ["method", *map(str, SHIFTS), "accuracy at the last", "labels shuffled"]
    rows = [heads, ["---"] * len(heads)]
    for method in methods:
        names = [f"recovery:{method}:{shift}" for shift in SHIFTS]
        names += [f"accuracy:{method}", f"accuracy_shuffled:{method}"]
        cells = [
            f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]" for m in map(measures.__getitem__, names)
        ]
        rows.append([method.replace("_", " "), *cells])
    pooled = measures["accuracy_shuffled"]
    rows.append(["all", *[""] * (len(SHIFTS) + 1), f"{pooled.value:.3f} [{pooled.low:.3f}, "
                 f"{pooled.high:.3f}]"])  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
