"""What a circuit's objective costs in edges and gains in verdicts (weight_sparse_paper.md §10.2).

    python benchmarks/objectives.py --model reference/v1-sparse-small --folder runs/objectives

Searches every task under every objective, with three search seeds or more, and validates what is
found: `published` asks for the mean loss alone, `calibrated` for the mean loss under a fitted scale
and shift, `default` is the default search; others are the default search with what
`--objective NAME:KEY=VALUE,...` sets. Circuits and reports are kept in the
folder: an interrupted call goes on from there. Prints a table of tasks and, as JSON, the shares of
every verdict and the ratio of edges to `published`, with intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from circuit_measures import geometric, sizes, verdict_shares
from rich.console import Console

from wirework.circuit import Circuit
from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.core import Measure, Report, RunRecord, WireworkError
from wirework.core.files import write_json
from wirework.discovery import DiscoveryConfig, discover
from wirework.model import Checkpoint
from wirework.tasks import load_task
from wirework.training import load_checkpoint
from wirework.validation import validate

PUBLISHED, CALIBRATED, DEFAULT = "published", "calibrated", "default"
MEAN_LOSS = ("faithfulness=0", "every_template=false", "attention=1")
LEARNED = ("python/single_double_quote", "python/if_equals", "python/indent_for")
GROUPS = ("fit", "controls", "exactness", "subsets", "mechanism")
"""Those with bars."""

Row = dict[str, Any]


def main() -> None:
    wanted = _options()
    settle_process()
    shown = progress_to(Console(stderr=True), quiet=False)
    checkpoint = load_checkpoint(wanted.model)
    objectives = _objectives(wanted.objective)
    rows = []
    for name in wanted.only or objectives:
        for task in wanted.tasks:
            for seed in range(wanted.seeds):
                place = wanted.folder / f"{name}-{task.replace('/', '-')}-{seed}"
                row = {"objective": name, "task": task, "seed": seed}
                rows.append(row | _result(checkpoint, task, seed, objectives[name], place, shown))
                print(json.dumps({k: v for k, v in rows[-1].items() if k != "measures"}))
    record = RunRecord.collect(seed=None, dtype="auto", threads=torch.get_num_threads())
    measures = {name: measure.to_json() for name, measure in _summary(rows).items()}
    found = {
        "model": wanted.model,
        "objectives": {name: config.plain() for name, config in objectives.items()},
        "measures": measures,
        "rows": rows,
        "provenance": record.to_json(),
    }
    write_json(wanted.folder / "objectives.json", found)
    print(json.dumps(measures, indent=1))
    print(_table(rows))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="reference/v1-sparse-small")
    parser.add_argument("--tasks", nargs="+", default=list(LEARNED))
    parser.add_argument("--seeds", type=int, default=3, help="search seeds")
    parser.add_argument("--objective", action="append", default=[], metavar="NAME:KEY=VALUE,...")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="objectives to search now")
    parser.add_argument("--folder", type=Path, required=True)
    return parser.parse_args()


def _objectives(more: Sequence[str]) -> dict[str, DiscoveryConfig]:
    default = DiscoveryConfig()
    found = {
        PUBLISHED: default.override([*MEAN_LOSS, "calibrate=after"]),
        CALIBRATED: default.override(MEAN_LOSS),
        DEFAULT: default,
    }
    for text in more:
        name, _, settings = text.partition(":")
        found[name] = default.override(settings.split(","))
    return found


def _result(
    checkpoint: Checkpoint, name: str, seed: int, config: DiscoveryConfig, place: Path, shown: Any
) -> Row:
    task, file, told = load_task(name), place.with_suffix(".circuit"), place.with_suffix(".json")
    if not told.exists():
        try:
            circuit = discover(checkpoint, task, seed=seed, config=config, start=shown)
        except WireworkError as error:
            return {"verdict": None, "why": error.code}
        circuit.save(file)
        validate(circuit, checkpoint, task, groups=GROUPS, seed=seed, start=shown).save(told)
    circuit, report = Circuit.load(file), Report.load(told)
    return {
        "verdict": report.verdict,
        "missed": [each["measure"] for each in report.details["verdict"]["missed"]],
        **sizes(circuit),
        "measures": {name: measure.value for name, measure in report.measures.items()},
    }


def _summary(rows: Sequence[Row]) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    edges = {(r["objective"], r["task"], r["seed"]): r["edges"] for r in rows if r["verdict"]}
    for name in dict.fromkeys(row["objective"] for row in rows):
        told = [row["verdict"] for row in rows if row["objective"] == name]
        found |= verdict_shares(told, name)
        both = [key[1:] for key in edges if key[0] == name and (PUBLISHED, *key[1:]) in edges]
        ratios = [(edges[name, *k] + 1) / (edges[PUBLISHED, *k] + 1) for k in both]
        if name != PUBLISHED:
            found |= geometric(f"edges_ratio:{name}", ratios)
    return found


def _table(rows: Sequence[Row]) -> str:
    lines = ["| task | objective | edges | verdicts | missed |", "|---|---|---|---|---|"]
    for task, name in dict.fromkeys((row["task"], row["objective"]) for row in rows):
        mine = [r for r in rows if (r["task"], r["objective"]) == (task, name)]
        edges = ", ".join(str(r.get("edges", "-")) for r in mine)
        verdicts = ", ".join(str(r["verdict"]) for r in mine)
        missed = dict.fromkeys(f"`{m}`" for r in mine for m in r.get("missed", ()))
        lines.append(f"| {task} | {name} | {edges} | {verdicts} | {', '.join(missed)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
