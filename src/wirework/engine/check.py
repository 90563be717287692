"""Whether the parts of a network fit together: asked of every network that comes from a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.names import LAYER_SITES, sites
from wirework.engine.network import Layer, Network
from wirework.engine.sparse import SparseMatrix

TOPK_PLACES = (*LAYER_SITES, "resid.attn", "resid.mlp")
"""Where AbsTopK may stand; never at `final`."""


def check_network(network: Network) -> None:
    """Raises `network-malformed`, naming the first part of a wrong type, shape or value."""
    for fault in _faults(network):
        raise WireworkError("network-malformed", "the parts of a network do not fit", got=fault)


def _faults(network: Network) -> Iterator[str]:
    if min(network.n_head, network.d_head, network.d_model, network.vocab_size) < 1:
        yield "a width below 1"
    if network.activation not in ("gelu", "relu"):
        yield f"activation {network.activation!r}"
    if network.norm not in ("rms", "layer"):
        yield f"norm {network.norm!r}"
    if network.residual not in ("identity", "relu"):
        yield f"residual {network.residual!r}"
    if not (np.isfinite(network.eps) and network.eps > 0):
        yield f"eps {network.eps}"
    for place, k in network.topk.items():
        if place not in TOPK_PLACES or k < 1:
            yield f"AbsTopK of {k} at {place!r}"
    yield from _matrix("embedding", network.embedding, network.embedding.shape)
    yield from _position_faults(network)
    for index, layer in enumerate(network.layers):
        for fault in _layer_faults(network, layer):
            yield f"layer {index}: {fault}"
    yield from _output_faults(network)
    known = set(sites(len(network.layers)))
    for site, gate in network.gates.items():
        if site not in known:
            yield f"a gate at {site}, which the network lacks"
            continue
        shape = (network.width(site),)
        if gate.keep.dtype != np.bool_ or gate.keep.shape != shape:
            yield f"gate {site}: keep {gate.keep.dtype} {gate.keep.shape}"
        if gate.constant.dtype != np.float64:
            yield f"gate {site}: constants of type {gate.constant.dtype}"
        yield from _array(f"gate {site}", gate.constant, shape)


def _position_faults(network: Network) -> Iterator[str]:
    table = network.positions
    if network.position_in_topk and network.position != "concat":
        yield f"position {network.position!r} in AbsTopK"
    if network.position not in ("none", "add", "concat"):
        yield f"position {network.position!r}"
    if (table is None) != (network.position == "none"):
        yield f"position {network.position!r} with{'out' if table is None else ''} a table"
    if table is not None:
        if table.ndim != 2 or min(table.shape) < 1:
            yield f"positions of shape {table.shape}"
        width = network.d_model if network.position == "add" else table.shape[-1]
        yield from _array("positions", table, (len(table), width))


def _layer_faults(network: Network, layer: Layer) -> Iterator[str]:
    d, heads = network.d_model, network.n_head
    flat = heads * network.d_head
    concat = network.position == "concat" and network.positions is not None
    extra = network.positions.shape[1] if concat and network.positions is not None else 0
    neurons = layer.mlp_in.shape[0]
    if neurons < 1:
        yield "no neurons"
    yield from _array("attn_gain", layer.attn_gain, (d,))
    yield from _array("mlp_gain", layer.mlp_gain, (d,))
    yield from _array("attn_norm_bias", layer.attn_norm_bias, (d,))
    yield from _array("mlp_norm_bias", layer.mlp_norm_bias, (d,))
    for name in ("q", "k", "v"):
        yield from _matrix(name, getattr(layer, name), (flat, d + extra))
        yield from _array(f"{name}_bias", getattr(layer, f"{name}_bias"), (flat,))
    yield from _matrix("attn_out", layer.attn_out, (d, flat))
    yield from _matrix("mlp_in", layer.mlp_in, (neurons, d + extra))
    yield from _matrix("mlp_out", layer.mlp_out, (d, neurons))
    yield from _array("attn_out_bias", layer.attn_out_bias, (d,))
    yield from _array("mlp_in_bias", layer.mlp_in_bias, (neurons,))
    yield from _array("mlp_out_bias", layer.mlp_out_bias, (d,))
    yield from _array("sink", layer.sink, (heads,))
    yield from _array("head_constant", layer.head_constant, (d, heads))
    for place in ("attn", "mlp"):
        gain = getattr(layer, f"position_gain_{place}")
        bias = getattr(layer, f"position_norm_bias_{place}")
        if (gain is not None) != concat or (bias is not None and not concat):
            yield f"norms of positions and position {network.position!r}"
        yield from _array(f"position_gain_{place}", gain, (extra,))
        yield from _array(f"position_norm_bias_{place}", bias, (extra,))


def _output_faults(network: Network) -> Iterator[str]:
    vocab, outputs = network.vocab_size, network.outputs
    count = vocab
    if outputs is not None:
        count = outputs.size
        if outputs.ndim != 1 or outputs.dtype != np.int64 or count == 0:
            yield f"outputs {outputs.dtype} {outputs.shape}"
        elif outputs.min() < 0 or outputs.max() >= vocab or len(np.unique(outputs)) != count:
            yield "outputs that are not different tokens"
    yield from _array("final_gain", network.final_gain, (network.d_model,))
    yield from _array("final_norm_bias", network.final_norm_bias, (network.d_model,))
    yield from _matrix("unembedding", network.unembedding, (count, network.d_model))
    yield from _array("unembedding_bias", network.unembedding_bias, (count,))
    yield from _array("bigram", network.bigram, (vocab, count))


def _matrix(name: str, matrix: SparseMatrix, shape: tuple[int, int]) -> Iterator[str]:
    if matrix.shape != shape:
        yield f"{name} of shape {matrix.shape} where {shape} is needed"
    yield from _array(name, matrix.values, matrix.values.shape)


def _array(name: str, array: NDArray[Any] | None, shape: tuple[int, ...]) -> Iterator[str]:
    if array is None:
        return
    if array.dtype not in (np.float32, np.float64):
        yield f"{name} of type {array.dtype}"
    elif array.shape != shape:
        yield f"{name} of shape {array.shape} where {shape} is needed"
    elif not np.isfinite(array).all():
        yield f"{name} with numbers that are not finite"
