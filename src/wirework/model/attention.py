"""Causal attention with a sink: written out, through torch's fused kernels, and on the CPU.

The sink is one more key, visible to every query, whose value is zero (weight_sparse_paper.md
§1.1). Shapes: B batch, H heads, T positions, K d_head. All paths compute the same function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wirework.model.memory import memory_of, parameter_memory, sum_dtype
from wirework.model.softmax_cpu import softmax, softmax_gradient

_WRITTEN_UP_TO = 1024
"""Longer prompts would fill the memory with scores."""


def attend(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
    """Attention over (B, H, T, K); `sink` (H) adds exp(sink) to each denominator, or is None."""
    if q.device.type != "cpu" or q.shape[-2] > _WRITTEN_UP_TO:
        return attend_fused(q, k, v, sink)
    if torch.compiler.is_compiling() or q.dtype == torch.float16:
        return attend_plain(q, k, v, sink)
    out: Tensor = _OnCPU.apply(q, k, v, sink)  # type: ignore[no-untyped-call]
    return out


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


class _OnCPU(torch.autograd.Function):
    """torch's products, and between them one pass over the scores in place of six."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None) -> Tensor:
        heads, length, width = q.shape[1:]
        ctx.scale = width**-0.5
        q = (q * ctx.scale).reshape(-1, length, width)
        k, v = k.reshape(q.shape), v.reshape(q.shape)
        share = torch.bmm(q, k.transpose(1, 2))
        logit = torch.zeros(heads) if sink is None else sink
        softmax(*memory_of(share), parameter_memory(logit.to(sum_dtype(share))), sink is not None)
        ctx.save_for_backward(q, k, v, share)
        ctx.has_sink, ctx.shape = sink is not None, (-1, heads, length, width)
        return torch.bmm(share, v).view(ctx.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        q, k, v, share = ctx.saved_tensors
        out = gradients[0].reshape(q.shape)
        of_v = torch.bmm(share.transpose(1, 2), out)
        score = torch.bmm(out, v.transpose(1, 2))
        of_sink = torch.zeros(len(q), dtype=sum_dtype(share))
        softmax_gradient(*memory_of(share), *memory_of(score)[:2], of_sink.numpy())
        of_q = torch.bmm(score, k) * ctx.scale
        of_k = torch.bmm(score.transpose(1, 2), q)
        total = of_sink.view(-1, ctx.shape[1]).sum(0) if ctx.has_sink else None
        return of_q.view(ctx.shape), of_k.view(ctx.shape), of_v.view(ctx.shape), total
