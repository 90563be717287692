"""The parts of one layer: norms, attention with sinks, MLP.

Shapes: B batch, T positions, D d_model, I d_in (D, plus d_position when concatenated),
H heads, K d_head, M d_mlp.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wirework.model.abstopk import abs_top_k
from wirework.model.attention import attend
from wirework.model.config import LAYER_NORM_EPSILON, ModelConfig
from wirework.model.norm import for_products, rms_norm
from wirework.model.taps import Taps


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * gain; no mean is taken away, so an exact zero stays zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.gain)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * gain + bias; `bias` is None where there is none."""

    def __init__(self, width: int, with_bias: bool) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if with_bias else None

    def forward(self, x: Tensor) -> Tensor:
        shape = self.gain.shape
        return for_products(
            functional.layer_norm(x, shape, self.gain, self.bias, LAYER_NORM_EPSILON)
        )


Norm = RMSNorm | LayerNorm


def make_norm(config: ModelConfig, width: int) -> Norm:
    """The norm that the configuration asks for, over `width` channels."""
    return RMSNorm(width) if config.norm == "rms" else LayerNorm(width, config.norm_bias)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.qkv = nn.Linear(config.d_in, 3 * config.d_attn, bias=config.bias)
        self.out = nn.Linear(config.d_attn, config.d_model, bias=config.bias)
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sink else None

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        """x (B, T, I) -> (B, T, D)."""
        heads = []
        for name, part in zip("qkv", self.qkv(x).chunk(3, dim=-1), strict=True):
            kind = f"attn.{name}"
            part = taps.at(self.layer, kind, abs_top_k(part, self.config.kept(kind)))
            heads.append(part.view(*part.shape[:-1], self.config.n_head, self.config.d_head))
        q, k, v = (part.transpose(1, 2) for part in heads)
        # Without autocast: softmax would go to float32, which costs more than all products.
        with torch.autocast(x.device.type, enabled=False):
            y = attend(q, k, v, self.sink).transpose(1, 2).flatten(2)
        out = abs_top_k(self.out(y), self.config.kept("attn.out"))
        return taps.at(self.layer, "attn.out", out)


class MLP(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        self.read = nn.Linear(config.d_in, config.d_mlp, bias=config.bias)
        self.write = nn.Linear(config.d_mlp, config.d_model, bias=config.bias)

    def forward(self, x: Tensor, taps: Taps) -> Tensor:
        """x (B, T, I) -> (B, T, D)."""
        act = functional.gelu if self.config.activation == "gelu" else functional.relu
        neuron = abs_top_k(act(self.read(x)), self.config.kept("mlp.neuron"))
        neuron = taps.at(self.layer, "mlp.neuron", neuron)
        out = abs_top_k(self.write(neuron), self.config.kept("mlp.out"))
        return taps.at(self.layer, "mlp.out", out)


class Layer(nn.Module):
    """r + Attn(norm(r)), then r + MLP(norm(r))."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        concat = config.position == "concat"
        self.norm_attn = make_norm(config, config.d_model)
        self.norm_mlp = make_norm(config, config.d_model)
        self.norm_attn_position = make_norm(config, config.d_position) if concat else None
        self.norm_mlp_position = make_norm(config, config.d_position) if concat else None
        self.attn = Attention(config, layer)
        self.mlp = MLP(config, layer)

    def forward(self, r: Tensor, positions: Tensor | None, taps: Taps) -> Tensor:
        return self.after_mlp(self.after_attention(r, positions, taps), positions, taps)

    def after_attention(self, r: Tensor, positions: Tensor | None, taps: Taps) -> Tensor:
        """The residual (B, T, D) after the first half; `positions` (T, P) stand beside it."""
        x = self._read("attn.in", self.norm_attn(r), positions, self.norm_attn_position, taps)
        return self._settle("resid.attn", r + self.attn(x, taps))

    def after_mlp(self, r: Tensor, positions: Tensor | None, taps: Taps) -> Tensor:
        """The residual after the second half, which looks at each position by itself."""
        x = self._read("mlp.in", self.norm_mlp(r), positions, self.norm_mlp_position, taps)
        return self._settle("resid.mlp", r + self.mlp(x, taps))

    def _read(
        self, kind: str, x: Tensor, positions: Tensor | None, norm: Norm | None, taps: Taps
    ) -> Tensor:
        """What attention or MLP reads: x (B, T, D), and normed positions beside it, (B, T, I)."""
        k, width = self.config.kept(kind), x.shape[-1]
        rows = _normed_rows(positions, norm, x)
        if rows is not None and self.config.position_in_topk:
            both = abs_top_k(torch.cat([x, rows], -1), k)
            x, rows = both[..., :width], both[..., width:]
        else:
            x = abs_top_k(x, k)
        x = taps.at(self.layer, kind, x)
        return x if rows is None else torch.cat([x, rows], -1)

    def _settle(self, place: str, r: Tensor) -> Tensor:
        """The residual after an addition."""
        if self.config.residual == "relu":
            r = functional.relu(r)
        return abs_top_k(r, self.config.kept(place))


def _normed_rows(positions: Tensor | None, norm: Norm | None, like: Tensor) -> Tensor | None:
    """Rows (T, P) to concatenate, normed, once for every prompt of `like`; None without."""
    if positions is None or norm is None:
        return None
    normed: Tensor = norm(positions)
    return normed.to(like.dtype).expand(like.shape[0], -1, -1)
