"""`wirework train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wirework.cli.options import JSON, RESUME, SETTINGS
from wirework.cli.session import session, settle_process
from wirework.core import WireworkError

if TYPE_CHECKING:
    from wirework.training import TrainConfig


def train(
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    preset: Annotated[
        str | None,
        typer.Argument(
            help="A preset (tiny, small, tiny-dense, sweep-4x-1.9M; all: wirework info presets) "
            "or a TOML file; with --from it may be left out."
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option("--from", metavar="X", help="Start from reference/NAME, a run, a checkpoint."),
    ] = None,
    settings: SETTINGS = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights and batches.")] = None,
    resume: RESUME = False,
    parallel: Annotated[
        str, typer.Option(help="Over the processes that torchrun starts: none, ddp, fsdp.")
    ] = "auto",
    micro_batch: Annotated[
        int | None, typer.Option(help="Windows of one process in one pass; gradients add up.")
    ] = None,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Less memory, more time.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Use torch.compile.")] = False,
    as_json: JSON = False,
) -> None:
    """Train a sparse model.

    Example: wirework train tiny --out runs/tiny --set steps=2000

    On two GPUs: torchrun --nproc-per-node 2 -m wirework train tiny --out runs/tiny
    """
    with session(as_json) as run:
        settle_process()
        from wirework.training import train
        from wirework.training.distributed import is_first, one_voice
        from wirework.training.execution import ExecutionConfig

        with one_voice():
            config = _configuration(preset, start_from).override(settings or [])
            if seed is not None:
                config = config.replace(seed=seed)
            execution = ExecutionConfig.parse(
                {
                    "parallel": parallel,
                    "micro_batch": micro_batch,
                    "checkpoint_activations": checkpoint_activations,
                    "device": device,
                    "compile": compiled,
                },
                "the command line",
            )
            done = train(config, out, resume=resume, start=run.progress, execution=execution)
        if not is_first():
            return
        figures = {"run": str(out), "step": done.step, **done.losses, "model_hash": done.hash()}
        lines = [f"{out}: {done.step} steps"]
        lines += [f"  {name:<18} {value:.5g}" for name, value in done.losses.items()]
        lines.append(f"  curve              {out / 'curve.svg'}")
        run.show("\n".join(lines), figures)


def _configuration(preset: str | None, start_from: str | None) -> TrainConfig:
    from wirework.training import TrainConfig
    from wirework.training import preset as find_preset
    from wirework.training.runs import continued, load_checkpoint

    if preset is None:
        if start_from is None:
            raise WireworkError(
                "preset-missing", "nothing says what to train",
                expected="a preset or a TOML file, or --from and a model", got="neither",
                hint="wirework train tiny --out runs/tiny",
            )  # fmt: skip
        return continued(start_from)
    config = TrainConfig.load(Path(preset)) if preset.endswith(".toml") else find_preset(preset)
    if start_from is None:
        return config
    # The shape is the model's; what is left of the recipe is the preset's.
    model = load_checkpoint(start_from).config.plain()
    return config.replace(model=model, start_from=start_from)
