"""The speed of training, decoding and loading beside dense and plain code: all ratios, one table.

    python benchmarks/speed.py 2026-11-21 --pairs 11

Runs `wirework bench train`, `decode` and `load`, each in a process of its own and after a pause, so
that the load of one does not look like that of others to the next, and writes
benchmarks/results/speed-DATE.json with the three reports and speed-DATE.md with the table. Needs
6 GiB of memory and, on two cores, about a quarter of an hour. Exit code 1 where a bar is missed.
docs/speed.md says what is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from wirework.core import Measure, Report
from wirework.core.files import write_json, write_text

KINDS = ("train", "decode", "load")
PAUSE = 90.0
"""Seconds in which the load average of a machine at rest falls from 2 to below a half."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("date", nargs="?", default=date.today().isoformat(), help="of the results")
    parser.add_argument("--pairs", type=int, default=11, help="turns that count")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "results")
    wanted = parser.parse_args()
    reports = {kind: _measured(kind, wanted.pairs) for kind in KINDS}
    target = wanted.folder / f"speed-{wanted.date}"
    write_json(target.with_suffix(".json"), {k: report.to_json() for k, report in reports.items()})
    write_text(target.with_suffix(".md"), _page(wanted.date, reports))
    print(target.with_suffix(".md").read_text(encoding="utf-8"))
    sys.exit(0 if all(report.passed for report in reports.values()) else 1)


def _measured(kind: str, pairs: int) -> Report:
    time.sleep(PAUSE if kind != KINDS[0] else 0)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "report.json"
        command = [sys.executable, "-m", "wirework", "bench", kind, "--pairs", str(pairs)]
        done = subprocess.run([*command, "--out", str(out)], stdout=subprocess.DEVNULL)
        if not out.exists():  # a missed bar leaves a report, anything else does not
            sys.exit(done.returncode)
        return Report.load(out)


def _page(day: str, reports: dict[str, Report]) -> str:
    lines = [f"# Speed, {day}", ""]
    for kind, report in reports.items():
        made = report.provenance
        machine = made["details"]["machine"]
        lines += [
            f"## wirework bench {kind}", "",
            f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, "
            f"{machine['gib']} GiB, load {machine['load']} at the start; {made['dtype']}, "
            f"torch {made['versions']['torch']}, numba {made['versions']['numba']}, "
            f"commit {made['commit'][:12]}.", "",
        ]  # fmt: skip
        lines += [f"**{note['code']}**: {note['message']}.\n" for note in made["notes"]]
        lines += ["| measure | median | 95% interval | n | bar | |", "|---|---|---|---|---|---|"]
        lines += [_row(name, measure) for name, measure in report.measures.items()]
        lines.append("")
    return "\n".join(lines)


def _row(name: str, m: Measure) -> str:
    interval = "" if m.low is None or m.high is None else f"{m.low:.3g} - {m.high:.3g}"
    sign = ">=" if m.better == "higher" else "<="
    bar = "" if m.bar is None else f"{sign} {m.bar:g}"
    verdict = {True: "met", False: "**missed**", None: ""}[m.passed]
    said = "; ".join(part for part in (verdict, m.note) if part)
    return f"| `{name}` | {m.value:.3g} | {interval} | {m.n} | {bar} | {said} |"


if __name__ == "__main__":
    main()
