"""The model's weights as the engine's network: compressed, torch-free."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from wirework.engine import Layer as EngineLayer
from wirework.engine import Network, SparseMatrix
from wirework.model.config import LAYER_NORM_EPSILON, NORM_EPSILON, PLACES
from wirework.model.layers import Layer, LayerNorm, Norm
from wirework.model.transformer import Transformer


def sparse(model: Transformer) -> Network:
    """The whole model as a `Network`; weights keep their float32 or float64 values exactly."""
    config = model.config
    kept = {place: config.kept(place) for place in PLACES}
    layers = []
    for layer in model.layers:
        assert isinstance(layer, Layer)
        layers.append(_layer(layer))
    embedding = _matrix(model.embedding.weight)
    return Network(
        n_head=config.n_head,
        d_head=config.d_head,
        embedding=embedding,
        layers=tuple(layers),
        final_gain=_array(model.norm_final.gain),
        unembedding=embedding if config.tied else _matrix(model.unembedding.weight),
        activation=config.activation,
        topk={place: k for place, k in kept.items() if k is not None},
        eps=NORM_EPSILON if config.norm == "rms" else LAYER_NORM_EPSILON,
        norm=config.norm,
        residual=config.residual,
        final_norm_bias=_bias(model.norm_final),
        unembedding_bias=_array(model.logit_bias) if model.logit_bias.any() else None,
        position=config.position,
        position_in_topk=config.position == "concat" and config.position_in_topk,
        positions=_optional(model.positions),
        bigram=_optional(model.bigram),
    )


def _layer(layer: Layer) -> EngineLayer:
    q, k, v = layer.attn.qkv.weight.chunk(3)
    biases = (None,) * 3 if layer.attn.qkv.bias is None else layer.attn.qkv.bias.chunk(3)
    return EngineLayer(
        attn_gain=_array(layer.norm_attn.gain),
        q=_matrix(q),
        k=_matrix(k),
        v=_matrix(v),
        q_bias=_optional(biases[0]),
        k_bias=_optional(biases[1]),
        v_bias=_optional(biases[2]),
        sink=_optional(layer.attn.sink),
        attn_out=_matrix(layer.attn.out.weight),
        attn_out_bias=_optional(layer.attn.out.bias),
        mlp_gain=_array(layer.norm_mlp.gain),
        mlp_in=_matrix(layer.mlp.read.weight),
        mlp_in_bias=_optional(layer.mlp.read.bias),
        mlp_out=_matrix(layer.mlp.write.weight),
        mlp_out_bias=_optional(layer.mlp.write.bias),
        position_gain_attn=_gain(layer.norm_attn_position),
        position_gain_mlp=_gain(layer.norm_mlp_position),
        attn_norm_bias=_bias(layer.norm_attn),
        mlp_norm_bias=_bias(layer.norm_mlp),
        position_norm_bias_attn=_bias(layer.norm_attn_position),
        position_norm_bias_mlp=_bias(layer.norm_mlp_position),
    )


def _array(value: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().numpy()
    return np.ascontiguousarray(array).copy()


def _optional(value: Tensor | nn.Parameter | None) -> NDArray[Any] | None:
    return None if value is None else _array(value)


def _gain(norm: Norm | None) -> NDArray[Any] | None:
    return None if norm is None else _array(norm.gain)


def _bias(norm: Norm | None) -> NDArray[Any] | None:
    return _optional(norm.bias) if isinstance(norm, LayerNorm) else None


def _matrix(weight: Tensor) -> SparseMatrix:
    return SparseMatrix.from_dense(_array(weight))
