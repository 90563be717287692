"""How much of circuits do features explain? Labels of the nodes of many circuits of one model.

    python benchmarks/objectives.py --folder runs/objectives --only default
    python benchmarks/circuit_labels.py runs/objectives/default-*.circuit --out labels.json

Every node gets the feature, or the pair, that it tells best (`label_nodes`), on the same text.
`explained`: share of nodes whose label beats its shuffled control clearly; `over:0.9`: those of
them with a held-out F1 of 0.9 or more; `over:0.9:shuffled`, `over:0.9:always`: nodes of which the
same search on shuffled activations, or saying yes everywhere, reaches 0.9. `effect`: median share
of the effect on the task that the label explains, of the nodes where that can be measured, and
`effect:shuffled` with the label's marks in a random order. Intervals: 95%, circuits drawn with
replacement. Labels go into the evidence files beside the circuits.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from wirework.circuit import Circuit
from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.core import Measure, Report, RunRecord
from wirework.core.progress import StartProgress
from wirework.core.stats import bootstrap_interval
from wirework.explain import Evidence, NodeLabel, evidence_path, label_nodes
from wirework.probing import LabelledTokens, ProbedModel, feature_set
from wirework.training import load_checkpoint

BAR = 0.9


def main() -> None:
    wanted = _options()
    settle_process()
    shown = progress_to(Console(stderr=True), quiet=False)
    model = ProbedModel.load(wanted.model)
    labelled = model.label(feature_set(wanted.features), wanted.text, wanted.max_bytes, shown)
    told: dict[str, list[list[NodeLabel]]] = {}
    for path in wanted.circuits:
        circuit = Circuit.load(path)
        labels = _labels(circuit, path, wanted.model, labelled, wanted.seed, shown)
        told.setdefault(str(circuit.task["name"]), []).append(labels)
        print(path, _line(_summary([labels])), flush=True)
    measures = _summary([labels for each in told.values() for labels in each])
    for task, each in told.items():
        measures |= {f"{name}:{task}": measure for name, measure in _summary(each).items()}
    threads = torch.get_num_threads()
    record = RunRecord.collect(seed=wanted.seed, dtype="float32", threads=threads)
    report = Report("circuit-labels", measures, provenance=record.to_json())
    for task, each in told.items():
        print(task, _line(_summary(each)))
    if wanted.out is not None:
        report.save(wanted.out)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("circuits", nargs="+", type=Path)
    parser.add_argument("--model", default="reference/v1-sparse-small")
    parser.add_argument("--features", default="python+characters")
    parser.add_argument("--text", default="python-stdlib")
    parser.add_argument("--max-bytes", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _labels(
    circuit: Circuit,
    path: Path,
    model: str,
    labelled: LabelledTokens,
    seed: int,
    shown: StartProgress,
) -> list[NodeLabel]:
    found = label_nodes(circuit, load_checkpoint(model), labelled, seed=seed, start=shown)
    kept = evidence_path(path)
    known = Evidence.load(kept) if kept.exists() else Evidence(circuit.model_hash, {})
    replace(known, labels=found).save(kept)
    return list(found.values())


def _summary(circuits: Sequence[Sequence[NodeLabel]]) -> dict[str, Measure]:
    def explained(label: NodeLabel) -> float:
        return float(label.explained)

    def over(label: NodeLabel) -> float:
        return float(label.explained and label.best is not None and label.best.f1 >= BAR)

    def shuffled(label: NodeLabel) -> float:
        return float(label.best_control is not None and label.best_control.f1 >= BAR)

    def always(label: NodeLabel) -> float:
        return float(label.best is not None and label.best.chance_f1 >= BAR)

    measured = [[label for label in c if label.share.value is not None] for c in circuits]
    rows: tuple[tuple[str, Callable[[NodeLabel], float]], ...] = (
        ("explained", explained),
        (f"over:{BAR}", over),
        (f"over:{BAR}:shuffled", shuffled),
        (f"over:{BAR}:always", always),
    )
    found = {name: _measure(value, circuits, np.mean) for name, value in rows}
    if any(measured):
        found["effect"] = _measure(lambda label: label.share.value or 0.0, measured, np.median)
        found["effect:shuffled"] = _measure(
            lambda label: label.share.control or 0.0, measured, np.median
        )
    return found


def _measure(
    value: Callable[[NodeLabel], float],
    circuits: Sequence[Sequence[NodeLabel]],
    statistic: Callable[[NDArray[np.float64]], Any],
) -> Measure:
    values = np.array([value(label) for labels in circuits for label in labels])
    own = [i for i, labels in enumerate(circuits) for _ in labels]

    def of(rows: NDArray[np.float64]) -> float:
        return float(statistic(rows))

    low, high = bootstrap_interval(values, of, clusters=own, seed=0)
    return Measure(of(values), low, high, len(values))


def _line(measures: dict[str, Measure]) -> str:
    return "; ".join(
        f"{name} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}] of {m.n}" for name, m in measures.items()
    )


if __name__ == "__main__":
    main()
