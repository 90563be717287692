"""RMSNorm in torch: one function behind which the CPU has a kernel of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wirework.model import norm_cpu
from wirework.model.config import NORM_EPSILON
from wirework.model.memory import memory_of, parameter_memory


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x (..., d) / sqrt(mean(x^2) + 2^-23) * gain (d); under autocast in the dtype of products.

    An exact zero stays zero.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.dtype != gain.dtype:
        return for_products(rms_norm_plain(x, gain))
    normed: Tensor = _OnCPU.apply(x, gain)  # type: ignore[no-untyped-call]
    return normed


def rms_norm_plain(x: Tensor, gain: Tensor) -> Tensor:
    """The same through torch, in the dtype of `x`."""
    return functional.rms_norm(x, gain.shape, gain, NORM_EPSILON)


def product_dtype(x: Tensor) -> torch.dtype:
    """The precision of the products that read `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def for_products(x: Tensor) -> Tensor:
    """`x` in the precision of the products that read it, so that AbsTopK has half to compare."""
    return x.to(product_dtype(x))


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        width = x.shape[-1]
        rows = x.reshape(-1, width).contiguous()
        out = torch.empty(len(rows), 1, width, dtype=product_dtype(x))
        scales = torch.empty(len(rows), dtype=x.dtype)
        x_memory, gain_memory = parameter_memory(rows), parameter_memory(gain)
        bits, floats, halves = memory_of(out)
        norm_cpu.rms_norm(x_memory, gain_memory, NORM_EPSILON, bits, floats, halves, scales.numpy())
        ctx.save_for_backward(rows, gain, scales)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        rows, gain, scales = ctx.saved_tensors
        slope = gradients[0].reshape(len(rows), 1, -1).contiguous()
        of_x = torch.empty_like(rows)
        of_gain = torch.empty((len(rows) + 63) // 64, rows.shape[1], dtype=rows.dtype)
        x_memory, gain_memory = parameter_memory(rows), parameter_memory(gain)
        bits, floats, halves = memory_of(slope)
        norm_cpu.rms_norm_gradient(
            x_memory, gain_memory, scales.numpy(), bits, floats, halves,
            of_x.numpy(), of_gain.numpy(),
        )  # fmt: skip
        return of_x.view(gradients[0].shape), of_gain.sum(0)
