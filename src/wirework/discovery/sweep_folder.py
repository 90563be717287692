"""The folder of a sweep: plan, results, circuits, states to resume from; all written atomically."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.core.files import read_json, write_json, write_text
from wirework.discovery.sweep_plan import Plan, Run, RunResult

PLAN, RESULTS, TIMES = "plan.json", "results.jsonl", "seconds.json"
SCHEMA = 1


class SweepFolder:
    """`plan.json`: what is to be run, with the hash of every run. `results.jsonl`: a line for
    every run that is done, in the order of the plan whatever order they ended in. `seconds.json`:
    how long each took, apart from what equal sweeps have in common. `circuits/ID.circuit`;
    `states/ID` only while a run is under way."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._results: dict[str, RunResult] = {}
        self._seconds: dict[str, float] = {}

    def circuit_path(self, id_: str) -> Path:
        return self.path / "circuits" / f"{id_}.circuit"

    def state_path(self, id_: str) -> Path:
        return self.path / "states" / id_

    def circuit(self, id_: str) -> Circuit:
        return Circuit.load(self.circuit_path(id_))

    def begin(self, plan: Plan, resume: bool) -> None:
        """Raises `sweep-exists`, `path-occupied`, and `resume-mismatch` for another model.

        A plan that asks for more or for other runs than the last may go on in its folder: runs
        are known by their content.
        """
        if (self.path / PLAN).exists():
            if not resume:
                raise WireworkError(
                    "sweep-exists", f"{self.path} already holds a sweep",
                    expected="a new folder", got=str(self.path),
                    hint="--resume to go on with it, or another --out",
                )  # fmt: skip
            self._check_model(plan)
            self._results = self.results()
            self._seconds = read_json(self.path / TIMES) if self._results else {}
        elif self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise WireworkError(
                "path-occupied", f"{self.path} holds something other than a sweep",
                expected="a new folder, or one of a sweep", got=str(self.path),
                hint=f"{self.path}-sweep",
            )  # fmt: skip

    def _check_model(self, plan: Plan) -> None:
        before = self.plan()
        if before.model_hash != plan.model_hash:
            raise WireworkError(
                "resume-mismatch", f"{self.path} is a sweep of another model",
                expected=f"model {before.model_hash[:12]} ({before.model})",
                got=f"model {plan.model_hash[:12]} ({plan.model})", hint="another --out",
            )  # fmt: skip

    def write_plan(self, plan: Plan) -> None:
        runs = [{"id": run.id, **run.plain()} for run in plan.runs]
        write_json(self.path / PLAN, {"schema": SCHEMA, **plan.plain(), "runs": runs})

    def plan(self) -> Plan:
        """Raises `file-missing`, `file-damaged`, `sweep-foreign`, `config-invalid`."""
        path = self.path / PLAN
        value = read_json(path)
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise WireworkError(
                "sweep-foreign", f"{path} is not the plan of a sweep", expected=f"schema {SCHEMA}"
            )
        runs = [{k: v for k, v in run.items() if k != "id"} for run in value.pop("runs", [])]
        return Plan.parse({**value, "runs": runs}, str(path))

    def results(self) -> dict[str, RunResult]:
        """Every result by the run's id. Raises `file-damaged`, `config-invalid`."""
        path = self.path / RESULTS
        if not path.exists():
            return {}
        found = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            result = RunResult.parse(_read_line(line, f"{path}:{number}"), f"{path}:{number}")
            found[result.id] = result
        return found

    def done(self, runs: Iterable[Run]) -> dict[str, RunResult]:
        """The results of those of `runs` that need not be run (again)."""
        kept = {}
        for run in runs:
            result = self._results.get(run.id)
            if result is None or result.status == "failed":
                continue
            if result.sizes and not run.trial and not self.circuit_path(run.id).exists():
                continue
            kept[run.id] = run.told(result)
        return kept

    def add(self, result: RunResult, seconds: float, plan: Plan) -> None:
        """Keep a result; its state is no longer needed."""
        self._results[result.id] = result
        self._seconds[result.id] = round(seconds, 3)
        order = {run.id: place for place, run in enumerate(plan.runs)}
        ranked = sorted(self._results.values(), key=lambda r: (order.get(r.id, len(order)), r.id))
        write_json(self.path / TIMES, self._seconds)
        lines = [json.dumps(kept.plain(), sort_keys=True) for kept in ranked]
        write_text(self.path / RESULTS, "\n".join(lines) + "\n")
        self.state_path(result.id).unlink(missing_ok=True)


def _read_line(line: str, where: str) -> Any:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise WireworkError(
            "file-damaged", f"{where} is not JSON", expected="a result", got=str(error)
        ) from None
    if not isinstance(value, dict):
        raise WireworkError("file-damaged", f"{where} holds no result", got=line[:80])
    return value
