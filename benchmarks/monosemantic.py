"""Does weight sparsity make neurons more monosemantic? Best single neurons, sparse and dense.

    OMP_NUM_THREADS=1 python benchmarks/monosemantic.py --out benchmarks/results/monosemantic.json

For every Python feature with at least `--least` positives among the tokens read (sparse_probing.md
§9), and as many negatives: the best single MLP neuron of each model, chosen on training documents,
and its F1 on the others (`scan`), for `--seeds` ways to split the documents. All models read the
same tokens. Beside each: the F1 of saying yes everywhere, and of the best neuron for shuffled
labels. `over:F1`: features whose neuron reaches that F1. `over:F1:earned`: those for which
saying yes everywhere does not.

Intervals: 95%, whole test documents drawn with replacement, the draws of all splits together;
models are compared on the same draws. A larger model has more neurons to choose from: of the
default models, the small sparse and the dense one have the same shape.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.core import Measure, RunRecord
from wirework.core.files import write_json
from wirework.core.progress import StartProgress
from wirework.probing import (
    Activations,
    LabelledTokens,
    NeuronScore,
    ProbedModel,
    Scan,
    feature_set,
    scan,
)
from wirework.probing.feature import NO, YES
from wirework.probing.one_neuron import f1_of
from wirework.probing.split_tokens import Parts, outcomes
from wirework.training import load_checkpoint

MODELS = ("reference/v1-sparse", "reference/v1-sparse-small", "reference/v1-dense")
BARS = (0.9, 0.95)
# Positives and negatives that training and test documents must have of a feature, each.
LEAST_OF_A_PART = 50

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Best:
    """The best neurons of one model for the features `names`.

    F1 (splits, F) of theirs, of saying yes everywhere (`always`), of the control; `draws`,
    `always_draws` (draws of all splits, F); `scores`: feature -> one a split.
    """

    model: str
    names: tuple[str, ...]
    f1: Floats
    always: Floats
    shuffled: Floats
    draws: Floats
    always_draws: Floats
    scores: Mapping[str, Sequence[NeuronScore]]

    def only(self, names: Sequence[str]) -> Best:
        """Some of the features."""
        at = [self.names.index(name) for name in names]
        columns = {
            key: getattr(self, key)[:, at]
            for key in ("f1", "always", "shuffled", "draws", "always_draws")
        }
        scores = {name: self.scores[name] for name in names}
        return replace(self, names=tuple(names), scores=scores, **columns)


def main() -> None:
    wanted = _options()
    settle_process()
    console = Console(stderr=True)
    start = progress_to(console, quiet=False)
    torch.set_num_threads(1)
    probed = {name: ProbedModel.load(name) for name in wanted.models}
    first = next(iter(probed.values()))
    labelled = first.label(feature_set("python"), wanted.text, wanted.max_bytes, start)
    found = []
    rates: dict[str, float] = {}
    for name, model in probed.items():
        with tempfile.TemporaryDirectory(prefix="wirework-") as scratch:
            activations = model.collect(
                labelled, [wanted.site], Path(scratch) / "activations", tokens=wanted.tokens,
                seed=0, start=start,
            )  # fmt: skip
            rates = rates or _rates(labelled, activations.rows, wanted.least)
            console.print(f"{name}: {len(rates)} features")
            found.append(_best(name, activations, labelled.only(list(rates)), wanted.seeds, start))
    names = _of_all(found)
    found = [best.only(names) for best in found]
    measures = _measures(found)
    if wanted.out:
        write_json(wanted.out, _told(wanted, labelled, found, rates, measures))
    wide = Console(width=40 + 22 * len(found))
    wide.print(_feature_table(found))
    for name, measure in measures.items():
        interval = "" if measure.low is None else f"  [{measure.low:.3g}, {measure.high:.3g}]"
        print(f"{name:<66} {measure.value:.3g}{interval}")


def _rates(labelled: LabelledTokens, rows: NDArray[np.int64], least: int) -> dict[str, float]:
    """Features with at least so many positives and negatives among `rows`: their base rates."""
    labels = labelled.labels[rows]
    yes, no = (labels == YES).sum(0), (labels == NO).sum(0)
    return {
        feature.name: float(yes[i] / (yes[i] + no[i]))
        for i, feature in enumerate(labelled.features)
        if min(yes[i], no[i]) >= least
    }


def _best(
    name: str, activations: Activations, labelled: LabelledTokens, seeds: int, start: StartProgress
) -> Best:
    scans = [
        scan(
            activations, labelled, rows=activations.rows, least=LEAST_OF_A_PART,
            controls=["shuffled"], seed=seed, start=start,
        )
        for seed in range(seeds)
    ]  # fmt: skip
    names = tuple(f.name for f in labelled.features if all(f.name in s.best for s in scans))
    draws, always_draws, always = zip(
        *(_draws(activations, labelled, s, names, seed) for seed, s in enumerate(scans)),
        strict=True,
    )
    return Best(
        model=name,
        names=names,
        f1=np.array([[s.best[n].f1 for n in names] for s in scans]),
        always=np.stack(always),
        shuffled=np.array([[s.controls["shuffled"][n].f1 for n in names] for s in scans]),
        draws=np.concatenate(draws),
        always_draws=np.concatenate(always_draws),
        scores={n: [s.best[n] for s in scans] for n in names},
    )


def _draws(
    activations: Activations,
    labelled: LabelledTokens,
    found: Scan,
    names: Sequence[str],
    seed: int,
) -> tuple[Floats, Floats, Floats]:
    """F1 in every bootstrap draw of test documents, (draws, F), of the chosen neurons and of
    saying yes everywhere; the latter on the test documents as they are, (F)."""
    parts = Parts.of(labelled, activations.rows, 0.3, seed)
    values = {site: activations.matrix(site, parts.test) for site in activations.sites}
    drawn, always_drawn, always = [], [], []
    for name in names:
        best, labels = found.best[name], parts.labels[1][:, labelled.index(name)]
        said = best.weight * values[best.site][:, best.neuron] + best.bias > 0
        drawn.append(f1_of(parts.drawn @ parts.sums(outcomes(said, labels))))
        sums = parts.sums(outcomes(np.ones_like(said), labels))
        always_drawn.append(f1_of(parts.drawn @ sums))
        always.append(f1_of(sums.sum(0)))
    return np.stack(drawn, 1), np.stack(always_drawn, 1), np.stack(always)


def _of_all(found: Sequence[Best]) -> list[str]:
    """Features that were scored in every model, in the order of the first."""
    return [n for n in found[0].names if all(n in best.names for best in found)]


Statistic = Callable[[Floats, Floats], Floats]
"""F1 (..., F) and that of saying yes everywhere -> (...)."""


def _measures(found: Sequence[Best]) -> dict[str, Measure]:
    """Means and counts of every model, and those of the others less those of the last one."""
    statistics: dict[str, Statistic] = {"mean_f1": lambda f1, always: f1.mean(-1)}
    for bar in BARS:
        statistics[f"over:{bar}"] = partial(_reaching, bar)
        statistics[f"over:{bar}:earned"] = partial(_earning, bar)
    measures: dict[str, Measure] = {}
    last = found[-1]
    for name, of in statistics.items():
        for best in found:
            measures[f"{name}:{best.model}"] = _measure(
                of(best.f1, best.always), of(best.draws, best.always_draws)
            )
            shuffled = of(best.shuffled, best.always)
            measures[f"{name}:{best.model}:shuffled"] = Measure(float(shuffled.mean()))
        for best in found[:-1]:
            measures[f"{name}:{best.model} - {last.model}"] = _measure(
                of(best.f1, best.always) - of(last.f1, last.always),
                of(best.draws, best.always_draws) - of(last.draws, last.always_draws),
            )
    for best in found:
        loss = load_checkpoint(best.model).losses.get("val_loss")
        if loss is not None:
            measures[f"val_loss:{best.model}"] = Measure(float(loss), better="lower")
    return measures


def _reaching(bar: float, f1: Floats, always: Floats) -> Floats:
    return np.asarray((f1 >= bar).sum(-1), dtype=np.float64)


def _earning(bar: float, f1: Floats, always: Floats) -> Floats:
    return np.asarray(((f1 >= bar) & (always < bar)).sum(-1), dtype=np.float64)


def _measure(values: Floats, draws: Floats) -> Measure:
    """The mean of the splits with the interval of all their draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return Measure(float(values.mean()), float(low), float(high), len(values), "higher")


