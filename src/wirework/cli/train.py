"""`wirework train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wirework.cli.options import JSON, RESUME, SETTINGS
from wirework.cli.session import session, settle_process


def train(
    preset: Annotated[
        str, typer.Argument(help="A preset (tiny, small, tiny-dense) or a TOML file.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    settings: SETTINGS = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and batches.")] = None,
    resume: RESUME = False,
    as_json: JSON = False,
) -> None:
    """Train a sparse model.

    Example: wirework train tiny --out runs/tiny --set steps=2000
    """
    with session(as_json) as run:
        settle_process()
        from wirework.training import TrainConfig, train
        from wirework.training import preset as find_preset

        config = TrainConfig.load(Path(preset)) if preset.endswith(".toml") else find_preset(preset)
        config = config.override(settings or [])
        if seed is not None:
            config = config.replace(seed=seed)
        done = train(config, out, resume=resume, start=run.progress)
        figures = {"run": str(out), "step": done.step, **done.losses, "model_hash": done.hash()}
        lines = [f"{out}: {done.step} steps"]
        lines += [f"  {name:<18} {value:.5g}" for name, value in done.losses.items()]
        lines.append(f"  curve              {out / 'curve.svg'}")
        run.show("\n".join(lines), figures)
