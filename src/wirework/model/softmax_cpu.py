"""Softmax over keys and over the vocabulary on the CPU, in place, over what products have written.

bfloat16 travels as uint16 bits and is computed in float32. Every row is worked through by one
thread in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wirework.model.bits_cpu import narrow, widen


@numba.njit(cache=True, parallel=True)
def softmax(bits: Any, floats: Any, halves: bool, sink: Any, has_sink: bool) -> None:
    """Scores (N, T, T) -> shares of attention, zero for later keys; matrix n is of head n % H.

    They are in `bits` (bfloat16) where `halves`, else in `floats`; the other one is empty.
    `sink` (H).
    """
    count, length = len(bits) if halves else len(floats), floats.shape[2]
    if halves:
        length = bits.shape[2]
    padded = (length + 63) // 64 * 64
    for n in numba.prange(count):
        score = np.empty(padded, floats.dtype)
        share = np.empty(padded, floats.dtype)
        logit = sink[n % len(sink)]
        for t in range(length):
            # Whole vectors, so that no loop has a slow remainder.
            end = min((t + 64) // 64 * 64, padded)
            if halves:
                widen(bits[n, t], score, t + 1)
            else:
                score[: t + 1] = floats[n, t, : t + 1]
            for s in range(t + 1, end):
                score[s] = -np.inf
            top = _largest(score, end)
            if has_sink:
                top = max(top, logit)
            _exp(score, top, share, end)
            total = _sum(share, end)
            if has_sink:
                total += math.exp(logit - top)
            scale = 1 / total
            for s in range(end, padded):
                share[s] = 0
            if halves:
                narrow(share, np.float32(scale), bits[n, t], length)
            else:
                for s in range(length):
                    floats[n, t, s] = share[s] * scale


@numba.njit(cache=True, parallel=True)
def softmax_gradient(
    bits: Any, floats: Any, halves: bool, out_bits: Any, out_floats: Any, of_sink: Any
) -> None:
    """In `out_*` (N, T, T): the gradient of the shares becomes that of the scores, in place.

    `bits` and `floats` hold the shares, as `softmax` left them. `of_sink` (N): gradient of the
    sink's logit.
    """
    count, length = len(bits) if halves else len(floats), floats.shape[2]
    if halves:
        length = bits.shape[2]
    for n in numba.prange(count):
        share = np.empty(length, floats.dtype)
        slope = np.empty(length, floats.dtype)
        lost = of_sink[n] - of_sink[n]
        for t in range(length):
            if halves:
                widen(bits[n, t], share, t + 1)
                widen(out_bits[n, t], slope, t + 1)
            else:
                share[: t + 1] = floats[n, t, : t + 1]
                slope[: t + 1] = out_floats[n, t, : t + 1]
            mean = _dot(share, slope, t + 1)
            lost += (1 - _sum(share, t + 1)) * mean
            for s in range(t + 1):
                slope[s] = share[s] * (slope[s] - mean)
            for s in range(t + 1, length):
                slope[s] = 0
            if halves:
                narrow(slope, np.float32(1), out_bits[n, t], length)
            else:
                out_floats[n, t] = slope
        of_sink[n] = -lost


@numba.njit(cache=True, parallel=True)
def cross_entropy(
    bits: Any, floats: Any, halves: bool, table: Any, tokens: Any, targets: Any, losses: Any
) -> None:
    """Logits (N, 1, V) -> gradient of the mean cross-entropy, in place; `losses` (N) in nats.

    Row `tokens` (N) of `table` is added to the logits; an empty table adds nothing. `bits`,
    `floats` and `halves` as in `softmax`.
    """
    count, width = len(losses), floats.shape[2]
    if halves:
        width = bits.shape[2]
    for n in numba.prange(count):
        logit = np.empty(width, floats.dtype)
        share = np.empty(width, floats.dtype)
        if halves:
            widen(bits[n, 0], logit, width)
        else:
            logit[:] = floats[n, 0]
        if len(table) > 0:
            logit += table[tokens[n]]
        top = _largest(logit, width)
        _exp(logit, top, share, width)
        total = _sum(share, width)
        losses[n] = top + math.log(total) - logit[targets[n]]
        share[targets[n]] -= total
        scale = 1 / (total * count)
        if halves:
            narrow(share, np.float32(scale), bits[n, 0], width)
        else:
            for i in range(width):
                floats[n, 0, i] = share[i] * scale


@numba.njit(cache=True)
def _exp(x: Any, shift: Any, out: Any, count: int) -> None:
    """exp(x - shift) for x <= shift; in float32 as 2^n times a polynomial, to its rounding."""
    if x.itemsize == 8:
        for i in range(count):
            out[i] = math.exp(x[i] - shift)
        return
    half, one = np.float32(0.5), np.float32(1)
    for i in range(count):
        power = np.float32(np.float32(x[i]) - np.float32(shift)) * np.float32(1.4426950408889634)
        power = max(power, np.float32(-126))
        whole = np.floor(power + half)
        rest = (power - whole) * np.float32(0.6931471805599453)
        value = np.float32(1 / 720)
        value = value * rest + np.float32(1 / 120)
        value = value * rest + np.float32(1 / 24)
        value = value * rest + np.float32(1 / 6)
        value = value * rest + half
        value = value * rest + one
        value = value * rest + one
        exponent = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
        out[i] = value * exponent.view(np.float32)


@numba.njit(cache=True, fastmath={"reassoc", "nnan", "nsz"})
def _largest(x: Any, count: int) -> Any:
    top = x[0]
    for i in range(count):
        top = x[i] if x[i] > top else top
    return top


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _sum(x: Any, count: int) -> Any:
    total = x[0] - x[0]
    for i in range(count):
        total += x[i]
    return total


@numba.njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _dot(x: Any, y: Any, count: int) -> Any:
    total = x[0] - x[0]
    for i in range(count):
        total += x[i] * y[i]
    return total
