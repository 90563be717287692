"""Next-token cross-entropy, the bigram row of every token included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wirework.model.memory import memory_of, parameter_memory, sum_dtype
from wirework.model.softmax_cpu import cross_entropy


def next_token_loss(
    logits: Tensor, tokens: Tensor, targets: Tensor, bigram: Tensor | None
) -> Tensor:
    """Mean cross-entropy in nats, summed in float32 (float64 where the logits are).

    `logits` (N, V) without the bigram rows; `tokens` (N) choose the rows of `bigram` (V, V) that
    are added; `targets` (N). On the CPU the memory of `logits` is used up: it receives the
    gradient.
    """
    if logits.device.type != "cpu" or torch.compiler.is_compiling():
        return next_token_loss_plain(logits, tokens, targets, bigram)
    loss: Tensor = _OnCPU.apply(logits, tokens, targets, bigram)  # type: ignore[no-untyped-call]
    return loss


def next_token_loss_plain(
    logits: Tensor, tokens: Tensor, targets: Tensor, bigram: Tensor | None
) -> Tensor:
    """The definition, through torch."""
    logits = logits.to(sum_dtype(logits))
    if bigram is not None:
        logits = logits + functional.embedding(tokens, bigram)
    return functional.cross_entropy(logits, targets)


class _OnCPU(torch.autograd.Function):
    """Loss and gradient in one pass over every row, while it is in the cache."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, tokens: Tensor, targets: Tensor, bigram: Tensor | None
    ) -> Tensor:
        logits = logits.contiguous()
        table = torch.empty(0, 0) if bigram is None else bigram
        losses = torch.empty(len(logits), dtype=sum_dtype(logits))
        cross_entropy(
            *memory_of(logits[:, None]),
            parameter_memory(table.to(losses.dtype)),
            tokens.numpy(), targets.numpy(), losses.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(logits, tokens)
        ctx.learned = bigram is not None and bigram.requires_grad
        return losses.mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor | None]:
        logits, tokens = ctx.saved_tensors
        slope = logits if gradients[0] == 1 else logits * gradients[0].to(logits.dtype)
        if not ctx.learned:
            return slope, None, None, None
        size = slope.shape[1]
        rows = torch.zeros(size, size, dtype=sum_dtype(slope))
        return slope, None, None, rows.index_add_(0, tokens, slope.to(rows.dtype))
