"""`wirework sweep`: circuits of many tasks in one model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.options import JSON, RESUME, SEED, SETTINGS
from wirework.cli.session import Session, session, settle_process

if TYPE_CHECKING:
    from wirework.discovery.sweep_config import SweepConfig, SweepExecution

COEFFICIENTS = Annotated[
    list[float] | None,
    typer.Option("--coefficient", help="Loss per open node; may be repeated. The best counts."),
]
RATES = Annotated[
    list[float] | None, typer.Option("--lr", help="Rate of the gates; may be repeated.")
]
SEEDS = Annotated[int, typer.Option(min=1, help="Search from this many seeds.")]
HALVING = Annotated[
    bool,
    typer.Option("--halving", help="Short trials first; only the better half goes on, each time."),
]
TARGET = Annotated[float, typer.Option(help="Task loss in nats to meet.")]
UNLEARNED = Annotated[
    bool, typer.Option("--unlearned-ok", help="Search though the model misses the target.")
]
JOBS = Annotated[
    int | None, typer.Option(min=1, help="Searches at a time; default: one for each core.")
]
THREADS = Annotated[int, typer.Option(min=1, help="Threads of each search.")]
CLUSTER = Annotated[str, typer.Option(help="local, or ray (pip install 'wirework[cluster]').")]


def sweep(
    model: Annotated[str, typer.Argument(help="A run, RUN@STEP, or a checkpoint folder.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for all that comes of it.")],
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK]...", help="Default: every shipped task that the model has learned."
        ),
    ] = None,
    coefficients: COEFFICIENTS = None,
    rates: RATES = None,
    ablations: Annotated[
        list[str] | None,
        typer.Option(
            "--ablation", help="What cut nodes are held at, such as zero; several are compared."
        ),
    ] = None,
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
    """Find the circuits of many tasks, several searches at a time; exit code 1 if one is missing.

    Example: wirework sweep runs/tiny --out runs/tiny-circuits --seeds 3 --halving
    """
    with session(as_json) as run:
        settle_workers()
        from wirework.discovery.sweep import sweep

        config = sweep_config(
            tasks, coefficients, rates, (seed, seeds), halving, target_loss, settings, unlearned_ok
        ).replace(ablations=ablations or [])
        done = sweep(
            model, config, out, resume=resume, execution=execution(jobs, threads, cluster),
            start=run.progress,
        )  # fmt: skip
        report = done.report()
        tell_missing(run, done.plan.left_out, done.unsolved())
        for name in report.provenance["local"]:
            run.tell(f"local, so in no mean: {name}")
        run.show(f"{report}\n  saved in {out}", report.to_json())
        if done.unsolved():
            raise typer.Exit(1)


def settle_workers() -> None:
    """`settle_process` for this process and for those that it starts."""
    settle_process()
    # What glibc reads where nobody calls `mallopt`.
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 30))
    os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(1 << 30))


def sweep_config(
    tasks: list[str] | None,
    coefficients: list[float] | None,
    rates: list[float] | None,
    seeds: tuple[int, int],
    halving: bool,
    target_loss: float,
    settings: list[str] | None,
    unlearned_ok: bool,
) -> SweepConfig:
    """The options as a configuration; `seeds` is the first and how many."""
    from wirework.discovery import DiscoveryConfig
    from wirework.discovery.sweep_config import SweepConfig

    discovery = DiscoveryConfig.parse({"target_loss": target_loss}).override(settings or [])
    values: dict[str, Any] = {
        "tasks": tasks or [],
        "lrs": rates or [],
        "seeds": list(range(seeds[0], seeds[0] + seeds[1])),
        "halving": halving,
        "unlearned_ok": unlearned_ok,
        "discovery": discovery.plain(),
    }
    if coefficients:
        values["coefficients"] = coefficients
    return SweepConfig.parse(values, "the command line")


def execution(jobs: int | None, threads: int, cluster: str) -> SweepExecution:
    from wirework.discovery.sweep_config import SweepExecution

    values = {"jobs": jobs, "threads": threads, "cluster": cluster}
    return SweepExecution.parse(values, "the command line")


def tell_missing(run: Session, left_out: Mapping[str, str], unsolved: Mapping[str, str]) -> None:
    for name, reason in left_out.items():
        run.tell(f"left out: {name}: {reason}")
    for name, reason in unsolved.items():
        run.tell(f"no circuit: {name}: {reason}")
