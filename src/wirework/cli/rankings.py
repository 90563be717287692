"""`wirework rankings`: our gates beside the rankings of the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from wirework.cli.options import JSON, SEED, SETTINGS
from wirework.cli.session import Session, require_targets, session, settle_process
from wirework.core import Measure, Report, WireworkError

if TYPE_CHECKING:
    from wirework.model import Checkpoint
    from wirework.tasks import Task

_COLUMNS = ("nodes", "edges", "embedding_edges", "loss", "cpr", "cmd")


def rankings(
    model: Annotated[str, typer.Argument(help="A run, RUN@STEP, or a checkpoint folder.")],
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK]...", help="Default: every shipped task that the model has learned."
        ),
    ] = None,
    target_loss: Annotated[float, typer.Option(help="Task loss in nats to meet.")] = 0.15,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="Only this ranking; may be repeated. Default: all five."),
    ] = None,
    settings: SETTINGS = None,
    ranking_settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set-ranking", metavar="KEY=VALUE", help="Change a setting of the rankings."
        ),
    ] = None,
    seed: SEED = 0,
    unlearned_ok: Annotated[
        bool, typer.Option("--unlearned-ok", help="Go on though the model misses the target.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report as JSON.")] = None,
    as_json: JSON = False,
) -> None:
    """Compare trained gates with activation patching, attribution, magnitude and chance.

    Example: wirework rankings runs/tiny python/single_double_quote
    """
    with session(as_json) as run:
        settle_process()
        require_targets(out)
        from wirework.discovery import DiscoveryConfig
        from wirework.discovery.compare import compare_rankings, join_reports
        from wirework.discovery.rankings import METHODS, RankingConfig
        from wirework.tasks import catalog_names, load_task
        from wirework.training.runs import load_checkpoint

        config = DiscoveryConfig.parse({"target_loss": target_loss}).override(settings or [])
        ranking = RankingConfig().override(ranking_settings or [])
        asked = [load_task(name) for name in tasks or catalog_names()]
        checkpoint = load_checkpoint(model)
        if not unlearned_ok:
            asked = _learned(run, checkpoint, asked, config, strict=bool(tasks))
        reports: dict[str, Report] = {}
        for task in asked:
            reports[task.name] = compare_rankings(
                checkpoint, task, config=config, ranking=ranking, methods=method or METHODS,
                seed=seed, unlearned_ok=unlearned_ok, start=run.progress,
            )  # fmt: skip
            if not as_json:
                run.out.print(_table(task.name, reports[task.name].measures))
        report = join_reports(reports)
        run.show(_summary(reports), report.to_json())
        if out is not None:
            report.save(out)


def _learned(
    run: Session, checkpoint: Checkpoint, tasks: list[Task], config: Any, *, strict: bool
) -> list[Task]:
    """The tasks that the model has learned; one that was asked for by name must be."""
    from wirework.discovery.bench import require_learned

    found, missed = [], []
    for task in tasks:
        try:
            require_learned(checkpoint, task, config)
            found.append(task)
        except WireworkError as error:
            if strict or error.code != "task-unlearned":
                raise
            run.tell(f"left out: {task.name}, {error.got}")
            missed.append(error)
    if not found and missed:
        raise missed[0]
    return found


def _table(title: str, measures: Mapping[str, Measure]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("method")
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for name in measures:
        if name.startswith("edges:"):
            method = name.removeprefix("edges:")
            cells = (_cell(measures[f"{column}:{method}"].value) for column in _COLUMNS)
            table.add_row(method, *cells)
    return table


def _cell(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:g}" if value == int(value) else f"{value:.3f}"


def _summary(reports: Mapping[str, Report]) -> str:
    lines = []
    for task, report in reports.items():
        ratio = report["edges_ratio"].value
        word = "fewer edges than every ranking" if report["wins"].value else "NOT the fewest edges"
        lines.append(f"{task}: gates have {word}; best ranking / gates {ratio:.2f}")
    return "\n".join(lines)
