"""The parts of one layer: RMSNorm, attention with sinks, MLP.

Shapes: B batch, T positions, D d_model, I d_in (D, plus d_position when concatenated),
H heads, K d_head, M d_mlp.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from wirework.core import Site
from wirework.model.abstopk import abs_top_k
from wirework.model.config import NORM_EPSILON, ModelConfig
from wirework.model.taps import Taps

_PLAIN_UP_TO = 512


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * gain; no mean is taken away, so an exact zero stays zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.gain.shape, self.gain, NORM_EPSILON)


def attend(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """Causal attention over (B, H, T, K); `sink` (H) adds exp(sink) to each denominator.

    The sink is one more key, visible to every query, whose value is zero
    (weight_sparse_paper.md §1.1). Short prompts on a CPU take the plain path, which is quicker
    there; both paths compute the same function.
    """
    if q.device.type == "cpu" and q.shape[-2] <= _PLAIN_UP_TO:
        return attend_plain(q, k, v, sink)
    return attend_fused(q, k, v, sink)


def attend_plain(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """The definition, scores written out."""
    length = q.shape[-2]
    hidden = torch.full((length, length), -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2)) + hidden
    if sink is not None:
        logit = sink.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:2], length, 1)
        scores = torch.cat([logit, scores], -1)
    share = scores.softmax(-1)[..., -length:]
    return torch.matmul(share, v)


def attend_fused(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """Through torch's fused kernels.

    The sink's logit travels in an extra channel of queries and keys, and a query that nobody
    reads stands in front of the others, so that the plain causal mask fits and every kernel
    treats the sink exactly.
    """
    scale = q.shape[-1] ** -0.5
    if sink is None:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
    batch, heads, _, width = q.shape
    extra = 8 - width % 8  # multiples of 8 keep every fused kernel eligible
    one = torch.zeros(extra, dtype=q.dtype, device=q.device)
    one[0] = 1
    logit = (sink / scale).to(k.dtype).view(1, heads, 1, 1)
    q_all = torch.cat([q, one.expand(*q.shape[:-1], extra)], -1)
    q_all = functional.pad(q_all, (0, 0, 1, 0))
    sink_key = functional.pad(logit * one, (width, 0)).expand(batch, heads, 1, width + extra)
    k_all = torch.cat([sink_key, functional.pad(k, (0, extra))], -2)
    v_all = functional.pad(v, (0, extra, 1, 0))
    out = functional.scaled_dot_product_attention(q_all, k_all, v_all, is_causal=True, scale=scale)
    return out[:, :, 1:, :width]


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
            part = taps(Site(self.layer, kind), abs_top_k(part, self.config.kept(kind)))
            heads.append(part.view(*part.shape[:-1], self.config.n_head, self.config.d_head))
        q, k, v = (part.transpose(1, 2) for part in heads)
        # Without autocast: softmax would go to float32, which costs more than all products.
        with torch.autocast(x.device.type, enabled=False):
            y = attend(q, k, v, self.sink).transpose(1, 2).flatten(2)
        out = abs_top_k(self.out(y), self.config.kept("attn.out"))
        return taps(Site(self.layer, "attn.out"), out)


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
        neuron = taps(Site(self.layer, "mlp.neuron"), neuron)
        out = abs_top_k(self.write(neuron), self.config.kept("mlp.out"))
        return taps(Site(self.layer, "mlp.out"), out)


class Layer(nn.Module):
    """r + Attn(norm(r)), then r + MLP(norm(r))."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.config = config
        self.layer = layer
        concat = config.position == "concat"
        self.norm_attn = RMSNorm(config.d_model)
        self.norm_mlp = RMSNorm(config.d_model)
        self.norm_attn_position = RMSNorm(config.d_position) if concat else None
        self.norm_mlp_position = RMSNorm(config.d_position) if concat else None
        self.attn = Attention(config, layer)
        self.mlp = MLP(config, layer)

    def forward(self, r: Tensor, positions: Tensor | None, taps: Taps) -> Tensor:
        kept = self.config.kept
        x = taps(Site(self.layer, "attn.in"), abs_top_k(self.norm_attn(r), kept("attn.in")))
        x = _with_positions(x, positions, self.norm_attn_position)
        r = abs_top_k(r + self.attn(x, taps), kept("resid.attn"))
        x = taps(Site(self.layer, "mlp.in"), abs_top_k(self.norm_mlp(r), kept("mlp.in")))
        x = _with_positions(x, positions, self.norm_mlp_position)
        return abs_top_k(r + self.mlp(x, taps), kept("resid.mlp"))


def _with_positions(x: Tensor, positions: Tensor | None, norm: RMSNorm | None) -> Tensor:
    if positions is None or norm is None:
        return x
    rows = norm(positions).to(x.dtype).expand(x.shape[0], -1, -1)
    return torch.cat([x, rows], -1)
