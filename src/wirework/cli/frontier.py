"""`wirework frontier`: capability against circuit size, over several models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wirework.cli.options import JSON, RESUME, SEED, SETTINGS
from wirework.cli.session import session
from wirework.cli.sweep import (
    CLUSTER,
    COEFFICIENTS,
    HALVING,
    JOBS,
    RATES,
    SEEDS,
    TARGET,
    THREADS,
    UNLEARNED,
    execution,
    settle_workers,
    sweep_config,
    tell_missing,
)


def frontier(
    out: Annotated[Path, typer.Option("--out", help="Folder for all that comes of it.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Runs, checkpoints, reference/NAME."),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option("--train", metavar="PRESET", help="Train a preset or TOML file first."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task", help="May be repeated; default: every shipped task all models have learned."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Compare with this model; default: the densest.")
    ] = None,
    coefficients: COEFFICIENTS = None,
    rates: RATES = None,
    seed: SEED = 0,
    seeds: SEEDS = 1,
    halving: HALVING = False,
    target_loss: TARGET = 0.15,
    settings: SETTINGS = None,
    unlearned_ok: UNLEARNED = False,
    jobs: JOBS = None,
    threads: THREADS = 1,
    cluster: CLUSTER = "local",
    resume: RESUME = False,
    as_json: JSON = False,
) -> None:
    """Draw capability against circuit size: the same tasks, searched alike in every model.

    Example: wirework frontier runs/tiny runs/tiny-dense --out runs/frontier --seeds 3
    """
    with session(as_json) as run:
        settle_workers()
        from wirework.discovery.frontier import frontier

        config = sweep_config(
            tasks, coefficients, rates, (seed, seeds), halving, target_loss, settings, unlearned_ok
        )
        done = frontier(
            models or [], out, config, presets=train or [], baseline=baseline, resume=resume,
            execution=execution(jobs, threads, cluster), start=run.progress,
        )  # fmt: skip
        report = done.report()
        tell_missing(run, done.left_out, done.unsolved)
        for note in report.provenance["notes"]:
            run.tell(f"note: {note}")
        run.show(f"{report}\n  saved in {out}", report.to_json())
