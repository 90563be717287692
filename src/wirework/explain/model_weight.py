"""Single weights of a model: where an edge stands, and its target shifted position by position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wirework.core import Edge, WireworkError
from wirework.core.names import EDGE_BLOCKS
from wirework.model import Transformer
from wirework.model.layers import Layer

_QKV = ("attn.q", "attn.k", "attn.v")


@dataclass(frozen=True, eq=False)
class ModelWeight:
    """One nonzero weight of a model: `row` and `column` of `linear`.

    `half`: which half layer it stands in, twice the layer, one more for the MLP.
    """

    edge: Edge
    linear: nn.Linear
    row: int
    column: int
    half: int

    @classmethod
    def of(cls, model: Transformer, edge: Edge) -> ModelWeight:
        """Raises `edge-absent` where the model has no such weight, or it is zero."""
        source, target = edge.source, edge.target
        layer, kind, width = target.site.layer, target.site.kind, model.config.width
        joined = (source.site.kind, kind) in EDGE_BLOCKS and source.site.layer == layer
        inside = joined and layer is not None and layer < model.config.n_layer
        if inside and source.index < width(source.site.kind) and target.index < width(kind):
            assert layer is not None
            linear = _into(model, layer, kind)
            row = target.index + (_QKV.index(kind) * width(kind) if kind in _QKV else 0)
            if linear.weight[row, source.index] != 0:
                half = 2 * layer + kind.startswith("mlp")
                return cls(edge, linear, row, source.index, half)
        raise WireworkError(
            "edge-absent", "an edge is no weight of this model",
            expected="one nonzero weight between two channels of one layer", got=str(edge),
        )  # fmt: skip

    @property
    def value(self) -> float:
        return float(self.linear.weight.detach()[self.row, self.column])


def _into(model: Transformer, index: int, kind: str) -> nn.Linear:
    layer = model.layers[index]
    assert isinstance(layer, Layer)
    if kind in _QKV:
        return layer.attn.qkv
    if kind == "attn.out":
        return layer.attn.out
    return layer.mlp.read if kind == "mlp.neuron" else layer.mlp.write


@contextmanager
def shifted(linear: nn.Linear, rows: list[int], shift: Tensor) -> Iterator[list[Tensor]]:
    """Adds `shift` (..., n) to `rows` (n) of what a matrix gives, before AbsTopK and activation.

    Within, the model runs so; the list that is yielded receives what the matrix reads (..., in).
    """
    seen: list[Tensor] = []
    index = torch.tensor(rows, device=linear.weight.device)

    def change(_: nn.Module, given: Any, out: Tensor) -> Tensor:
        seen.append(given[0].detach())
        return out.index_add(-1, index, shift)

    handle = linear.register_forward_hook(change)
    try:
        yield seen
    finally:
        handle.remove()