def _feature_table(found: Sequence[Best]) -> Table:
    table = Table("feature", box=None)
    for name in ("always yes", *(best.model.removeprefix("reference/") for best in found)):
        table.add_column(name, justify="right")
    top = np.max([best.f1.mean(0) for best in found], axis=0)
    for i in np.argsort(-top, kind="stable"):
        cells = []
        for best in found:
            low, high = np.quantile(best.draws[:, i], [0.025, 0.975])
            cells.append(f"{best.f1[:, i].mean():.3f} [{low:.2f}, {high:.2f}]")
        table.add_row(found[0].names[i], f"{found[0].always[:, i].mean():.2f}", *cells)
    return table


def _told(
    wanted: argparse.Namespace,
    labelled: LabelledTokens,
    found: Sequence[Best],
    rates: Mapping[str, float],
    measures: Mapping[str, Measure],
) -> dict[str, Any]:
    rows = []
    for i, name in enumerate(found[0].names):
        always = float(found[0].always[:, i].mean())
        row: dict[str, Any] = {"feature": name, "base_rate": rates[name], "always_f1": always}
        for best in found:
            low, high = np.quantile(best.draws[:, i], [0.025, 0.975])
            row[best.model] = {
                "f1": float(best.f1[:, i].mean()), "low": float(low), "high": float(high),
                "shuffled_f1": float(best.shuffled[:, i].mean()),
                "splits": [score.to_json() for score in best.scores[name]],
            }  # fmt: skip
        rows.append(row)
    config = {**vars(wanted), "out": str(wanted.out)}
    return {
        "measures": {name: measure.to_json() for name, measure in measures.items()},
        "features": rows,
        "documents": len(labelled.documents),
        "tokens": wanted.tokens,
        "provenance": RunRecord.collect(
            seed=0, dtype="float32", threads=1, config=config
        ).to_json(),
    }  # fmt: skip


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help="the last: baseline")
    parser.add_argument("--text", default="python-stdlib")
    parser.add_argument("--max-bytes", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=50_000)
    parser.add_argument("--site", default="mlp.neuron", help="a site, or how their names end")
    parser.add_argument("--least", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
