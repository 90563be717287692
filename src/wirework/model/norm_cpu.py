"""RMSNorm on the CPU: one pass over every row, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wirework.model.bits_cpu import narrow, widen

_BLOCK = 64
"""Rows whose share of the gain's gradient is summed together."""


@numba.njit(cache=True, parallel=True)
def rms_norm(
    x: Any, gain: Any, eps: float, bits: Any, floats: Any, halves: bool, scales: Any
) -> None:
    """x (N, d) / sqrt(mean(x^2) + eps) * gain, as (N, 1, d) into `bits` or `floats`.

    `bits` (bfloat16) where `halves`. `scales` (N) receives 1 / sqrt(mean(x^2) + eps).
    """
    width = x.shape[1]
    for n in numba.prange(len(x)):
        row = np.empty(width, x.dtype)
        scale = 1 / math.sqrt(_mean_of_squares(x[n]) + eps)
        scales[n] = scale
        for i in range(width):
            row[i] = x[n, i] * gain[i]
        if halves:
            narrow(row, np.float32(scale), bits[n, 0], width)
        else:
            for i in range(width):
                floats[n, 0, i] = row[i] * scale


@numba.njit(cache=True, parallel=True, fastmath={"contract"})
def rms_norm_gradient(
    x: Any, gain: Any, scales: Any, bits: Any, floats: Any, halves: bool, of_x: Any, of_gain: Any
) -> None:
    """From the gradient of the output (N, 1, d), in `bits` or `floats`: that of `x` (N, d), and
    that of the gain as one row for every 64 rows, `of_gain` (ceil(N / 64), d)."""
    width = x.shape[1]
    for block in numba.prange(len(of_gain)):
        slope = np.empty(width, x.dtype)
        part = np.zeros(width, x.dtype)
        for n in range(block * _BLOCK, min(block * _BLOCK + _BLOCK, len(x))):
            if halves:
                widen(bits[n, 0], slope, width)
            else:
                for i in range(width):
                    slope[i] = floats[n, 0, i]
            scale = x.dtype.type(scales[n])
            for i in range(width):
                part[i] += slope[i] * x[n, i] * scale
                slope[i] *= gain[i]
            along = _dot(slope, x[n]) / width * scale * scale
            for i in range(width):
                of_x[n, i] = (slope[i] - x[n, i] * along) * scale
        of_gain[block] = part


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _mean_of_squares(x: Any) -> Any:
    total = x[0] - x[0]
    for value in x:
        total += value * value
    return total / len(x)


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(x: Any, y: Any) -> Any:
    total = x[0] - x[0]
    for i in range(len(x)):
        total += x[i] * y[i]
    return total
