"""Capability against circuit size: the same tasks searched alike in several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from wirework.core import WireworkError
from wirework.core.files import require_writable_folder
from wirework.core.progress import Progress, StartProgress, silent
from wirework.discovery.frontier_result import Frontier, FrontierModel
from wirework.discovery.sweep import sweep
from wirework.discovery.sweep_config import SweepConfig, SweepExecution
from wirework.discovery.sweep_folder import PLAN
from wirework.discovery.sweep_pools import require_cluster
from wirework.discovery.sweep_result import Sweep
from wirework.discovery.sweep_tasks import standing
from wirework.model import Checkpoint
from wirework.tasks import catalog_names, load_task
from wirework.training import TrainConfig, evaluate, nonzeros, preset, train
from wirework.training.runs import (
    OPENAI,
    checkpoint_folder,
    checkpoint_path,
    count_models,
    load_checkpoint,
    training_windows,
)

_WINDOWS = 256
_BATCH = 8


def frontier(
    models: Sequence[str],
    folder: Path,
    config: SweepConfig,
    *,
    presets: Sequence[str] = (),
    baseline: str | None = None,
    resume: bool = False,
    execution: SweepExecution | None = None,
    start: StartProgress = silent,
) -> Frontier:
    """Search the same tasks in each model, with one budget, and compare (Fig 2 and Fig 3).

    `models` as `load_checkpoint` takes them; `presets` (or TOML files) are trained first, into
    `folder`/models. Without tasks in `config`: those of the catalog that every model has learned.
    `baseline`: the model that the others are compared with, by default the densest. The folder
    holds sweeps/, frontier.csv, tasks.csv, sizes_at_losses.csv, frontier.md, report.json and the
    pictures frontier.svg, sizes_at_losses.svg, tasks.svg.

    Raises `frontier-without-models`, `frontier-varied`, `frontier-baseline`,
    `frontier-without-tasks`, `sweep-exists`, `cluster-missing`, and what `sweep` and `train` raise.
    """
    folder = Path(folder)
    names = list(dict.fromkeys([*models, *presets]))
    _check(folder, names, config, baseline, resume)
    require_writable_folder(folder)
    require_cluster(execution or SweepExecution())
    recipes = _read_all(models, presets, config)
    trained = {name: folder / "models" / _slug(Path(name).stem) for name in recipes}
    for name, recipe in recipes.items():
        _train(name, recipe, trained[name], start)
    places = {name: str(trained.get(name, name)) for name in names}
    common, left_out = _common_tasks(places, config)
    found = []
    for name, place in places.items():
        space = folder / "sweeps" / _slug(name)
        done = sweep(
            place, config.replace(tasks=common), space, resume=(space / PLAN).exists(),
            execution=execution, start=_Named(start, name),
        )  # fmt: skip
        found.append(_model(name, place, done))
    result = Frontier(folder, tuple(found), baseline or max(found, key=_density).name, left_out)
    result.write()
    return result


def _density(model: FrontierModel) -> float:
    return model.density


def _check(
    folder: Path, names: Sequence[str], config: SweepConfig, baseline: str | None, resume: bool
) -> None:
    if not names:
        raise WireworkError(
            "frontier-without-models", "nothing says which models to compare",
            expected="models, or presets to train", got="neither",
            hint="wirework frontier runs/tiny runs/tiny-dense --out runs/frontier",
        )  # fmt: skip
    if len(config.variants()) > 1:
        raise WireworkError(
            "frontier-varied", "a frontier compares models, so that all else must be one",
            expected="one ablation, and settings with one value each",
            got=", ".join(config.variants()),
        )  # fmt: skip
    if baseline is not None and baseline not in names:
        raise WireworkError(
            "frontier-baseline", "the baseline is none of the models",
            expected=f"one of {', '.join(names)}", got=baseline, hint=names[0],
        )  # fmt: skip
    if (folder / "sweeps").exists() and not resume:
        raise WireworkError(
            "sweep-exists", f"{folder} already holds a frontier",
            expected="a new folder", got=str(folder),
            hint="--resume to go on with it, or another --out",
        )  # fmt: skip


def _read_all(
    models: Sequence[str], presets: Sequence[str], config: SweepConfig
) -> dict[str, TrainConfig]:
    """Find everything that was named before any work; the presets as configurations."""
    for name in models:
        if not name.startswith(OPENAI):
            checkpoint_folder(name)
    for task in config.tasks:
        load_task(task)
    return {
        name: TrainConfig.load(Path(name)) if name.endswith(".toml") else preset(name)
        for name in presets
    }


def _train(name: str, config: TrainConfig, place: Path, start: StartProgress) -> None:
    """Train, or go on with the training, unless it is done."""
    if not checkpoint_path(place, config.steps).exists():
        train(config, place, resume=place.exists(), start=_Named(start, name))


def _common_tasks(
    places: Mapping[str, str], config: SweepConfig
) -> tuple[list[str], dict[str, str]]:
    """The named tasks, or those of the catalog that stand in every model; why the others don't."""
    if config.tasks:
        return list(config.tasks), {}
    left_out: dict[str, str] = {}
    for name, place in places.items():
        checkpoint, counts = load_checkpoint(place), count_models(place)
        for task in catalog_names():
            if task not in left_out:
                reason = standing(checkpoint, load_task(task), config.discovery, counts)
                if reason:
                    left_out[task] = f"{name}: {reason}"
    common = [task for task in catalog_names() if task not in left_out]
    if not common:
        raise WireworkError(
            "frontier-without-tasks", "there is no task that every model has learned",
            expected=f"a loss of at most {config.discovery.target_loss:g} in all of them",
            got="; ".join(f"{task} ({reason})" for task, reason in left_out.items()),
            hint="a longer training, a higher --target-loss, or --task NAME",
        )  # fmt: skip
    return common, left_out


def _model(name: str, place: str, done: Sweep) -> FrontierModel:
    """With its capability, and how sparse it is."""
    checkpoint = load_checkpoint(place)
    kept = sum(nonzeros(checkpoint.model).values())
    whole = sum(matrix.weight.numel() for matrix in checkpoint.model.projected())
    loss = checkpoint.losses.get("val_loss")
    said = "its own validation text"
    if loss is None:
        loss, said = _measured_loss(checkpoint, place), "text measured here"
    return FrontierModel(
        name=name,
        sweep=done,
        val_loss=loss,
        val_text=said,
        tokenizer=checkpoint.tokenizer.hash(),
        nonzeros=kept,
        density=kept / whole,
    )


def _measured_loss(checkpoint: Checkpoint, place: str) -> float:
    """In nats per token, on windows of the model's text, else of the standard library."""
    windows = torch.from_numpy(training_windows(place, checkpoint.config.context, _WINDOWS))
    return evaluate(checkpoint.model, torch.split(windows, _BATCH), 1.0)["val_loss"]


def _slug(name: str) -> str:
    """A name of a model as the name of a folder."""
    return "".join(c if c.isalnum() or c in "-_.@" else "-" for c in name).strip(".-") or "model"


@dataclass(frozen=True)
class _Named:
    """Bars that say which model they are of."""

    start: StartProgress
    name: str

    def __call__(self, label: str, total: int, done: int = 0) -> Progress:
        return self.start(f"{label} {self.name}", total, done)
