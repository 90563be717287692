"""The critique of pruned circuits on our own models (weight_sparse_paper.md §10.2).

    python benchmarks/critique.py --out benchmarks/results/critique.json

How many nodes and edges the search of the published objective needs for a task and for nonsense
answers to its prompts, both at the same loss; how sizes change with zero in place of mean ablation
and with the scales of all norms frozen; and which verdicts `validate` gives to the circuits found
under mean ablation. Three search seeds or more, every seed with nonsense of its own. Prints
geometric means of sizes + 1, with intervals over the seeds that reached the target, as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from circuit_measures import geometric, share, sizes, verdict_shares
from rich.console import Console

from wirework.ablation import AblationConfig
from wirework.bench.trust import VERDICT_GROUPS
from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.core import Measure, RunRecord
from wirework.core.files import write_json
from wirework.core.stats import bootstrap_interval
from wirework.discovery import DiscoveryConfig, Search, search
from wirework.tasks import load_task
from wirework.training import load_checkpoint
from wirework.validation import ValidationConfig, validate
from wirework.validation.null_tasks import NULL_KINDS, null_task

MEAN = "mean"
ABLATIONS = {
    MEAN: AblationConfig(),
    "zero": AblationConfig(kind="zero"),
    "frozen-norms": AblationConfig(norms="frozen"),
    "zero+frozen-norms": AblationConfig(kind="zero", norms="frozen"),
}
PUBLISHED = DiscoveryConfig(target_loss=0.05, faithfulness=0, every_template=False, attention=1)
SIZES = ("nodes", "edges")

Row = dict[str, Any]


def main() -> None:
    wanted = _options()
    settle_process()
    shown = progress_to(Console(stderr=True), quiet=False)
    checkpoint = load_checkpoint(wanted.model)
    task = load_task(wanted.task)
    config = PUBLISHED.replace(target_loss=wanted.target_loss).override(wanted.set)
    asked = ValidationConfig().override(wanted.set_validation)
    rows: list[Row] = []
    for seed in range(wanted.seeds):
        nonsense = null_task(task, wanted.null, checkpoint.tokenizer, seed=seed)
        for kind, questions in (("task", task), (wanted.null, nonsense)):
            for ablation in wanted.ablations:
                found = search(
                    checkpoint, questions, seed=seed, unlearned_ok=True, start=shown,
                    config=config.replace(ablation=ABLATIONS[ablation].plain()),
                )  # fmt: skip
                row = _row(found, kind, ablation, seed)
                if ablation == MEAN and wanted.verdicts:
                    report = validate(
                        found.circuit, checkpoint, questions, groups=wanted.groups, config=asked,
                        seed=seed, start=shown,
                    )  # fmt: skip
                    row |= {"verdict": report.verdict, "report": report.to_json()}
                rows.append(row)
    result = {
        "measures": {name: m.to_json() for name, m in _summary(rows, wanted.null).items()},
        "rows": rows,
        "model": wanted.model,
        "task": wanted.task,
        "config": config.plain(),
        "provenance": RunRecord.collect(
            seed=None, dtype="auto", threads=torch.get_num_threads()
        ).to_json(),
    }
    write_json(wanted.out, result)
    # The reports are in the file; on the screen their verdicts are enough.
    told = [{name: value for name, value in row.items() if name != "report"} for row in rows]
    print(json.dumps({**result, "rows": told}, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="reference/v1-sparse")
    parser.add_argument("--task", default="python/single_double_quote")
    parser.add_argument("--seeds", type=int, default=3, help="search seeds")
    parser.add_argument("--target-loss", type=float, default=0.05)
    parser.add_argument("--null", choices=NULL_KINDS, default="nonsense")
    parser.add_argument("--ablations", nargs="+", choices=ABLATIONS, default=list(ABLATIONS)[:3])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="of the search")  # fmt: skip
    parser.add_argument("--set-validation", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--groups", nargs="+", default=list(VERDICT_GROUPS),
                        help="of tests; by default those with bars")  # fmt: skip
    parser.add_argument("--no-verdicts", dest="verdicts", action="store_false")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/critique.json"))
    return parser.parse_args()


def _row(found: Search, kind: str, ablation: str, seed: int) -> Row:
    losses = found.circuit.losses
    return {
        "answers": kind,
        "ablation": ablation,
        "seed": seed,
        "reached": found.reached,
        **sizes(found.circuit),
        "task_loss": losses["task_loss"],
        "task_accuracy": losses["task_accuracy"],
        "model_loss": losses["model_loss"],
        "verdict": None,
    }


def _summary(rows: Sequence[Row], null: str) -> dict[str, Measure]:
    """Sizes by answers and ablation; losses on `report`, reached or not; ratios of nonsense to the
    task, of zero and of frozen norms to mean ablation, over the seeds in which both reached the
    target; verdicts."""
    reached = {(r["answers"], r["ablation"], r["seed"]): r for r in rows if r["reached"]}
    kinds = list(dict.fromkeys((row["answers"], row["ablation"]) for row in rows))
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    found: dict[str, Measure] = {}
    for kind in kinds:
        mine = [reached[*kind, seed] for seed in seeds if (*kind, seed) in reached]
        name = ":".join(kind)
        found[f"reached:{name}"] = share(len(mine), len(seeds))
        for size in SIZES:
            found |= geometric(f"{size}:{name}", [row[size] + 1 for row in mine])
        losses = [r["task_loss"] for r in rows if (r["answers"], r["ablation"]) == kind]
        low, high = bootstrap_interval(losses, seed=0)
        found[f"task_loss:{name}"] = Measure(float(np.mean(losses)), low, high, len(losses))
    ratios = [((null, a), ("task", a), f"{null}/task:{a}") for _, a in kinds]
    ratios += [((k, a), (k, MEAN), f"{a}/{MEAN}:{k}") for k, a in kinds if a != MEAN]
    for above, below, name in ratios:
        both = [s for s in seeds if (*above, s) in reached and (*below, s) in reached]
        for size in SIZES:
            values = [(reached[*above, s][size] + 1) / (reached[*below, s][size] + 1) for s in both]
            found |= geometric(f"{size}_ratio:{name}", values)
    for answers in dict.fromkeys(kind for kind, _ in kinds):
        told = [row["verdict"] for row in rows if row["answers"] == answers and row["verdict"]]
        if told:
            found |= verdict_shares(told, answers)
    return found


if __name__ == "__main__":
    main()
