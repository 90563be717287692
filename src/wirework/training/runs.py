"""Opening a model: `runs/tiny`, `runs/tiny@3000`, a folder, `reference/NAME` or `openai:DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.files import read_json
from wirework.data import Batches, Corpus, CorpusConfig, NGramModel, Tokenizer
from wirework.data.documents import Document
from wirework.data.sources import read_documents
from wirework.interop import openai
from wirework.model import Checkpoint
from wirework.training.config import TrainConfig
from wirework.training.reference_models import PREFIX, reference_cards, reference_folder

OPENAI = "openai:"
"""In front of a folder with a published model."""


def load_checkpoint(name: str | Path) -> Checkpoint:
    """Open the last checkpoint of a run, the one of a step after `@`, or a checkpoint folder.

    `reference/NAME` opens a model that came with the package, `openai:DIR` published files.
    Raises `run-missing`, `run-without-checkpoint`, `checkpoint-missing`, `reference-unknown` and
    those of `Checkpoint.load` or `interop.openai.read`.
    """
    if str(name).startswith(OPENAI):
        return openai.read(str(name).removeprefix(OPENAI))
    return Checkpoint.load(checkpoint_folder(name))


def checkpoint_folder(name: str | Path) -> Path:
    """The folder that `load_checkpoint` opens."""
    text, _, step = str(name).partition("@")
    folder = Path(text)
    if text.startswith(PREFIX) and not folder.is_dir():
        return _of_step(reference_folder(text), text, step)
    if not folder.is_dir():
        raise WireworkError(
            "run-missing", f"there is no folder {folder}", expected="a run or a checkpoint",
            got=str(name), hint="wirework train tiny --out runs/tiny",
        )  # fmt: skip
    if (folder / "model.safetensors").exists() or not (folder / "config.json").exists():
        return _of_step(folder, text, step)
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


def _of_step(folder: Path, name: str, step: str) -> Path:
    """A checkpoint folder, which has one step alone."""
    if step:
        known = read_json(folder / "run.json").get("step")
        if not step.isdecimal() or int(step) != known:
            raise WireworkError(
                "checkpoint-missing", f"{name} is one checkpoint, of step {known}",
                expected=name, got=f"{name}@{step}", hint=name,
            )  # fmt: skip
    return folder


def name_of_model(model_hash: str, step: int, *, near: str) -> str:
    """What `load_checkpoint` calls the model with this hash: the checkpoint of this step of the
    run `near`, or a reference model; empty where it is neither. Raises those of `load_checkpoint`.
    """
    run = Path(near.partition("@")[0])
    path = checkpoint_path(run, step)
    if path.is_dir() and Checkpoint.load(path).hash() == model_hash:
        return f"{run}@{step}"
    names = [card["name"] for card in reference_cards() if card["model_hash"] == model_hash]
    return str(names[0]) if names else ""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where a run keeps the checkpoint of a step."""
    return folder / "checkpoints" / f"step-{step:07d}"


def run_config(folder: Path) -> TrainConfig:
    """The configuration that a run folder was trained with."""
    return TrainConfig.parse(read_json(folder / "config.json"), str(folder / "config.json"))


def open_origin(config: TrainConfig) -> Checkpoint:
    """The model that a run starts from.

    Raises `start-mismatch` where it is of another shape, and those of `load_checkpoint`.
    """
    assert config.start_from is not None
    origin = load_checkpoint(config.start_from)
    wanted, found = config.model.plain(), origin.config.plain()
    other = [key for key in wanted if wanted[key] != found[key]]
    if other:
        raise WireworkError(
            "start-mismatch", f"{config.start_from} is another model than the configuration asks",
            expected=", ".join(f"model.{key} = {found[key]}" for key in other),
            got=", ".join(f"model.{key} = {wanted[key]}" for key in other),
            hint=f"wirework train --from {config.start_from}, without a preset",
        )  # fmt: skip
    return origin


def continued(name: str) -> TrainConfig:
    """The configuration for going on from a model: its own recipe, kept at its sparsity.

    Packages that its text came from are left out: they need not be installed here.
    Raises `start-without-recipe` for a model that was not trained here, and those of
    `load_checkpoint`.
    """
    origin = load_checkpoint(name)
    recipe = origin.record.get("config")
    if not recipe:
        raise WireworkError(
            "start-without-recipe", f"{name} does not say how it was trained",
            expected="a run, a checkpoint of one, or reference/NAME", got=name,
            hint=f"wirework train PRESET --from {name}",
        )  # fmt: skip
    config = TrainConfig.parse(recipe, name)
    sparsity = {**config.sparsity.plain(), "anneal_start": 0.0, "anneal_stop": 0.0}
    corpus = {**config.corpus.plain(), "packages": [], "packages_from": None}
    return config.replace(name="continued", start_from=name, sparsity=sparsity, corpus=corpus)


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
    """Windows (count, context) of text to look for examples in.

    A run's own validation text; for a model without its text beside it, the standard library.
    """
    corpus = training_corpus(name)
    tokens: NDArray[np.unsignedinteger[Any]]
    if corpus is None:
        tokens = _library_text(load_checkpoint(name).tokenizer, count * context)
    else:
        tokens = corpus.validation if len(corpus.validation) > context else corpus.train
    batches = Batches(tokens, batch=1, context=context - 1, seed=0)
    rows = [batches(index)[0] for index in range(min(count, batches.windows_per_epoch))]
    return np.stack(rows)


def _library_text(tokenizer: Tokenizer, count: int) -> NDArray[np.uint32]:
    """About `count` tokens of the interpreter's own library, files picked by a seed."""
    ids: list[int] = []
    for document in read_documents(CorpusConfig(max_bytes=8 * count)):
        if isinstance(document, Document) and len(ids) < count:
            ids += [*tokenizer.encode(document.text), tokenizer.end_of_text]
    return np.asarray(ids, dtype=np.uint32)
