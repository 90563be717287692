"""Reference models that travel inside the package: `reference/NAME`.

Their names begin with a version and their files are never overwritten, so that circuits found in
them stay valid. Each is a checkpoint folder; its card stands in the checkpoint's record.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from wirework.core import WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.files import read_json, write_folder, write_json
from wirework.data import Batches, Corpus
from wirework.model import Checkpoint
from wirework.training.evaluate import evaluate, nonzeros

PREFIX = "reference/"


def reference_home() -> Path:
    """The folder inside the package that holds them."""
    return Path(__file__).parent / "reference"


def reference_names() -> list[str]:
    """Names as `load` takes them, `reference/v1-...`."""
    found = sorted(path.parent.name for path in reference_home().glob("*/run.json"))
    return [f"{PREFIX}{name}" for name in found]


def reference_folder(name: str) -> Path:
    """The checkpoint folder of `reference/NAME`. Raises `reference-unknown`."""
    if name not in reference_names():
        raise unknown_choice("reference-unknown", "reference model", name, reference_names())
    return reference_home() / name.removeprefix(PREFIX)


def reference_cards() -> list[dict[str, Any]]:
    """What is known of every reference model: `name`, `density`, `val_loss`, `tokens`, ..."""
    cards = []
    for name in reference_names():
        run = read_json(reference_folder(name) / "run.json")
        cards.append({"name": name, "model_hash": run["hash"], **run["record"]["card"]})
    return cards


def publish(
    checkpoint: Checkpoint,
    corpus: Corpus,
    folder: Path,
    *,
    hours: float,
    answers: dict[str, float],
    batches: int = 64,
) -> Checkpoint:
    """Write a checkpoint as a reference model, rounded to bfloat16; returns what is stored.

    `corpus`: what it was trained on. `hours` of training; `answers`: accuracy on tasks, by their
    names. The losses on the card are of the rounded model, over `batches` batches of 8 windows of
    validation text. Raises `reference-published` rather than overwrite.
    """
    if folder.exists():
        raise WireworkError(
            "reference-published", f"{folder} is there, and circuits may refer to it",
            expected="a new name", got=folder.name, hint="raise the version in the name",
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as space:
        stored = checkpoint.save(Path(space) / "model", dtype="bfloat16")
        run = read_json(Path(space) / "model" / "run.json")
        losses = _losses(stored, corpus, batches)
        card = _card(stored, corpus) | losses | {"hours": hours, "answers": answers}
        run["losses"] = losses
        run["record"]["card"] = card
        with write_folder(folder) as draft:
            for name in ("config.json", "model.safetensors", "means.safetensors", "tokenizer.json"):
                shutil.copyfile(Path(space) / "model" / name, draft / name)
            write_json(draft / "run.json", run)
    return Checkpoint.load(folder)


def _losses(stored: Checkpoint, corpus: Corpus, count: int) -> dict[str, float]:
    batches = Batches(corpus.validation, batch=8, context=stored.config.context, seed=0)
    split = corpus.manifest["splits"]["validation"]
    windows = (torch.from_numpy(batches(index)) for index in range(count))
    return evaluate(stored.model, windows, split["bytes"] / split["tokens"])


def _card(stored: Checkpoint, corpus: Corpus) -> dict[str, Any]:
    kept = sum(nonzeros(stored.model).values())
    projected = sum(matrix.weight.numel() for matrix in stored.model.projected())
    batch = stored.record["config"]["batch"]
    manifest = corpus.manifest
    return {
        "density": kept / projected,
        "nonzeros": kept,
        "projected_weights": projected,
        "neurons": stored.config.n_layer * stored.config.d_mlp,
        "steps": stored.step,
        "tokens": stored.step * batch * stored.config.context,
        "text": {
            "source": manifest["config"]["source"],
            "packages": manifest["packages"],
            "splits": manifest["splits"],
            "hash": corpus.hash(),
        },
    }
