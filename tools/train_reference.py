"""Train the reference models that travel inside the package, and put them there.

    pip install --no-deps --target libs PACKAGE...      (python tools/train_reference.py --packages)
    python tools/train_reference.py v1-sparse --libs libs --runs runs/reference
    python tools/train_reference.py v1-sparse --libs libs --runs runs/reference \\
        --dense-steps 2500 --set sparsity.lr=0.004

The last trains a dense twin: the same shape, text and recipe, every weight and activation free, so
few steps that it ends at the loss of the sparse one. It stays in `--runs`.
Can be stopped at any time and started again. Hours on two cores for the largest. A model is put
into the package once it is trained; a name is never used twice.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from wirework.ablation import PromptTensors, score
from wirework.cli.progress import progress_to
from wirework.cli.session import settle_process
from wirework.data import Corpus
from wirework.model import Checkpoint
from wirework.tasks import load_task
from wirework.training import TrainConfig, preset, train
from wirework.training.reference_models import publish, reference_home

PACKAGES = [
    "numpy",
    "scipy",
    "sympy",
    "networkx",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "xarray",
    "cvxpy",
    "keras",
    "torch-geometric",
    "librosa",
    "scikit-image",
    "shapely",
    "mpmath",
    "dask",
]
"""Permissively licensed, with tests full of lists in lists, which are rare in other code.

The licences and hashes of those that were used are in every card.
"""

TASKS = ("python/single_double_quote", "python/bracket_counting")


def recipe(name: str, libs: str) -> TrainConfig:
    """The configuration of a reference model."""
    corpus = {"packages": PACKAGES, "packages_from": libs, "validation_share": 0.01}
    if name == "v1-sparse":
        return preset("small").override(
            [
                "model.n_layer=3", "steps=16000", "sparsity.density=0.15",
                "sparsity.embedding_density=0.25", "sparsity.anneal_start=0.25",
                "sparsity.anneal_stop=0.75", "checkpoint_every=1000", "validate_every=1000",
                "validation_batches=32",
            ]
        ).replace(name=name, corpus=corpus)  # fmt: skip
    if name == "v1-sparse-small":
        return preset("tiny").replace(name=name, corpus=corpus, steps=6000)
    if name == "v1-dense":
        return preset("tiny-dense").replace(name=name, corpus=corpus, steps=6000)
    sys.exit(f"no recipe for {name}")


def dense_twin(config: TrainConfig, steps: int) -> TrainConfig:
    """The same model with nothing held at zero, trained for so many steps."""
    return config.replace(
        name=f"{config.name}-dense-{steps}",
        steps=steps,
        model={**config.model.plain(), "afrac": 1.0},
        sparsity={**config.sparsity.plain(), "density": 1.0, "embedding_density": 1.0},
    )


def answers(checkpoint: Checkpoint) -> dict[str, float]:
    """Accuracy on the report pairs of the tasks that a reference model is judged by."""
    found = {}
    for name in TASKS:
        encoded = load_task(name).encode(checkpoint.tokenizer, checkpoint.config.context)
        found[name] = score(checkpoint.model, PromptTensors.of(encoded.report)).accuracy
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", help="v1-sparse, v1-sparse-small or v1-dense")
    parser.add_argument("--libs", default="libs", help="where pip put the packages")
    parser.add_argument("--runs", type=Path, default=Path("runs/reference"))
    parser.add_argument("--dense-steps", type=int, help="a dense twin instead, not published")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of a dense twin")
    parser.add_argument("--hours", type=float, default=0.0, help="training took this long")
    parser.add_argument("--packages", action="store_true", help="print the packages and stop")
    wanted = parser.parse_args()
    if wanted.packages:
        sys.stdout.write(" ".join(PACKAGES) + "\n")
        return
    settle_process()
    shown = progress_to(Console(stderr=True), quiet=False)
    config = recipe(wanted.name, wanted.libs)
    if wanted.dense_steps is not None:
        config = dense_twin(config, wanted.dense_steps).override(wanted.set)
    run = wanted.runs / config.name
    checkpoint = train(config, run, resume=True, start=shown)
    if wanted.dense_steps is not None:
        sys.stdout.write(f"{run}: {checkpoint.losses}\n")
        return
    stored = publish(
        checkpoint,
        Corpus.open(run / "corpus"),
        reference_home() / wanted.name,
        hours=wanted.hours,
        answers=answers(checkpoint),
    )
    sys.stdout.write(f"reference/{wanted.name}: {stored.losses}\n")


if __name__ == "__main__":
    main()
