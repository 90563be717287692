"""`wirework tasks list | show | check`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from wirework.cli.options import JSON
from wirework.cli.session import Session, session
from wirework.core import Measure, Report, WireworkError

tasks = typer.Typer(
    help="Tasks: list the shipped ones, show one, check one against a model.",
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

        table = Table("task", "what it asks", box=None)
        found = list_tasks()
        for item in found:
            table.add_row(item.name, item.description)
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
    model: Annotated[str, typer.Argument(help="A run or a checkpoint.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK]...", help="Default: every shipped task.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Check tasks against a model: are they well formed, does the model do them?

    Example: wirework tasks check runs/tiny python/single_double_quote
    """
    with session(as_json) as run:
        from wirework.tasks import catalog_names
        from wirework.training import load_checkpoint

        checkpoint = load_checkpoint(model)
        wanted = names or catalog_names()
        faults: list[WireworkError] = []
        measures: dict[str, Measure] = {}
        for name in wanted:
            _check_one(run, checkpoint, model, name, measures, faults)
        report = Report("tasks", measures, provenance={"inputs": {"model": checkpoint.hash()}})
        run.show(str(report), report.to_json())
        if faults:
            raise faults[0]


def _check_one(
    run: Session,
    checkpoint: Any,
    model: str,
    name: str,
    measures: dict[str, Measure],
    faults: list[WireworkError],
) -> None:
    from wirework.ablation import PromptTensors, score
    from wirework.tasks import check_file, refuse_local
    from wirework.training.runs import count_models

    task, complaints = check_file(name, checkpoint.tokenizer, checkpoint.config.context)
    for complaint in complaints:
        run.tell(f"{name}: {complaint}")
        if complaint.level == "error":
            faults.append(complaint.error())
    if task is None or any(c.level == "error" for c in complaints):
        return
    counts = count_models(model)
    if counts:
        try:
            local = refuse_local(task, checkpoint.tokenizer, counts)
        except WireworkError as error:
            run.tell(f"{name}: {error}")
            faults.append(error)
            return
        for order, loss in local.items():
            measures[f"local_loss:{name}:{order}"] = Measure(loss, n=2 * len(task.report))
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    result = score(checkpoint.model, PromptTensors.of(encoded.report))
    n = len(result.margins)
    measures[f"loss:{name}"] = Measure(result.loss, n=n, better="lower")
    measures[f"accuracy:{name}"] = Measure(result.accuracy, n=n, better="higher")
