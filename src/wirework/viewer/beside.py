"""A circuit file that is to be shown, and what lies beside it: report, evidence, groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wirework.circuit import Circuit, Groups
from wirework.circuit.groups import groups_path
from wirework.core import Report, WireworkError
from wirework.core.files import read_json

MOST_BYTES = 100_000_000
"""Of one circuit file: larger ones are for no page."""


def load_circuit(path: Path) -> Circuit:
    """A circuit that is to be shown. Raises `circuit-too-large` and what `Circuit.load` raises."""
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise WireworkError(
            "circuit-too-large", f"{path} is too large to be shown",
            expected=f"at most {MOST_BYTES // 10**6} MB", got=f"{path.stat().st_size // 10**6} MB",
        )  # fmt: skip
    return Circuit.load(path)


def evidence_beside(path: Path) -> Any:
    """What `quote.evidence.json` holds, None without it. Raises `file-damaged`."""
    beside = path.with_suffix(".evidence.json")
    return read_json(beside) if beside.is_file() else None


def groups_beside(path: Path) -> Groups | None:
    """The groups that a person made, in `quote.groups.json`; None without it. Raises those of
    `Groups.load`."""
    beside = groups_path(path)
    return Groups.load(beside) if beside.is_file() else None


def require_report_of(report: Report, circuit: Circuit) -> None:
    """Raises `report-of-another` where the report says that it is about another circuit."""
    about = report.provenance.get("inputs") or {}
    other = [what for what, is_ in circuit.identity().items() if about.get(what, is_) != is_]
    if other:
        raise WireworkError(
            "report-of-another", "the report is about another circuit",
            expected="a validation of this circuit", got=f"one with other {', '.join(other)}",
            hint="wirework validate CIRCUIT --model RUN --out report.json",
        )  # fmt: skip


def report_beside(path: Path, circuit: Circuit) -> Report | None:
    """The validation of `quote.circuit`: `quote.report.json`, `quote.json`, or `report.json` where
    the folder holds no other circuit. Files that are no validation reports are others' business;
    raises `file-damaged` for what is no JSON, `report-of-another`."""
    beside = [path.with_suffix(".report.json"), path.with_suffix(".json")]
    if len(list(path.parent.glob("*.circuit"))) == 1:
        beside.append(path.with_name("report.json"))
    for file in beside:
        if file.is_file():
            value = read_json(file)
            if isinstance(value, dict) and value.get("kind") == "validation":
                report = Report.load(file)
                require_report_of(report, circuit)
                return report
    return None
