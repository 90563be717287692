"""Which tasks a sweep can take: well formed for the model, learned by it, more than local."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wirework.core import WireworkError
from wirework.data import NGramModel
from wirework.discovery.bench import require_learned
from wirework.discovery.config import DiscoveryConfig
from wirework.model import Checkpoint
from wirework.tasks import Task, catalog_names, load_task
from wirework.tasks.check import refuse_local


@dataclass(frozen=True)
class TaskChoice:
    """`tasks` to search; `left_out`: name -> why, for those of the catalog that are not."""

    tasks: tuple[Task, ...]
    left_out: Mapping[str, str]


def choose_tasks(
    checkpoint: Checkpoint,
    names: Sequence[str],
    config: DiscoveryConfig,
    counts: Mapping[str, NGramModel],
) -> TaskChoice:
    """The named tasks, or else those of the catalog that `standing` lets through.

    `counts`: n-gram models of the text that the model was trained on. A named task that cannot be
    used raises what `load_task`, `Task.encode` and `refuse_local` raise; one that the model has
    not learned is for its runs to say. Raises `sweep-without-tasks`, `task-name-twice`.
    """
    if names:
        named = tuple(_named(checkpoint, name, counts) for name in names)
        _refuse_namesakes(named)
        return TaskChoice(named, {})
    tasks, left_out = [], {}
    for name in catalog_names():
        task = load_task(name)
        reason = standing(checkpoint, task, config, counts)
        if reason:
            left_out[name] = reason
        else:
            tasks.append(task)
    if not tasks:
        raise WireworkError(
            "sweep-without-tasks", "no task of the catalog is left to search",
            expected=f"a task that the model does with a loss of at most {config.target_loss:g}",
            got="; ".join(f"{name}: {reason}" for name, reason in left_out.items()),
            hint="a longer training, a higher --target-loss, or tasks by name",
        )  # fmt: skip
    return TaskChoice(tuple(tasks), left_out)


def _named(checkpoint: Checkpoint, name: str, counts: Mapping[str, NGramModel]) -> Task:
    task = load_task(name)
    task.encode(checkpoint.tokenizer, checkpoint.config.context)
    refuse_local(task, checkpoint.tokenizer, counts)
    return task


def _refuse_namesakes(tasks: Sequence[Task]) -> None:
    """Results are told apart by the names of their tasks."""
    for name, count in Counter(task.name for task in tasks).items():
        if count > 1:
            raise WireworkError(
                "task-name-twice", f"{count} of the tasks are called {name!r}",
                expected="another name for each", got=", ".join(
                    task.source for task in tasks if task.name == name
                ),
                hint='another "name" in one of the files',
            )  # fmt: skip


def standing(
    checkpoint: Checkpoint,
    task: Task,
    config: DiscoveryConfig,
    counts: Mapping[str, NGramModel],
) -> str:
    """Why a task cannot stand in a headline for this model; empty where it can."""
    if task.local:
        return "local: the last few tokens may give its answer away"
    try:
        refuse_local(task, checkpoint.tokenizer, counts)
        require_learned(checkpoint, task, config)
    except WireworkError as error:
        return f"{error.code}: {error.got or error.message}"
    return ""
