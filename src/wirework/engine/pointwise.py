"""What acts on one vector or one number at a time: norms, GELU, ReLU, gates."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.engine.scalars import gelu
from wirework.engine.tiles import LANES, MANY, Floats

PARTS = 4
"""Sums over channels run in this many parts, entry i in part i % PARTS, added up in
order at the end: the same sum, to the last bit, whether many positions run together or one."""


def norm(x: Floats, gain: Floats, bias: Floats | None, eps: float, kind: str) -> Floats:
    """Tiles of x / sqrt(mean(x^2) + eps) * gain, over the channels; an exact zero stays zero.

    With kind `layer` the mean is taken away first; `bias` is added where there is one.
    """
    out = np.empty_like(x)
    gains = gain.astype(x.dtype, copy=False)
    shift = np.zeros(0, x.dtype) if bias is None else bias.astype(x.dtype, copy=False)
    kernel = _norm_many if len(x) > 1 and x.size >= MANY else _norm_few
    kernel(x, gains, shift, x.dtype.type(eps), kind == "layer", out)
    return out


@numba.njit(cache=True, parallel=True)
def _norm_many(x: Any, gain: Any, shift: Any, eps: Any, centred: bool, out: Any) -> None:
    for tile in numba.prange(len(x)):
        _norm_tile(x[tile], gain, shift, eps, centred, out[tile])


@numba.njit(cache=True)
def _norm_few(x: Any, gain: Any, shift: Any, eps: Any, centred: bool, out: Any) -> None:
    for tile in range(len(x)):
        _norm_tile(x[tile], gain, shift, eps, centred, out[tile])


@numba.njit(cache=True, error_model="numpy")
def _norm_tile(x: Any, gain: Any, shift: Any, eps: Any, centred: bool, out: Any) -> None:
    width = x.dtype.type(len(x))
    mean, scale = np.zeros(LANES, x.dtype), np.zeros(LANES, x.dtype)
    sums = np.zeros((PARTS, LANES), x.dtype)
    if centred:
        for i in range(len(x)):
            source, part = x[i], sums[i % PARTS]
            for lane in range(LANES):
                part[lane] += source[lane]
        for i in range(PARTS):
            for lane in range(LANES):
                mean[lane] += sums[i, lane]
        for lane in range(LANES):
            mean[lane] /= width
        sums[:] = 0
    for i in range(len(x)):
        source, part = x[i], sums[i % PARTS]
        for lane in range(LANES):
            part[lane] += (source[lane] - mean[lane]) * (source[lane] - mean[lane])
    for i in range(PARTS):
        for lane in range(LANES):
            scale[lane] += sums[i, lane]
    for lane in range(LANES):
        scale[lane] = x.dtype.type(1) / np.sqrt(scale[lane] / width + eps)
    for i in range(len(x)):
        source, target, factor = x[i], out[i], gain[i]
        for lane in range(LANES):
            target[lane] = (source[lane] - mean[lane]) * scale[lane] * factor
        if len(shift) > 0:
            for lane in range(LANES):
                target[lane] += shift[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def norm_row(x: Any, gain: Any, shift: Any, eps: Any, centred: bool, out: Any) -> None:
    """The same for one position."""
    width = x.dtype.type(len(x))
    mean = x.dtype.type(0)
    if centred:
        mean = _sum_row(x, mean, False) / width
    scale = x.dtype.type(1) / np.sqrt(_sum_row(x, mean, True) / width + eps)
    for i in range(len(x)):
        out[i] = (x[i] - mean) * scale * gain[i]
    for i in range(len(shift)):
        out[i] += shift[i]


@numba.njit(cache=True, nogil=True)
def _sum_row(x: Any, mean: Any, squared: bool) -> Any:
    """Sum of x - mean, or of its squares, in PARTS."""
    zero = x.dtype.type(0)
    a, b, c, d = zero, zero, zero, zero
    for i in range(0, len(x) - 3, PARTS):
        a += _term(x[i], mean, squared)
        b += _term(x[i + 1], mean, squared)
        c += _term(x[i + 2], mean, squared)
        d += _term(x[i + 3], mean, squared)
    rest = len(x) % PARTS
    if rest > 0:
        a += _term(x[len(x) - rest], mean, squared)
    if rest > 1:
        b += _term(x[len(x) - rest + 1], mean, squared)
    if rest > 2:
        c += _term(x[len(x) - 1], mean, squared)
    return ((a + b) + c) + d


@numba.njit(cache=True, nogil=True)
def _term(x: Any, mean: Any, squared: bool) -> Any:
    gap = x - mean
    return gap * gap if squared else gap


def activate(x: Floats, kind: str) -> Floats:
    """`gelu` (exact, by erf), `relu` or `identity`, in place."""
    if kind == "relu":
        np.maximum(x, x.dtype.type(0), out=x)
    elif kind == "gelu":
        kernel = _gelu_many if x.size >= MANY else _gelu_few
        kernel(x.reshape(-1, x.shape[-1]))
    return x


@numba.njit(cache=True, parallel=True)
def _gelu_many(x: Any) -> None:
    for row in numba.prange(len(x)):
        gelu_row(x[row])


@numba.njit(cache=True)
def _gelu_few(x: Any) -> None:
    for row in range(len(x)):
        gelu_row(x[row])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def gelu_row(x: Any) -> None:
    for i in range(len(x)):
        x[i] = gelu(x[i])


def hold(x: Floats, keep: NDArray[np.bool_], constant: NDArray[np.float64]) -> None:
    """In place: channels of the tiles that are not kept take their constant."""
    cut = np.flatnonzero(~keep)
    x[:, cut] = constant[cut, np.newaxis]


@numba.njit(cache=True, nogil=True)
def list_active(x: Any, active: Any) -> Any:
    """Write the indices of what is not zero into `active` (longer than x); returns their number."""
    count = 0
    for i in range(len(x)):
        # Written in any case, counted where it is not zero: there is nothing to predict.
        active[count] = i
        count += x[i] != 0
    return count
