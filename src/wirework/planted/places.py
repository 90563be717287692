"""Where a planted model stands in a host that was made wider for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wirework.core import Node, Site
from wirework.core.names import sites
from wirework.model import ModelConfig
from wirework.model.layers import Layer


@dataclass(frozen=True)
class Block:
    """The places of one model in the wide one: residual channels, positions, heads, the channels
    of queries, keys and values, neurons. `sharper`: what queries and keys must be multiplied by
    where heads are wider."""

    residual: Tensor
    positions: Tensor
    heads: Tensor
    attention: Tensor
    neurons: Tensor
    sharper: float = 1.0


class Places:
    """`config`: of the wide model; `host`, `planted`: their blocks, the host's first; `sites`: of
    the planted model."""

    def __init__(self, host: ModelConfig, alone: ModelConfig) -> None:
        added = alone.d_position if alone.position == "concat" else 0
        self.config = ModelConfig.parse(
            {
                **host.plain(),
                "d_model": host.d_model + alone.d_model,
                "n_head": host.n_head + alone.n_head,
                "d_mlp": host.d_mlp + alone.d_mlp,
                "d_position": host.d_position + added,
                "position_table": "learned",
            }
        )
        self.sites = sites(alone.n_layer)
        self.host = Block(
            torch.arange(host.d_model),
            torch.arange(host.d_position),
            torch.arange(host.n_head),
            torch.arange(host.d_attn),
            torch.arange(host.d_mlp),
        )
        channels = torch.arange(alone.d_attn)
        heads = host.n_head + channels // alone.d_head
        self.planted = Block(
            host.d_model + torch.arange(alone.d_model),
            host.d_position + torch.arange(added),
            host.n_head + torch.arange(alone.n_head),
            heads * host.d_head + channels % alone.d_head,
            host.d_mlp + torch.arange(alone.d_mlp),
            (host.d_head / alone.d_head) ** 0.25,
        )

    def node(self, node: Node) -> Node:
        """Where a node of the planted model is in the wide one."""
        return Node(node.site, int(self._channels(node.site)[node.index]))

    def _channels(self, site: Site) -> Tensor:
        if site.kind in ("attn.q", "attn.k", "attn.v"):
            return self.planted.attention
        return self.planted.neurons if site.kind == "mlp.neuron" else self.planted.residual

    def copy_layer(self, layer: nn.Module, into: nn.Module, block: Block) -> None:
        """The weights of one layer into their block of the wide layer."""
        assert isinstance(layer, Layer) and isinstance(into, Layer)
        residual, width = block.residual, self.config.d_model
        read = torch.cat([residual, width + block.positions])
        for norm, wide in ((layer.norm_attn, into.norm_attn), (layer.norm_mlp, into.norm_mlp)):
            wide.gain[residual] = norm.gain
        for beside, wide_beside in (
            (layer.norm_attn_position, into.norm_attn_position),
            (layer.norm_mlp_position, into.norm_mlp_position),
        ):
            if beside is not None and wide_beside is not None:
                wide_beside.gain[block.positions] = beside.gain
        sharper = (block.sharper, block.sharper, 1.0)
        for part, factor in enumerate(sharper):
            rows = part * self.config.d_attn + block.attention
            mine = slice(part * len(block.attention), (part + 1) * len(block.attention))
            into.attn.qkv.weight[rows[:, None], read] = factor * layer.attn.qkv.weight[mine]
            into.attn.qkv.bias[rows] = factor * layer.attn.qkv.bias[mine]
        for linear, wide_linear, rows, columns in (
            (layer.attn.out, into.attn.out, residual, block.attention),
            (layer.mlp.read, into.mlp.read, block.neurons, read),
            (layer.mlp.write, into.mlp.write, residual, block.neurons),
        ):
            wide_linear.weight[rows[:, None], columns] = linear.weight
            wide_linear.bias[rows] = linear.bias
        assert into.attn.sink is not None
        # A sink so low takes nothing: as without one.
        into.attn.sink[block.heads] = -40.0 if layer.attn.sink is None else layer.attn.sink
