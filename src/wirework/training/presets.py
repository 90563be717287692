"""Named starting points; every field can be changed with `--set`."""

from __future__ import annotations

from collections.abc import Callable

from wirework.core import WireworkError
from wirework.core.errors import nearest
from wirework.model import ModelConfig
from wirework.sparsity import SparsityConfig
from wirework.training.config import TrainConfig
from wirework.training.sweep import released, released_names


def tiny() -> TrainConfig:
    """Minutes on two cores: two layers, 5% of the projected weights nonzero.

    It departs from the published recipe (weight_sparse_paper.md §2) where that learned too slowly
    in so few steps: Adam's epsilon and clipping in place of normalised gradients, the exponential
    anneal, positions, and a bigram table that is counted, not learned. Measured in
    benchmarks/LOG.md.
    """
    return TrainConfig(
        name="tiny",
        steps=4500,
        batch=32,
        model=ModelConfig(
            context=128,
            n_layer=2,
            d_model=128,
            n_head=8,
            d_head=16,
            d_mlp=512,
            bigram="frozen",
            position="concat",
            position_table="sinusoidal",
        ),
        sparsity=SparsityConfig(
            lr=1e-2,
            epsilon=1e-8,
            gradient="clip",
            density=0.05,
            embedding_density=0.05,
            anneal="exponential",
            anneal_start=0.1,
            anneal_stop=0.6,
        ),
        bigram_start="counts",
        checkpoint_every=1500,
        validate_every=200,
    )


def tiny_dense() -> TrainConfig:
    """The dense baseline of `tiny`: the same code, every weight and activation free."""
    base = tiny()
    return base.replace(
        name="tiny-dense",
        model={**base.model.plain(), "afrac": 1.0},
        sparsity={**base.sparsity.plain(), "density": 1.0, "embedding_density": 1.0},
    )


def small() -> TrainConfig:
    """An hour or more on two cores: four layers, 1.5% nonzero."""
    base = tiny()
    return base.replace(
        name="small",
        steps=20000,
        model={**base.model.plain(), "n_layer": 4, "d_model": 256, "n_head": 16, "d_mlp": 1024},
        sparsity={**base.sparsity.plain(), "density": 1 / 64, "embedding_density": 1 / 16},
        checkpoint_every=2000,
        validate_every=500,
    )


PRESETS: dict[str, Callable[[], TrainConfig]] = {
    "tiny": tiny,
    "tiny-dense": tiny_dense,
    "small": small,
}


def preset_names() -> list[str]:
    """Presets made for small machines, then those with the shapes of the released models."""
    return [*PRESETS, *released_names()]


def preset(name: str) -> TrainConfig:
    """Raises `preset-unknown`, naming the nearest right one."""
    found = PRESETS[name]() if name in PRESETS else released(name)
    if found is None:
        names = preset_names()
        raise WireworkError(
            "preset-unknown",
            f"there is no preset called {name!r}",
            expected=f"{', '.join(PRESETS)}, or one of `wirework info presets`",
            got=name,
            hint=nearest(name, names) or names[0],
        )
    return found
