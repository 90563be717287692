"""The `wirework` program: which commands there are."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from wirework.cli.alternatives import alternatives
from wirework.cli.bench import bench
from wirework.cli.circuits import discover, validate
from wirework.cli.convert import convert
from wirework.cli.explain import explain
from wirework.cli.frontier import frontier
from wirework.cli.generate import generate
from wirework.cli.graph import graph
from wirework.cli.info import info
from wirework.cli.probe import probe
from wirework.cli.rankings import rankings
from wirework.cli.sweep import sweep
from wirework.cli.tasks import tasks
from wirework.cli.train import train
from wirework.cli.view import view

app = typer.Typer(
    name="wirework",
    help="Models you can read: train a weight-sparse transformer, find the circuit behind one "
    "behaviour, test it, look at it.",
    epilog="First steps: wirework train tiny --out runs/tiny",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"wirework {metadata.version('wirework')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Models you can read."""


for command in (
    *(train, generate, discover, sweep, frontier, rankings, validate, alternatives, view, explain),
    *(info, convert),
):
    app.command()(command)
app.add_typer(tasks, name="tasks")
app.add_typer(probe, name="probe")
app.add_typer(bench, name="bench")
app.add_typer(graph, name="graph")
