"""The switches that published models have beyond our defaults: norms, residual, ties, positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from wirework.core import Site
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.engine import forward
from wirework.model import Checkpoint, ModelConfig, Taps, Transformer, reference_means, sparse
from wirework.model.layers import Layer, LayerNorm
from wirework.model.transformer import sinusoids
from wirework.sparsity import SparseAdamW, SparsityConfig

SMALL: dict[str, Any] = {
    "vocab_size": 300, "context": 12, "n_layer": 2, "d_model": 16, "n_head": 2, "d_head": 8,
    "d_mlp": 32, "d_position": 6,
}  # fmt: skip
VARIANTS: list[dict[str, Any]] = [
    {"norm": "layer"},
    {"norm": "layer", "norm_bias": False},
    {"norm": "layer", "position": "concat"},
    {"residual": "relu", "afrac_places": ["resid.attn", "mlp.in"]},
    {"tied": True},
    {"tied": True, "position": "add"},
    {"position": "concat", "position_in_topk": True},
    {"position": "concat", "position_table": "sinusoidal", "d_position": 5},
]


def build(**changes: Any) -> Transformer:
    """A model whose every number, biases and gains too, is drawn at random."""
    model = Transformer(ModelConfig.parse({**SMALL, **changes}), seed=1)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
        model.logit_bias.copy_(torch.randn(model.logit_bias.shape, generator=draw))
    return model


def layers(model: Transformer) -> list[Layer]:
    return [layer for layer in model.layers if isinstance(layer, Layer)]


def tokens(length: int = 10) -> Tensor:
    return torch.randint(0, 300, (3, length), generator=torch.Generator().manual_seed(0))


def test_layer_norm_is_its_definition() -> None:
    config = ModelConfig.parse({**SMALL, "norm": "layer"})
    norm = LayerNorm(16, with_bias=True).double()
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        norm.gain.uniform_(0.5, 2)
        assert norm.bias is not None
        norm.bias.normal_()
        centred = x - x.mean(-1, keepdim=True)
        wanted = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        assert (norm(x) - (wanted * norm.gain + norm.bias)).abs().max() < 1e-12
    assert config.norm_bias
    assert "layers.0.norm_attn.bias" in Transformer(config).state_dict()
    bare = Transformer(config.replace(norm_bias=False)).state_dict()
    assert not [name for name in bare if "norm" in name and name.endswith(".bias")]


def test_relu_leaves_no_negative_residual() -> None:
    """The reads of layer 1 come from a residual without negative entries: RMSNorm keeps signs."""
    free, cut = build(), build(residual="relu")
    for model, least in ((free, -1.0), (cut, 0.0)):
        with torch.no_grad():
            for layer in layers(model):
                layer.norm_attn.gain.abs_()
        taps = Taps(record=[Site(1, "attn.in")])
        model(tokens(), taps)
        lowest = float(taps.values[Site(1, "attn.in")].min())
        assert (lowest >= 0) == (least == 0.0)


def test_tied_models_unembed_by_the_embedding() -> None:
    model = build(tied=True)
    final = model.read_out(tokens())
    logits = model.unembed(final, tokens())
    assert model.bigram is not None
    wanted = final @ model.embedding.weight.T + model.bigram[tokens()] + model.logit_bias
    assert torch.allclose(logits, wanted, atol=1e-5)
    assert [m.name for m in model.projected()].count("embedding.weight") == 1
    assert "unembedding.weight" not in [m.name for m in model.projected()]
    assert "unembedding.weight" not in model.stored()
    assert len(list(model.parameters())) == len({id(p) for p in model.parameters()})


def test_tied_weights_stay_tied_while_training() -> None:
    model = build(tied=True)
    optimizer = SparseAdamW(model, SparsityConfig(density=0.5, embedding_density=0.5), 10)
    model(tokens()).square().mean().backward()
    optimizer.step(9)
    assert model.unembedding.weight is model.embedding.weight
    assert int(model.embedding.weight.count_nonzero()) <= 0.5 * 300 * 16
    assert model.double().unembedding.weight is model.embedding.weight


def test_the_logit_bias_is_added_and_is_not_trained() -> None:
    model = build()
    with_bias = model(tokens())
    shift = model.logit_bias.clone()
    model.logit_bias.zero_()
    assert torch.allclose(with_bias - model(tokens()), shift.expand_as(with_bias), atol=1e-5)
    assert all(parameter is not model.logit_bias for parameter in model.parameters())
    assert not Transformer(model.config).logit_bias.any()


def test_positions_can_compete_with_the_residual() -> None:
    """int(afrac * (d_model + d_position)) of both together survive, at most that many of one."""
    model = build(position="concat", position_in_topk=True, afrac=0.5, afrac_places=["mlp.in"])
    assert model.config.kept("mlp.in") == 11
    assert ModelConfig(**{**SMALL, "position": "concat", "afrac": 0.5}).kept("mlp.in") == 8
    layer = layers(model)[0]
    read: list[Tensor] = []
    layer.mlp.read.register_forward_hook(lambda module, inputs, output: read.append(inputs[0]))
    taps = Taps(record=[Site(0, "mlp.in")])
    model(tokens(), taps)
    assert read[0].shape == (3, 10, 22)
    assert torch.all((read[0] != 0).sum(-1) == 11)
    assert torch.equal(read[0][..., :16], taps.values[Site(0, "mlp.in")])
    among_positions = (read[0][..., 16:] != 0).sum(-1)
    assert 0 < int(among_positions.sum()) < 3 * 10 * 6


def test_odd_sinusoids_end_in_zeros() -> None:
    table = sinusoids(12, 5)
    assert table.shape == (12, 5)
    assert torch.equal(table[:, :4], sinusoids(12, 4))
    assert not table[:, 4].any()
    first = 2 * np.pi * np.arange(12) / 4  # the shortest period is four tokens
    assert np.allclose(table[:, 0], np.sin(first), atol=1e-6)
    assert np.allclose(table[:, 3], np.cos(2 * np.pi * np.arange(12) / 12), atol=1e-6)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_variant_is_saved_and_loaded_whole(changes: dict[str, Any], tmp_path: Path) -> None:
    model = build(**changes)
    tokenizer = Tokenizer.train(["x = 1"], 300)
    means = reference_means(model, [tokens()])
    made = Checkpoint(model, tokenizer, means, step=1)
    made.save(tmp_path / "c")
    back = Checkpoint.load(tmp_path / "c")
    assert back.hash() == made.hash()
    assert torch.equal(back.model(tokens()), model(tokens()))
    assert set(back.require_means()) == set(sites(2))
    with torch.no_grad():
        back.model.logit_bias[7] += 1
    assert back.hash() != made.hash()


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_every_variant_looks_back_only_and_learns(changes: dict[str, Any]) -> None:
    model = build(**changes)
    changed = tokens().clone()
    changed[:, -1] = (changed[:, -1] + 1) % 300
    with torch.no_grad():
        gap = (model(tokens()) - model(changed)).abs().amax((0, 2))
    assert gap[:-1].max() < 1e-5 < gap[-1]
    model(tokens()).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or parameter.grad is not None, name


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_the_engine_computes_every_variant(changes: dict[str, Any]) -> None:
    model = build(**changes).double()
    taps = Taps(record=sites(2))
    with torch.no_grad():
        logits = model(tokens(), taps).numpy()
    trace = forward(sparse(model), tokens().numpy(), dtype=np.float64, record=True)
    assert np.abs(trace.logits - logits).max() < 1e-9
    for site, value in taps.values.items():
        assert np.abs(trace.sites[site] - value.numpy()).max() < 1e-9, site


def test_a_model_can_be_drawn_up_without_numbers() -> None:
    with torch.device("meta"):
        model = Transformer(
            ModelConfig(vocab_size=2048, d_model=65_536, n_head=4096, d_mlp=262_144)
        )
    assert sum(p.numel() for p in model.parameters()) > 10**11


def test_sparse_biases_are_an_option() -> None:
    model = build()
    kinds = ("dense", "sparse")
    for kind in kinds:
        config = SparsityConfig.parse({"density": 0.5, "embedding_density": 0.25, "biases": kind})
        optimizer = SparseAdamW(model, config, 10)
        model(tokens()).square().mean().backward()
        optimizer.step(9)
        nonzeros = int(layers(model)[0].mlp.read.bias.count_nonzero())
        assert nonzeros == (32 if kind == "dense" else 8)
