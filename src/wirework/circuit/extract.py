"""From a whole model and its gates to the lone network that computes the same thing.

Gates stand behind AbsTopK, so a kept node still competes with cut ones (design §2). Where an
AbsTopK holds a kept node, the rows of all its channels stay, with the columns of kept sources
(the weights into cut channels are the shadow weights); elsewhere, and where a gate stands before
the AbsTopK as well, only rows of kept channels stay.
What cut sources contribute is constant and goes into biases, in float64. Read sites compete over
the residual, which is known in full: the whole embedding and every write, kept or constant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wirework.circuit.cut import fold, through_heads, without_edges
from wirework.core import Edge, Site, WireworkError
from wirework.core.names import FINAL
from wirework.engine import Layer, Network, SiteGate
from wirework.engine.sparse import Floats

_T = TypeVar("_T", bound=np.generic)


def extract(
    network: Network,
    gates: Mapping[Site, SiteGate],
    outputs: NDArray[np.int64],
    cut: Collection[Edge] = (),
) -> Network:
    """The part of a whole `network` that its logits at tokens `outputs` need under `gates`.

    Equal to `forward(network with gates)` at every kept site and in the logits, to rounding. A
    site without a gate is kept whole. `cut`: edges whose targets see the constant of the source
    (`without_edges`). Raises `network-gated` where the network is itself a part, `edge-absent`,
    `edge-without-constant`.
    """
    if network.gates or network.outputs is not None:
        raise WireworkError(
            "network-gated", "a circuit is taken out of a whole model, and this is a part of one",
            expected="a network without gates, over the whole vocabulary",
        )  # fmt: skip
    gated = replace(network, gates=dict(gates))
    layers = tuple(_layer(gated, index) for index in range(len(network.layers)))
    final = Site(None, FINAL)
    rows = network.unembedding.take_rows(outputs)
    bias = network.unembedding_bias
    held = _cut_constants(gated, final)
    lone = replace(
        gated,
        layers=layers,
        unembedding=rows.select(cols=gated.kept(final)),
        unembedding_bias=fold(rows, None if bias is None else bias[outputs], held),
        bigram=None if network.bigram is None else np.ascontiguousarray(network.bigram[:, outputs]),
        outputs=np.asarray(outputs, dtype=np.int64),
    )
    return without_edges(lone, cut) if cut else lone


def _layer(gated: Network, index: int) -> Layer:
    layer = gated.layers[index]
    parts: dict[str, Any] = {}
    for name, source, target, bias in (
        ("q", "attn.in", "attn.q", layer.q_bias),
        ("k", "attn.in", "attn.k", layer.k_bias),
        ("v", "attn.in", "attn.v", layer.v_bias),
        ("mlp_in", "mlp.in", "mlp.neuron", layer.mlp_in_bias),
        ("mlp_out", "mlp.neuron", "mlp.out", layer.mlp_out_bias),
    ):
        matrix, read = layer.into(target), Site(index, source)
        rows = _needed_rows(gated, Site(index, target))
        held = _padded(_cut_constants(gated, read), matrix.shape[1])
        keep = _padded(gated.kept(read), matrix.shape[1], fill=True)
        needed = matrix.select(rows=rows)
        parts[name] = needed.select(cols=keep)
        parts[f"{name}_bias"] = fold(needed, _only(bias, rows), held)
    return replace(layer, **parts, **_attention_write(gated, index))


def _attention_write(gated: Network, index: int) -> dict[str, Any]:
    """A cut value channel gives its constant times its head's share of attention on real keys."""
    layer, v = gated.layers[index], Site(index, "attn.v")
    rows = _needed_rows(gated, Site(index, "attn.out"))
    needed = layer.attn_out.select(rows=rows)
    bias = _only(layer.attn_out_bias, rows)
    held = _cut_constants(gated, v)
    head_constant = None
    if layer.sink is None:
        bias = fold(needed, bias, held)
    elif held.any():
        head_constant = through_heads(needed, held, gated)
        head_constant = head_constant if head_constant.any() else None
    return {
        "attn_out": needed.select(cols=gated.kept(v)),
        "attn_out_bias": bias,
        "head_constant": head_constant,
    }


def _needed_rows(gated: Network, site: Site) -> NDArray[np.bool_]:
    """All channels of a site where cut ones compete with kept ones by what they compute."""
    kept, gate = gated.kept(site), gated.gates.get(site)
    by_value = gated.competes(site) and not (gate is not None and gate.before)
    return np.full(len(kept), bool(kept.any())) if by_value else kept


def _cut_constants(gated: Network, site: Site) -> NDArray[np.float64]:
    """The constant of every cut channel, 0 for kept ones."""
    gate = gated.gates.get(site)
    if gate is None:
        return np.zeros(gated.width(site))
    return np.where(gate.keep, 0.0, gate.constant)


def _padded(array: NDArray[_T], width: int, fill: bool = False) -> NDArray[_T]:
    """Position columns stand behind the channels; they are no nodes and stay."""
    return np.pad(array, (0, width - len(array)), constant_values=fill)


def _only(bias: Floats | None, rows: NDArray[np.bool_]) -> Floats | None:
    return None if bias is None or not rows.any() else np.where(rows, bias, bias.dtype.type(0))
