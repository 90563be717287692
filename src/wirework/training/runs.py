"""Opening a run: `runs/tiny`, one of its checkpoints `runs/tiny@3000`, or a checkpoint folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.files import read_json
from wirework.data import Batches, Corpus, NGramModel
from wirework.model import Checkpoint
from wirework.training.config import TrainConfig
from wirework.training.loop import checkpoint_path


def load_checkpoint(name: str | Path) -> Checkpoint:
    """Open the last checkpoint of a run, the one of a step after `@`, or a checkpoint folder.

    Raises `run-missing`, `run-without-checkpoint`, `checkpoint-missing` and those of
    `Checkpoint.load`.
    """
    return Checkpoint.load(checkpoint_folder(name))


def checkpoint_folder(name: str | Path) -> Path:
    """The folder that `load_checkpoint` opens."""
    text, _, step = str(name).partition("@")
    folder = Path(text)
    if not folder.is_dir():
        raise WireworkError(
            "run-missing", f"there is no folder {folder}", expected="a run or a checkpoint",
            got=str(name), hint="wirework train tiny --out runs/tiny",
        )  # fmt: skip
    if (folder / "model.safetensors").exists() or not (folder / "config.json").exists():
        return folder
    saved = sorted((folder / "checkpoints").glob("step-*"))
    if not saved:
        raise WireworkError(
            "run-without-checkpoint", f"{folder} has not reached its first checkpoint",
            hint="finish the training with --resume",
        )  # fmt: skip
    if not step:
        return saved[-1]
    wanted = checkpoint_path(folder, int(step)) if step.isdecimal() else folder / step
    if wanted not in saved:
        known = [str(int(path.name.removeprefix("step-"))) for path in saved]
        raise WireworkError(
            "checkpoint-missing", f"{folder} has no checkpoint of step {step}",
            expected=f"one of {', '.join(known)}", got=step, hint=f"{folder}@{known[-1]}",
        )  # fmt: skip
    return wanted


def run_config(folder: Path) -> TrainConfig:
    """The configuration that a run folder was trained with."""
    return TrainConfig.parse(read_json(folder / "config.json"), str(folder / "config.json"))


def training_corpus(name: str | Path) -> Corpus | None:
    """The corpus that a run was trained on; None for a bare checkpoint."""
    folder = Path(str(name).partition("@")[0]) / "corpus"
    return Corpus.open(folder) if folder.is_dir() else None


def count_models(name: str | Path) -> dict[str, NGramModel]:
    """Bigram and three-token counts of a run's training text; empty for a bare checkpoint."""
    corpus = training_corpus(name)
    if corpus is None:
        return {}
    size = corpus.tokenizer.vocab_size
    orders = {"bigram": 2, "three-token": 4}
    return {label: NGramModel(corpus.train, order, size) for label, order in orders.items()}


def training_windows(name: str | Path, context: int, count: int = 512) -> NDArray[np.int64]:
    """Windows (count, context) of a run's validation text, to look for examples in.

    Raises `run-without-corpus` for a bare checkpoint.
    """
    corpus = training_corpus(name)
    if corpus is None:
        raise WireworkError(
            "run-without-corpus", f"{name} has no corpus beside it to look for examples in",
            expected="a run folder, as `wirework train` writes it", got=str(name),
        )  # fmt: skip
    tokens = corpus.validation if len(corpus.validation) > context else corpus.train
    batches = Batches(tokens, batch=1, context=context - 1, seed=0)
    rows = [batches(index)[0] for index in range(min(count, batches.windows_per_epoch))]
    return np.stack(rows)
