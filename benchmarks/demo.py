"""The demo's figures over seeds: train `tiny`, find the quote circuit, validate it.

    python benchmarks/demo.py --seeds 3 --out benchmarks/results/demo.json

For each training seed: one model, one circuit a search seed. Prints medians with the range over
seeds; keeps every figure in the file. Takes about ten minutes a training seed on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from wirework.cli.session import settle_process
from wirework.core import RunRecord
from wirework.core.files import write_json
from wirework.discovery import discover
from wirework.tasks import load_task
from wirework.training import load_checkpoint, preset, train
from wirework.validation import validate

TASK = "python/single_double_quote"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="training seeds")
    parser.add_argument("--searches", type=int, default=3, help="search seeds for each model")
    parser.add_argument("--target-loss", type=float, default=0.15)
    parser.add_argument("--folder", type=Path, default=None, help="keep the runs here")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/demo.json"))
    wanted = parser.parse_args()
    settle_process()
    with tempfile.TemporaryDirectory() as scratch:
        folder = wanted.folder or Path(scratch)
        rows = [row for seed in range(wanted.seeds) for row in _one_model(folder, seed, wanted)]
    summary = {
        name: {"median": median(row[name] for row in rows),
               "low": min(row[name] for row in rows), "high": max(row[name] for row in rows)}
        for name in ("edges", "nodes", "task_loss", "task_accuracy", "faithfulness", "val_loss")
    }  # fmt: skip
    record = RunRecord.collect(seed=None, dtype="auto", threads=2).to_json()
    write_json(wanted.out, {"summary": summary, "rows": rows, "provenance": record})
    print(json.dumps(summary, indent=1))


def _one_model(folder: Path, seed: int, wanted: argparse.Namespace) -> list[dict[str, Any]]:
    run = folder / f"seed-{seed}"
    train(preset("tiny").replace(seed=seed), run, resume=True)
    checkpoint = load_checkpoint(run)
    rows = []
    for search in range(wanted.searches):
        circuit = discover(checkpoint, load_task(TASK), target_loss=wanted.target_loss, seed=search)
        report = validate(circuit, checkpoint, groups=("quick", "controls"), seed=0)
        row = {
            "training_seed": seed, "search_seed": search,
            "val_loss": checkpoint.losses["val_loss"],
            "embedding_edges": circuit.embedding_edges, "edges": circuit.n_edges,
            "unembedding_edges": circuit.unembedding_edges, "nodes": circuit.n_nodes,
            "shadow_weights": circuit.shadow_weights, "verdict": report.verdict, **circuit.losses,
            "faithfulness": report["faithfulness"].value,
            "sufficiency": report["sufficiency"].value,
            "necessity": report["necessity"].value, "exactness": report["exactness"].value,
        }  # fmt: skip
        print(json.dumps(row))
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
