"""`wirework tasks list | show | check | new`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.table import Table

from wirework.cli.options import JSON
from wirework.cli.session import Session, session
from wirework.core import Measure, Report, WireworkError

if TYPE_CHECKING:
    from wirework.ablation import TaskScore
    from wirework.data import NGramModel
    from wirework.model import Checkpoint
    from wirework.tasks import Task

tasks = typer.Typer(
    help="Tasks: list the shipped ones, show one, check them against a model, begin a new one.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip

NAME = Annotated[str, typer.Argument(metavar="TASK", help="A shipped task or a file of your own.")]


@tasks.command("list")
def list_(as_json: JSON = False) -> None:
    """List the shipped tasks.

    Example: wirework tasks list
    """
    with session(as_json) as run:
        from wirework.tasks import list_tasks

        table = Table("task", "", "what it asks", box=None)
        found = list_tasks()
        for item in found:
            table.add_row(item.name, "local" if item.local else "", item.description)
        values = [{"name": i.name, "description": i.description, "local": i.local} for i in found]
        run.show(table, values)


@tasks.command()
def show(
    name: NAME,
    pairs: Annotated[int, typer.Option(help="How many pairs of each split to print.")] = 3,
    as_json: JSON = False,
) -> None:
    """Show a task and some of its pairs.

    Example: wirework tasks show python/single_double_quote
    """
    with session(as_json) as run:
        from wirework.tasks import load_task

        task = load_task(name)
        if as_json:
            run.show("", task.to_json())
            return
        lines = [str(task), "", task.description]
        for split, members in task.splits.items():
            lines += ["", f"-- {split}"]
            for pair in members[:pairs]:
                lines += [f"{pair.prompt!r}  ->  {pair.answer}",
                          f"{pair.counterfactual!r}  ->  {pair.counter_answer}", ""]  # fmt: skip
        run.show("\n".join(lines), None)


@tasks.command()
def check(
    model: Annotated[
        str, typer.Argument(help="A run, a checkpoint, reference/NAME or openai:DIR.")
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]...", help="Default: every shipped task.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Check tasks against a model: are they well formed, which has it learned, which are local?

    Goes through all tasks; what is wrong with any of them ends the command with exit code 1.

    Example: wirework tasks check runs/tiny python/single_double_quote
    """
    with session(as_json) as run:
        from wirework.tasks import catalog_names
        from wirework.training import load_checkpoint
        from wirework.training.runs import count_models

        checkpoint = load_checkpoint(model)
        wanted = names or catalog_names()
        counts = count_models(model)
        faults: list[WireworkError] = []
        checked = []
        with run.progress("checking", len(wanted)) as bar:
            for name in wanted:
                task = _well_formed(run, checkpoint, name, faults, notes=bool(names))
                if task is not None:
                    checked.append(_checked(checkpoint, task, name, counts, faults))
                bar.advance()
        report = Report(
            "tasks", _measures(checked), provenance={"inputs": {"model": checkpoint.hash()}}
        )
        run.show(_table(checked), report.to_json())
        if faults:
            for fault in faults[1:]:
                run.tell(str(fault))
            raise faults[0]


@dataclass(frozen=True)
class _Checked:
    """A well-formed task; `score` is missing where local counts solve it unannounced."""

    name: str
    task: Task
    local_losses: dict[str, float]
    score: TaskScore | None

    @property
    def learned(self) -> bool:
        from wirework.tasks import LEARNED_BAR

        return self.score is not None and self.score.loss < LEARNED_BAR


def _well_formed(
    run: Session, checkpoint: Checkpoint, name: str, faults: list[WireworkError], *, notes: bool
) -> Task | None:
    """The task, or None with its errors put to the `faults`."""
    from wirework.tasks import check_file

    task, complaints = check_file(name, checkpoint.tokenizer, checkpoint.config.context)
    errors = [complaint.error() for complaint in complaints if complaint.level == "error"]
    for complaint in complaints if notes else ():
        if complaint.level == "note":
            run.tell(f"{name}: {complaint}")
    faults += errors
    return None if errors else task


def _checked(
    checkpoint: Checkpoint,
    task: Task,
    name: str,
    counts: dict[str, NGramModel],
    faults: list[WireworkError],
) -> _Checked:
    from wirework.ablation import PromptTensors, score
    from wirework.tasks import refuse_local

    try:
        local = refuse_local(task, checkpoint.tokenizer, counts)
    except WireworkError as error:
        faults.append(error)
        return _Checked(name, task, {}, None)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return _Checked(name, task, local, score(checkpoint.model, PromptTensors.of(encoded.report)))


def _measures(checked: Sequence[_Checked]) -> dict[str, Measure]:
    """`loss` and `accuracy` of each task; `learned` counts those that are not local."""
    from wirework.core.stats import bootstrap_interval, share_interval

    measures: dict[str, Measure] = {}
    for item in checked:
        for order, loss in item.local_losses.items():
            measures[f"local_loss:{item.name}:{order}"] = Measure(loss, n=2 * len(item.task.report))
        if item.score is None:
            continue
        result, n = item.score, len(item.score.margins)
        # Prompts of one template are alike.
        low, high = bootstrap_interval(result.losses, clusters=result.template.tolist(), seed=0)
        measures[f"loss:{item.name}"] = Measure(result.loss, low, high, n, "lower")
        low, high = share_interval(int((result.margins > 0).sum()), n)
        measures[f"accuracy:{item.name}"] = Measure(result.accuracy, low, high, n, "higher")
    counted = [item for item in checked if not item.task.local]
    groups = {"learned": counted}
    for item in counted:
        if "/" in item.name and not item.name.endswith((".toml", ".jsonl")):
            groups.setdefault(f"learned:{item.name.partition('/')[0]}", []).append(item)
    for group, members in groups.items():
        learned = sum(item.learned for item in members)
        measures[group] = Measure(learned, n=len(members), better="higher")
    return measures


def _table(checked: Sequence[_Checked]) -> Group:
    from wirework.tasks import LEARNED_BAR

    table = Table("task", "loss", "accuracy", "learned", "local", box=None)
    for item in checked:
        if item.score is None:
            cells = ["", "", "refused: the last tokens solve it"]
        else:
            cells = [f"{item.score.loss:.3f}", f"{item.score.accuracy:.3f}"]
            cells.append("yes" if item.learned else "no")
        table.add_row(item.name, *cells, "local" if item.task.local else "")
    counted = [item for item in checked if not item.task.local]
    learned = sum(item.learned for item in counted)
    return Group(
        table,
        f"{learned} of {len(counted)} tasks that are not local learned "
        f"(loss < {LEARNED_BAR} on report)",
    )


@tasks.command()
def new(
    path: Annotated[Path, typer.Argument(metavar="NAME.toml", help="The file to write.")],
    as_json: JSON = False,
) -> None:
    """Write a commented task file that passes its checks, to be changed into one's own.

    Example: wirework tasks new mine.toml
    """
    with session(as_json) as run:
        from wirework.tasks import new_task_file

        new_task_file(path)
        run.show(f"{path}: change it, then wirework tasks check MODEL {path}", {"path": str(path)})
