"""Many discoveries planned, performed and stored together: the loop, read downward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirework.core import WireworkError
from wirework.core.files import require_writable_folder
from wirework.core.interrupt import Interruptible
from wirework.core.progress import Progress, StartProgress, silent
from wirework.discovery.sweep_config import Candidate, SweepConfig, SweepExecution
from wirework.discovery.sweep_folder import SweepFolder
from wirework.discovery.sweep_plan import Group, Plan, Run, RunResult, SweepTask, survivors
from wirework.discovery.sweep_pools import Pool, Stopping, open_pool, require_cluster
from wirework.discovery.sweep_result import Sweep
from wirework.discovery.sweep_tasks import choose_tasks
from wirework.discovery.sweep_worker import Job
from wirework.tasks import Task
from wirework.training.runs import OPENAI, checkpoint_folder, count_models, load_checkpoint

Going = Mapping[Group, Sequence[Candidate]]
"""The candidates of each group that are still competing."""


def sweep(
    model: str,
    config: SweepConfig,
    folder: Path,
    *,
    resume: bool = False,
    execution: SweepExecution | None = None,
    start: StartProgress = silent,
) -> Sweep:
    """Search circuits of many tasks in one model; all that comes of it stands in `folder`.

    `model`: as `load_checkpoint` takes it. With `resume` runs that are done are not run again and
    one that was interrupted goes on from its state; the results are those of an uninterrupted
    sweep. A run that fails is a result, and stops no other. Where several processes are used,
    call it under `if __name__ == "__main__":`.

    Raises `path-not-writable`, `sweep-exists`, `path-occupied`, `resume-mismatch`,
    `cluster-missing`, `worker-lost`, `interrupted`, and what `load_checkpoint`, `choose_tasks` and
    `SweepConfig.variants` raise.
    """
    execution = execution or SweepExecution()
    require_cluster(execution)
    require_writable_folder(folder)
    plan, tasks = plan_sweep(model, config)
    store = SweepFolder(folder)
    store.begin(plan, resume)
    going: Going = dict.fromkeys(plan.groups, config.candidates)
    with (
        Interruptible() as stop,
        open_pool(execution) as pool,
        start("sweep", plan.count(), _done_already(plan, store)) as progress,
    ):
        desk = _Desk(store, pool, tasks, execution.threads, progress, lambda: stop.requested)
        for rung in config.rungs:
            runs = plan.trials(rung.steps, going)
            plan = plan.with_runs(runs)
            going = _next_rung(runs, desk.complete(plan, runs))
        runs = plan.finals(going)
        plan = plan.with_runs(runs)
        desk.complete(plan, runs)
    found = Sweep.open(folder)
    found.write()
    return found


def plan_sweep(model: str, config: SweepConfig) -> tuple[Plan, dict[str, Task]]:
    """What is to be searched in which model, before any run; and the tasks by name."""
    checkpoint = load_checkpoint(model)
    config.variants()
    choice = choose_tasks(checkpoint, config.tasks, config.discovery, count_models(model))
    tasks = {task.name: task for task in choice.tasks}
    plan = Plan(
        model=_pinned(model),
        model_hash=checkpoint.hash(),
        config=config,
        tasks=tuple(
            SweepTask(name=name, content=task.hash(), local=task.local)
            for name, task in tasks.items()
        ),
        left_out=dict(choice.left_out),
    )
    return plan, tasks


def _pinned(model: str) -> str:
    """A name that stays the same model while a training goes on, from any folder."""
    if model.startswith(OPENAI):
        return OPENAI + str(Path(model.removeprefix(OPENAI)).resolve())
    return str(checkpoint_folder(model).resolve())


@dataclass(frozen=True)
class _Desk:
    """Hands out runs and files what comes back."""

    store: SweepFolder
    pool: Pool
    tasks: Mapping[str, Task]
    threads: int
    progress: Progress
    stopping: Stopping

    def complete(self, plan: Plan, runs: Sequence[Run]) -> dict[str, RunResult]:
        """Perform those of `runs` that are not done; all their results by id."""
        self.store.write_plan(plan)
        done = self.store.done(runs)
        jobs = [self._job(plan, run) for run in runs if run.id not in done]
        for outcome in self.pool(jobs, self.stopping):
            if outcome.result is not None:
                done[outcome.result.id] = outcome.result
                self.store.add(outcome.result, outcome.seconds, plan)
                self.progress.advance(**_shown(outcome.result))
        if len(done) < len(runs):
            raise _interrupted(plan, runs, done)
        return done

    def _job(self, plan: Plan, run: Run) -> Job:
        task = self.tasks[run.task].to_json()
        return Job(run, task, plan.model, str(self.store.path.resolve()), self.threads)


def _next_rung(runs: Sequence[Run], results: Mapping[str, RunResult]) -> Going:
    """The candidates of each group that go on after these trials."""
    groups: dict[Group, list[RunResult]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(results[run.id])
    return {group: survivors(found) for group, found in groups.items()}


def _done_already(plan: Plan, store: SweepFolder) -> int:
    """Runs that an earlier attempt completed, so that rates count only what is done now."""
    count = 0
    going: Going = dict.fromkeys(plan.groups, plan.config.candidates)
    for rung in plan.config.rungs:
        runs = plan.trials(rung.steps, going)
        done = store.done(runs)
        count += len(done)
        if len(done) < len(runs):
            return count
        going = _next_rung(runs, done)
    return count + len(store.done(plan.finals(going)))


def _interrupted(plan: Plan, runs: Sequence[Run], done: Mapping[str, RunResult]) -> WireworkError:
    ended = len(plan.runs) - len(runs) + len(done)
    return WireworkError(
        "interrupted",
        f"stopped on request after {ended} of {plan.count()} runs; what was under way is saved",
        hint="the same command with --resume",
    )


def _shown(result: RunResult) -> dict[str, Any]:
    if not result.sizes:
        return {"last": f"{result.task} {result.status}"}
    return {"last": result.task, "edges": result.edges}
