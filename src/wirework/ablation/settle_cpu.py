"""Gates behind AbsTopK on the CPU: one pass over every row, forward and backward."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from wirework.model.bits_cpu import narrow, widen

_BLOCK = 64
"""Rows whose share of the gates' gradient is summed together."""


@numba.njit(cache=True, parallel=True)
def pass_gates(
    bits: Any, floats: Any, halves: bool, gate: Any, held: Any, columns: Any,
    out_bits: Any, out_floats: Any,
) -> None:  # fmt: skip
    """gate * x + (1 - gate) * held for x (N, 1, d), in `bits` (bfloat16) where `halves`.

    Only `columns` (n) of it, as (N, 1, n) into `out_bits` or `out_floats`; gate, held (d).
    """
    rows = len(bits) if halves else len(floats)
    count, width = len(columns), len(gate)
    for n in numba.prange(rows):
        x, out = np.empty(width, gate.dtype), np.empty(count, gate.dtype)
        if halves:
            widen(bits[n, 0], x, width)
        else:
            x[:] = floats[n, 0]
        for j in range(count):
            c = columns[j]
            out[j] = gate[c] * x[c] + (1 - gate[c]) * held[c]
        if halves:
            narrow(out, np.float32(1), out_bits[n, 0], count)
        else:
            out_floats[n, 0, :] = out


@numba.njit(cache=True, parallel=True)
def gates_gradient(
    bits: Any, floats: Any, slope_bits: Any, slope_floats: Any, halves: bool, gate: Any, held: Any,
    columns: Any, of_bits: Any, of_floats: Any, of_gate: Any,
) -> None:  # fmt: skip
    """From the gradient of the output (N, 1, n): that of x (N, 1, d) into `of_bits` or
    `of_floats`, and that of the gates as one row for every 64, `of_gate` (ceil(N / 64), d)."""
    rows = len(bits) if halves else len(floats)
    count, width = len(columns), len(gate)
    for block in numba.prange(len(of_gate)):
        x, of_x = np.empty(width, gate.dtype), np.empty(width, gate.dtype)
        slope, part = np.empty(count, gate.dtype), np.zeros(width, gate.dtype)
        for n in range(block * _BLOCK, min(block * _BLOCK + _BLOCK, rows)):
            if halves:
                widen(bits[n, 0], x, width)
                widen(slope_bits[n, 0], slope, count)
            else:
                x[:] = floats[n, 0]
                slope[:] = slope_floats[n, 0]
            of_x[:] = 0
            for j in range(count):
                c = columns[j]
                part[c] += slope[j] * (x[c] - held[c])
                of_x[c] = slope[j] * gate[c]
            if halves:
                narrow(of_x, np.float32(1), of_bits[n, 0], width)
            else:
                of_floats[n, 0, :] = of_x
        of_gate[block] = part
