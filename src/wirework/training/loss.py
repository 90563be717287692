"""Next-token loss of a window, without holding the logits of all its tokens at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wirework.model import Transformer

_ROWS = 256  # logits of so many tokens stay in the cache of one core


def next_token_loss(model: Transformer, windows: Tensor) -> Tensor:
    """Mean cross-entropy in nats of windows (B, T+1) of tokens, to be differentiated."""
    tokens, targets = windows[:, :-1], windows[:, 1:]
    final = model.read_out(tokens).flatten(0, 1)
    weight = model.unembedding.weight
    if torch.is_autocast_enabled(final.device.type):
        final = final.to(torch.get_autocast_dtype(final.device.type))
    result: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        final, weight, model.bigram, tokens.flatten(), targets.flatten()
    )
    return result


def plain_next_token_loss(model: Transformer, windows: Tensor) -> Tensor:
    """The same from all logits: the definition that `next_token_loss` is tested against."""
    logits = model(windows[:, :-1])
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass over pieces of the rows; the logits live in a cache.

    final (N, D) in the dtype of the products; weight (V, D); bigram (V, V) or None.
    """

    @staticmethod
    def forward(
        ctx: Any,
        final: Tensor,
        weight: Tensor,
        bigram: Tensor | None,
        tokens: Tensor,
        targets: Tensor,
    ) -> Tensor:
        count = len(final)
        exact = torch.float64 if final.dtype == torch.float64 else torch.float32
        with torch.autocast(final.device.type, enabled=False):
            matrix = weight.detach().to(final.dtype)
            d_final = torch.empty_like(final)
            d_weight = torch.zeros_like(weight, dtype=exact)
            learned = bigram is not None and bigram.requires_grad
            d_bigram = torch.zeros_like(bigram) if bigram is not None and learned else None
            total = torch.zeros((), dtype=exact, device=final.device)
            for start in range(0, count, _ROWS):
                rows = slice(start, start + _ROWS)
                logits = (final[rows] @ matrix.T).to(exact)
                if bigram is not None:
                    logits += bigram.detach()[tokens[rows]]
                right = targets[rows, None]
                top = logits.amax(-1, keepdim=True)
                total += (top - logits.gather(-1, right)).sum()
                share = logits.sub_(top).exp_()
                sums = share.sum(-1, keepdim=True)
                total += sums.log().sum()
                gradient = share.div_(sums * count)
                gradient.scatter_add_(-1, right, torch.full_like(sums, -1 / count))
                if d_bigram is not None:
                    d_bigram.index_add_(0, tokens[rows], gradient.to(d_bigram.dtype))
                small = gradient.to(final.dtype)
                d_final[rows] = small @ matrix
                d_weight += small.T @ final[rows]
        ctx.save_for_backward(d_final, d_weight.to(weight.dtype), d_bigram)
        return total / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        d_final, d_weight, d_bigram = ctx.saved_tensors
        scale = gradients[0]
        scaled = None if d_bigram is None else d_bigram * scale
        return d_final * scale.to(d_final.dtype), d_weight * scale, scaled, None, None
