"""What every measure says of right and of wrong circuits, on the families that bars are fixed on.

    python benchmarks/verdict_bars.py --seeds 3 --out benchmarks/results/verdict_bars.json

Planted models whose minimal circuits are known by enumeration, and nulls (hard: the model does the
task, the circuit is wrong). Only every second family is looked at; `wirework bench trust` scores
the verdicts on the others. For each measure: its worst and median values on right circuits, and
the share of wrong ones of each kind that fall behind the worst right one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from wirework.bench.trust import Judged, TrustBench, judge
from wirework.bench.trust_cases import Kind, cases_of, families_of, held_out
from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.core import RunRecord
from wirework.core.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="of every family")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/verdict_bars.json"))
    wanted = parser.parse_args()
    settle_process()
    shown = progress_to(Console(stderr=True), quiet=False)
    config = TrustBench(held_out_only=False)
    seeds = range(wanted.seeds)
    judged: list[Judged] = []
    kinds: tuple[Kind, ...] = ("true", "hard", "plain", "easy")
    fixed_on = [(kind, name) for kind in kinds for name in set(families_of(kind)) - held_out(kind)]
    with shown("verdicts", len(fixed_on) * len(seeds)) as progress:
        for kind, family in sorted(fixed_on):
            for case in cases_of(kind, [family], seeds, config.discovery):
                judged += judge([case], config)
                progress.advance(verdict=judged[-1].report.verdict or "")
    table = [_row(name, judged) for name in sorted({n for j in judged for n in j.report.measures})]
    for row in table:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    cases_told = [
        {**one.to_json(), "values": {n: m.value for n, m in one.report.measures.items()}}
        for one in judged
    ]
    record = RunRecord.collect(seed=0, dtype="float32", threads=1).to_json()
    write_json(wanted.out, {"measures": table, "cases": cases_told, "provenance": record})


def _row(name: str, judged: list[Judged]) -> dict[str, Any]:
    values: dict[str, list[float]] = {"true": [], "hard": [], "plain": [], "easy": []}
    better = "neither"
    for one in judged:
        if name in one.report.measures:
            measure = one.report[name]
            values[one.case.kind].append(measure.value)
            better = measure.better
    right = np.array(values["true"])
    row: dict[str, Any] = {"measure": name, "better": better}
    if not len(right) or better == "neither":
        return row
    worst = np.nanmin(right) if better == "higher" else np.nanmax(right)
    row |= {
        "worst_right": round(float(worst), 4),
        "median_right": round(float(np.nanmedian(right)), 4),
    }
    for kind in ("hard", "plain", "easy"):
        wrong = np.array(values[kind])
        behind = wrong < worst if better == "higher" else wrong > worst
        row[f"{kind}_behind"] = round(float((behind | np.isnan(wrong)).mean()), 3)
    return row


if __name__ == "__main__":
    main()
