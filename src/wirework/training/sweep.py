"""The released models as presets: their shapes and densities, trained by the published recipe.

Sources: weight_sparse_paper.md §1.6 (names, shapes, nonzeros), §2.2 (recipe). An expansion factor
EF widens a base of 256 channels, pfrac says how many weights stay: a block matrix keeps the share
pfrac / EF^2, an embedding pfrac / EF, so that models of one pfrac have equally many nonzeros.

Unlike the released files these presets have no table of 1,024 positions, which is zero there, but
a context of 256. Text and tokenizer of the released models are not public.
"""

from __future__ import annotations

from wirework.model import ModelConfig
from wirework.sparsity import SparsityConfig
from wirework.training.config import TrainConfig

EXPANSIONS = (1, 2, 4, 8, 16)

PFRACS = {"0.9M": 1 / 8, "1.9M": 1 / 4, "3.7M": 1 / 2, "7.4M": 1.0, "14.8M": 2.0}
"""Nonzeros, as the names of the released models give them -> pfrac."""

DENSE_EXPANSIONS = (1, 2, 4)

_TOKENS_PER_STEP = 512 * 256


def sweep_names() -> list[str]:
    """`sweep-4x-1.9M` and so on: every expansion and number of nonzeros that fits into it."""
    return [
        f"sweep-{expansion}x-{nonzeros}"
        for expansion in EXPANSIONS
        for nonzeros, pfrac in PFRACS.items()
        if pfrac <= expansion**2
    ]


def released_names() -> list[str]:
    dense = [f"dense1-{expansion}x" for expansion in DENSE_EXPANSIONS]
    return [*sweep_names(), *dense, "yolo1", "yolo2"]


def released(name: str) -> TrainConfig | None:
    """The preset of one of `released_names()`, None for any other name."""
    if name not in released_names():
        return None
    if name == "yolo1":
        return yolo1()
    if name == "yolo2":
        return yolo2()
    kind, expansion, *nonzeros = name.split("-")
    width = int(expansion.removesuffix("x"))
    return dense1(width) if kind == "dense1" else sweep(width, PFRACS[nonzeros[0]], name)


def sweep(expansion: int, pfrac: float, name: str = "custom") -> TrainConfig:
    """csp_sweep1 with AbsTopK at eight places and afrac 1/4 (`model.afrac` for the others).

    The floor is the published 4 weights of every neuron, but for the one model of the sweep that
    has only 2 for each: 16x with 0.9M nonzeros.
    """
    return _recipe(
        name,
        tokens=32_000_000_000,
        model=ModelConfig(
            context=256,
            n_layer=8,
            d_model=256 * expansion,
            n_head=16 * expansion,
            d_head=16,
            d_mlp=1024 * expansion,
            sink=False,
        ),
        density=pfrac / expansion**2,
        embedding_density=min(1.0, pfrac / expansion),
        floor=min(4, int(256 * pfrac / expansion)),
    )


def dense1(expansion: int) -> TrainConfig:
    """dense1, the dense baseline. Its rate and tokens are unknown: these are the sweep's."""
    return _recipe(
        f"dense1-{expansion}x",
        tokens=32_000_000_000,
        model=ModelConfig(
            context=256,
            n_layer=4,
            d_model=256 * expansion,
            n_head=16 * expansion,
            d_head=16,
            d_mlp=1024 * expansion,
            sink=False,
            afrac=1.0,
        ),
        density=1.0,
        embedding_density=1.0,
        floor=0,
    )


def yolo1() -> TrainConfig:
    """csp_yolo1: EF 4, pfrac 1/16. It was trained by an older recipe, at several densities at
    once; the places of its AbsTopK are unknown."""
    return _recipe(
        "yolo1",
        tokens=16_000_000_000,
        model=ModelConfig(
            context=256, n_layer=12, d_model=1024, n_head=128, d_head=8, d_mlp=4096, sink=False
        ),
        density=1 / 256,
        embedding_density=1 / 64,
        floor=4,
    )


def yolo2() -> TrainConfig:
    """csp_yolo2: its shape reproduces the published count of parameters; its densities, and
    whether its 32 position channels were learned, are unknown (here: EF 8, pfrac 1/4)."""
    return _recipe(
        "yolo2",
        tokens=32_000_000_000,
        model=ModelConfig(
            context=256,
            n_layer=8,
            d_model=2048,
            n_head=128,
            d_head=16,
            d_mlp=8192,
            position="concat",
            d_position=32,
            position_in_topk=True,
        ),
        density=1 / 256,
        embedding_density=1 / 32,
        floor=4,
    )


def _recipe(
    name: str,
    *,
    tokens: int,
    model: ModelConfig,
    density: float,
    embedding_density: float,
    floor: int,
) -> TrainConfig:
    """§2.2: every number that is not given here is a default of `SparsityConfig`."""
    return TrainConfig(
        name=name,
        steps=tokens // _TOKENS_PER_STEP,
        batch=512,
        model=model,
        sparsity=SparsityConfig(density=density, embedding_density=embedding_density, floor=floor),
        checkpoint_every=5000,
        validate_every=500,
        validation_batches=1,
        mean_batches=1,
    )
