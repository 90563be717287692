"""One run of a sweep, as a worker performs it: open the model, search, store the circuit."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from wirework.core import WireworkError
from wirework.discovery.discover import Search, search
from wirework.discovery.sweep_folder import SweepFolder
from wirework.discovery.sweep_plan import Run, RunResult
from wirework.model import Checkpoint
from wirework.model.threads import threads
from wirework.tasks import Task
from wirework.training import load_checkpoint

_STATUS = {"target-missed": "missed", "task-unlearned": "unlearned"}


@dataclass(frozen=True)
class Job:
    """A run with what a process elsewhere needs for it: plain values, and names of what lies on a
    disk that it sees. `model`: as `load_checkpoint` takes it; `task`: its JSON."""

    run: Run
    task: dict[str, Any]
    model: str
    folder: str
    threads: int


@dataclass(frozen=True)
class Outcome:
    """`result` is None where the run was stopped on request; its state is then stored."""

    result: RunResult | None
    seconds: float


def perform(job: Job) -> Outcome:
    """Search; a circuit goes into the folder, a coded error into the result.

    A mistake of ours is raised. A state that an earlier attempt left is taken up.
    """
    began = time.perf_counter()
    folder, run = SweepFolder(job.folder), job.run
    status, error, found = "found", {}, None
    try:
        with threads(job.threads):
            found = search(
                _opened(job.model, run.model_hash),
                Task.from_json(job.task),
                config=run.discovery,
                seed=run.seed,
                state=folder.state_path(run.id),
                unlearned_ok=run.unlearned_ok,
            )
            if not run.trial:
                found.circuit.save(folder.circuit_path(run.id))
    except WireworkError as caught:
        if caught.code == "interrupted":
            return Outcome(None, time.perf_counter() - began)
        status, error, found = _STATUS.get(caught.code, "failed"), caught.to_json(), None
    if found and not found.reached:
        status = "missed"  # with `unlearned_ok` a circuit comes all the same
    return Outcome(_result(job, status, error, found), time.perf_counter() - began)


@lru_cache(maxsize=1)
def _opened(model: str, expected: str) -> Checkpoint:
    """The model of the sweep, opened once in a process."""
    checkpoint = load_checkpoint(model)
    found = checkpoint.hash()
    if found != expected:
        raise WireworkError(
            "sweep-model-changed", f"{model} is no longer the model that the sweep was planned for",
            expected=f"model {expected[:12]}", got=f"model {found[:12]}",
            hint=f"name a step, as in {model.partition('@')[0]}@3000",
        )  # fmt: skip
    return checkpoint


def _result(job: Job, status: str, error: dict[str, str], found: Search | None) -> RunResult:
    run = job.run
    sizes, losses, curve = {}, {}, []
    if found is not None:
        sizes = asdict(found.circuit.sizes)
        losses = dict(found.circuit.losses)
        curve = [[point.nodes, point.edges, point.loss] for point in found.curve]
    return RunResult.parse(
        {
            "id": run.id,
            "task": run.task,
            "variant": run.variant,
            "coefficient": run.discovery.coefficient,
            "lr": run.discovery.lr,
            "seed": run.seed,
            "steps": run.discovery.steps,
            "trial": run.trial,
            "status": status,
            "error": error,
            "sizes": sizes,
            "losses": losses,
            "curve": curve,
            "threads": job.threads,
        }
    )
