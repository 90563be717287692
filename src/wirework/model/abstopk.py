"""AbsTopK in torch: the k largest magnitudes along the last dimension survive, unscaled.

Behind one function: numba on the CPU, Triton on the GPU, a stable sort elsewhere. The kernels are
operators of torch, so that `torch.compile` goes through without a break.
"""

from __future__ import annotations

from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.engine.abstopk import mark_largest, write_largest, write_marked

_BITS = {
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def abs_top_k(x: Tensor, k: int | None) -> Tensor:
    """`x` (..., d) with all but the k largest magnitudes set to zero; unchanged where k is None.

    The gradient passes where an entry survived, also where it survived as a zero.
    """
    if k is None or k >= x.shape[-1]:
        return x
    if x.device.type == "cuda":
        return _split(x, k)[0]
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x * keep_factor(x, k)
    kept: Tensor = _OnCPU.apply(x, k)  # type: ignore[no-untyped-call]
    return kept


def keep_factor(x: Tensor, k: int) -> Tensor:
    """1 where x (..., d) is among the k largest magnitudes of its row, else 0, in x's dtype.

    Ties go to the lower index (design §6). No gradient passes through it.
    """
    x = x.detach()
    if x.device.type == "cuda" and k < x.shape[-1]:
        return _split(x, k)[1].to(x.dtype)
    if x.device.type != "cpu":
        return keep_factor_plain(x, k)
    # Called as an operator only where it must be: that alone takes 4 µs.
    factor: Tensor = (_on_cpu if torch.compiler.is_compiling() else _mark)(x, k)
    return factor


def keep_factor_plain(x: Tensor, k: int) -> Tensor:
    """The same by a stable sort: the definition that the fast path is tested against."""
    order = x.detach().abs().sort(dim=-1, descending=True, stable=True).indices
    return torch.zeros_like(x).scatter_(-1, order[..., :k], 1)


@cache
def has_triton() -> bool:
    """Whether the GPU's kernels can be built: torch brings Triton along on Linux only."""
    return find_spec("triton") is not None


def _mark(x: Tensor, k: int) -> Tensor:
    # Marks of the dtype of x: a product with booleans converts them, at 30 times the cost.
    kind = _BITS[x.dtype]
    factor = torch.empty(x.shape, dtype=x.dtype)
    one = torch.ones((), dtype=x.dtype).view(kind).numpy()[()]
    marks = factor.view(kind).numpy()
    mark_largest(x.contiguous().view(kind).numpy(), k, marks, one)
    return factor


class _OnCPU(torch.autograd.Function):
    """One pass over every row, while it is in the cache."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int) -> Tensor:
        kept = torch.empty(x.shape, dtype=x.dtype)
        marks = torch.empty(x.shape, dtype=torch.bool)
        write_largest(_rows(x), k, _rows(kept), _flat(marks).numpy())
        ctx.save_for_backward(marks)
        return kept

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (marks,) = ctx.saved_tensors
        slope = torch.empty(marks.shape, dtype=gradients[0].dtype)
        write_marked(_rows(gradients[0]), _flat(marks).numpy(), _rows(slope))
        return slope, None


def _flat(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _rows(x: Tensor) -> NDArray[Any]:
    """`x` (..., d) as the integers (N, d) that its bits spell; rows may stand apart in memory."""
    x = x.detach()
    rows = _flat(x if x.stride(-1) == 1 else x.contiguous())
    bits: NDArray[Any] = rows.view(_BITS[x.dtype]).numpy()
    return bits


@torch.library.custom_op("wirework::keep_factor", mutates_args=())
def _on_cpu(x: Tensor, k: int) -> Tensor:
    return _mark(x, k)


@_on_cpu.register_fake
def _shape_on_cpu(x: Tensor, k: int) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def _split(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    both: tuple[Tensor, Tensor] = _on_gpu(x, k)
    return both


@torch.library.custom_op("wirework::abs_top_k", mutates_args=())
def _on_gpu(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`x` with zeros, and booleans where it survived: on a GPU these cost a byte and no time."""
    if has_triton():
        from wirework.model import abstopk_cuda

        if x.shape[-1] <= abstopk_cuda.WIDEST:
            return abstopk_cuda.abs_top_k_with_marks(x, k)
    factor = keep_factor_plain(x, k)
    return x * factor, factor.bool()


@_on_gpu.register_fake
def _shapes_on_gpu(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), torch.empty(
        x.shape, dtype=torch.bool, device=x.device
    )


def _save_marks(ctx: Any, inputs: tuple[Tensor, int], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


@partial(_on_gpu.register_autograd, setup_context=_save_marks)
def _backward_on_gpu(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None]:
    return gradient * ctx.saved_tensors[0], None
