"""Presets of the released models: parameters, nonzeros and recipe as published."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from wirework.cli.app import app
from wirework.core import WireworkError
from wirework.core.names import LAYER_SITES
from wirework.model import Transformer
from wirework.sparsity import density_at
from wirework.sparsity.optimizer import check_densities
from wirework.sparsity.schedule import linked_density
from wirework.training import PRESETS, TrainConfig, preset, preset_names
from wirework.training.size import size_of
from wirework.training.sweep import released_names, sweep_names

WEIGHT_SHARE = {  # weight_sparse_paper.md §1.6: one share for each expansion; None: no such model
    "0.9M": (1 / 8, 1 / 32, 1 / 128, 1 / 512, 1 / 2048),
    "1.9M": (1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 1024),
    "3.7M": (1 / 2, 1 / 8, 1 / 32, 1 / 128, 1 / 512),
    "7.4M": (1, 1 / 4, 1 / 16, 1 / 64, 1 / 256),
    "14.8M": (None, 1 / 2, 1 / 8, 1 / 32, 1 / 128),
}
PFRAC = {"0.9M": 1 / 8, "1.9M": 1 / 4, "3.7M": 1 / 2, "7.4M": 1, "14.8M": 2}
TOTAL = {1: "11.8M", 2: "32.0M", 4: "110.2M", 8: "417.5M", 16: "1636.1M"}
TABLE = [
    (expansion, nonzeros, share)
    for nonzeros, shares in WEIGHT_SHARE.items()
    for expansion, share in zip(TOTAL, shares, strict=True)
    if share is not None
]


def published_total(config: TrainConfig) -> int:
    """Numbers in the released file: ours, and its table of 1,024 positions, which is zero."""
    return size_of(config).parameters + 1024 * config.model.d_model


@pytest.mark.parametrize(("expansion", "nonzeros", "share"), TABLE)
def test_the_sweep_has_the_published_counts(expansion: int, nonzeros: str, share: float) -> None:
    config = preset(f"sweep-{expansion}x-{nonzeros}")
    pfrac, size = PFRAC[nonzeros], size_of(config)
    assert config.sparsity.density == share
    assert config.sparsity.embedding_density == pfrac / expansion
    assert size.nonzeros == pfrac * (8 * 12 * 256**2 + 2 * 2048 * 256)
    # The names are roundings of pfrac * 7.4M.
    assert size.nonzeros / 1e6 == pytest.approx(float(nonzeros.removesuffix("M")), rel=0.04)
    assert f"{published_total(config) / 1e6:.1f}M" == TOTAL[expansion]
    shape = config.model
    assert (shape.d_model, shape.d_mlp) == (256 * expansion, 1024 * expansion)
    assert shape.n_head * shape.d_head == shape.d_model


def test_the_sweep_is_the_whole_table() -> None:
    assert sorted(sweep_names()) == sorted(f"sweep-{e}x-{n}" for e, n, _ in TABLE)
    assert set(released_names()) >= {"dense1-1x", "dense1-2x", "dense1-4x", "yolo1", "yolo2"}


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_can_be_trained(name: str) -> None:
    """Densities leave room for the floor, which is the published one but in one model."""
    config = preset(name)
    assert config.name == name
    assert TrainConfig.parse(config.plain()) == config
    with torch.device("meta"):
        check_densities(Transformer(config.model), config.sparsity)
    if name in sweep_names():
        assert config.sparsity.floor == (2 if name == "sweep-16x-0.9M" else 4)


def test_the_single_models_have_the_published_counts() -> None:
    """§1.6: the bytes of yolo1's file, the 419.12M of yolo2; §2.6: the 19M of the dense 2x."""
    yolo1 = published_total(preset("yolo1")) + 2048  # final_logits_bias
    assert abs(4 * yolo1 / 642_319_670 - 1) < 1e-4
    assert f"{(size_of(preset('yolo2')).parameters + (1024 - 256) * 32) / 1e6:.2f}" == "419.12"
    assert f"{published_total(preset('dense1-2x')) / 1e6:.0f}M" == "19M"
    assert size_of(preset("dense1-4x")).density == 1


def test_the_recipe_is_the_published_one() -> None:
    """§2.2, the default of the published training script."""
    config = preset("sweep-4x-1.9M")
    assert (config.batch, config.model.context, config.steps) == (512, 256, 244_140)
    model, recipe = config.model, config.sparsity
    assert (model.n_layer, model.n_head, model.d_head) == (8, 64, 16)
    assert (model.activation, model.bias, model.sink, model.bigram) == (
        "gelu",
        True,
        False,
        "learned",
    )
    assert (model.afrac, set(model.afrac_places)) == (0.25, set(LAYER_SITES))
    assert (model.position, model.norm, model.tied) == ("none", "rms", False)
    wanted: dict[str, Any] = {
        "lr": 1.28e-2, "warmup": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 0.1,
        "weight_decay": 0.1, "gradient": "normalize", "floor": 4, "anneal": "linear",
        "anneal_start": 0.01, "anneal_stop": 0.5, "anneal_exponent": 1.0, "coupled_lr": True,
        "biases": "dense",
    }  # fmt: skip
    assert {key: value for key, value in recipe.plain().items() if key in wanted} == wanted
    assert config.bigram_start == "random"
    assert preset("yolo1").steps == 122_070
    dense = config.override(["model.afrac=1.0"])
    assert dense.model.kept("mlp.neuron") is None


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(WireworkError, match=r"preset-unknown[\s\S]*try +sweep-4x-1\.9M"):
        preset("sweep-4x-1.9")
    with pytest.raises(WireworkError, match=r"preset-unknown[\s\S]*try +dense1-2x"):
        preset("dense-2x")
    assert set(PRESETS) < set(preset_names())


def test_info_lists_every_preset() -> None:
    done = CliRunner().invoke(app, ["info", "presets", "--json"])
    assert done.exit_code == 0
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == preset_names()
    assert rows["sweep-8x-0.9M"]["nonzeros"] == 917_504
    assert rows["sweep-8x-0.9M"]["tokens"] == 244_140 * 512 * 256


def test_the_exponent_bends_the_linear_anneal() -> None:
    def at(step: int, exponent: float) -> float:
        return density_at(
            step, 100, 0.1, kind="linear", start=0.0, stop=1.0, exponent=exponent
        )  # fmt: skip

    assert at(50, 1.0) == pytest.approx(0.55)
    assert at(50, 2.0) == pytest.approx(0.1 + 0.9 * 0.25)  # 1 - (1 - 1/2)^2 of the way
    assert (at(0, 3.0), at(100, 3.0)) == (1.0, 0.1)


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_linked_embeddings_are_as_far_as_the_blocks(progress: float) -> None:
    """§2.4; under the linear anneal both ways are the same."""
    expansion, pfrac = 4, 1 / 4
    now = expansion**2 + (pfrac - expansion**2) * progress
    adjusted = pfrac + (expansion - pfrac) * (now - pfrac) / (expansion**2 - pfrac)
    block, final = pfrac / expansion**2, pfrac / expansion
    linked = linked_density(now / expansion**2, block, final)
    assert linked == pytest.approx(adjusted / expansion)
    assert linked == pytest.approx(1 + (final - 1) * progress)
    assert linked_density(1.0, 1.0, 0.3) == 0.3
