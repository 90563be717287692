"""AbsTopK in torch: the k largest magnitudes along the last dimension survive, unscaled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wirework.engine.abstopk import mark_largest

_BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def keep_factor(x: Tensor, k: int) -> Tensor:
    """1 where x (..., d) is among the k largest magnitudes of its row, else 0, in x's dtype.

    Ties go to the lower index (design §6).
    """
    if x.device.type != "cpu":
        return keep_factor_plain(x, k)
    # Marks of the dtype of x: a product with booleans converts them, at 30 times the cost.
    kind = _BITS[x.dtype]
    factor = torch.empty(x.shape, dtype=x.dtype)
    one = torch.ones((), dtype=x.dtype).view(kind).numpy()[()]
    marks = factor.view(kind).numpy()
    mark_largest(x.detach().contiguous().view(kind).numpy(), k, marks, one)
    return factor


def keep_factor_plain(x: Tensor, k: int) -> Tensor:
    """The same by a stable sort: the definition that the fast path is tested against."""
    order = x.detach().abs().sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(x).scatter_(-1, order[..., :k], 1)


class _AbsTopK(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        factor = keep_factor(x, k)
        ctx.save_for_backward(factor)
        return x * factor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (factor,) = ctx.saved_tensors
        return gradients[0] * factor, None


def abs_top_k(x: Tensor, k: int | None) -> Tensor:
    """`x` (..., d) with all but the k largest magnitudes set to zero; unchanged where k is None."""
    if k is None or k >= x.shape[-1]:
        return x
    result: Tensor = _AbsTopK.apply(x, k)  # type: ignore[no-untyped-call]
    return result
