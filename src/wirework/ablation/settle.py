"""A gate on every channel of a site: open ones pass, closed ones take what they are held at."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wirework.ablation import settle_cpu
from wirework.model.memory import memory_of


def pass_gates(x: Tensor, gate: Tensor, held: Tensor, columns: Tensor | None = None) -> Tensor:
    """gate * x + (1 - gate) * held in x's dtype, of all channels or of some `columns` (n).

    x (N, d); gate (d), mostly 0 and 1; held (d); gate or held (N, d) where it differs by token. A
    gradient flows to all three; sums over the N rows are taken in the dtype of the gate.
    """
    plain = x.device.type != "cpu" or max(gate.dim(), held.dim()) > 1 or held.requires_grad
    if plain or x.dtype not in (torch.bfloat16, gate.dtype):
        return pass_gates_plain(x, gate, held, columns)
    passed: Tensor = _OnCPU.apply(x, gate, held.to(gate.dtype), columns)  # type: ignore[no-untyped-call]
    return passed


def pass_gates_plain(
    x: Tensor, gate: Tensor, held: Tensor, columns: Tensor | None = None
) -> Tensor:
    """The definition that the fast path is tested against."""
    mixed = (gate * x.to(gate.dtype) + (1 - gate) * held.to(gate.dtype)).to(x.dtype)
    return mixed if columns is None else mixed.index_select(-1, columns)


class _OnCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor, held: Tensor, columns: Tensor | None) -> Tensor:
        rows, width = x.shape
        columns = torch.arange(width) if columns is None else columns
        x = x.reshape(rows, 1, width).contiguous()
        out = torch.empty(rows, 1, len(columns), dtype=x.dtype)
        settle_cpu.pass_gates(
            *memory_of(x), gate.numpy(), held.numpy(), columns.numpy(), *memory_of(out)[:2]
        )
        ctx.save_for_backward(x, gate, held, columns)
        return out[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, gate, held, columns = ctx.saved_tensors
        slope = gradients[0].reshape(len(x), 1, -1).contiguous()
        of_x = torch.empty_like(x)
        of_gate = torch.empty((len(x) + 63) // 64, len(gate), dtype=gate.dtype)
        bits, floats, halves = memory_of(x)
        settle_cpu.gates_gradient(
            bits, floats, *memory_of(slope)[:2], halves, gate.numpy(), held.numpy(),
            columns.numpy(), *memory_of(of_x)[:2], of_gate.numpy(),
        )  # fmt: skip
        return of_x[:, 0], of_gate.sum(0), None, None
