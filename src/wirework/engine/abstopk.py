"""AbsTopK on the CPU: keep the k entries of largest magnitude in every row, zero the rest.

Ties go to the lower index, so exactly k entries survive. Magnitudes are compared as the integers
that their bits spell (the order is the same), which lets one kernel serve bf16, float32, float64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

_MANY = 1 << 16
"""Entries from which on waking other threads pays."""

_BITS_TYPE = {2: np.int16, 4: np.int32, 8: np.int64}


def keep_largest(values: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Mask of the k entries of largest magnitude in every row of `values` (..., d), as booleans.

    `values` holds float32, float64 or any 2-byte float seen as int16; 1 <= k. Larger magnitude
    first, then lower index (design §6). NaN counts as larger than everything.
    """
    keep = np.empty(values.shape, dtype=np.bool_)
    mark_largest(values, k, keep, np.True_)
    return keep


def mark_largest(values: NDArray[Any], k: int, marks: NDArray[Any], one: Any) -> None:
    """Write `one` into `marks` (same shape, C order) where `keep_largest` is true, else 0."""
    width = values.shape[-1]
    if k >= width:
        marks.fill(one)
        return
    bits = np.ascontiguousarray(values).view(_BITS_TYPE[values.dtype.itemsize])
    magnitude = bits.dtype.type(np.iinfo(bits.dtype).max)
    mark = _mark_many if bits.size >= _MANY else _mark_few
    mark(bits.reshape(-1, width), k, magnitude, marks.reshape(-1, width), one)


_BLOCK = 32
"""Rows that one thread takes in turn, each starting its search at the border of the one before."""


def write_largest(
    values: NDArray[Any], k: int, out: NDArray[Any], marks: NDArray[np.bool_]
) -> None:
    """`keep_largest` into `marks` and, in the same pass, the values that it keeps into `out`.

    `values` (N, d) may have rows that stand apart in memory; `out` and `marks` (N, d).
    """
    kind: np.dtype[Any] = np.dtype(_BITS_TYPE[values.dtype.itemsize])
    count, width = values.shape
    stride = values.strides[0] // kind.itemsize
    assert values.strides[1] == kind.itemsize and stride * kind.itemsize == values.strides[0]
    # One line of memory: numba could not use vectors on rows whose inner stride it does not know.
    line = as_strided(values, ((count - 1) * stride + width,), (kind.itemsize,)).view(kind)
    magnitude = kind.type(np.iinfo(kind).max)
    write = _write_many if values.size >= _MANY else _write_few
    write(line, stride, min(k, width), magnitude, out.view(kind), marks)


def write_marked(values: NDArray[Any], marks: NDArray[np.bool_], out: NDArray[Any]) -> None:
    """`values` where `marks` is true, else 0, into `out`; all (N, d)."""
    kind = _BITS_TYPE[values.dtype.itemsize]
    _write_marked(values.view(kind), marks, out.view(kind))


@numba.njit(cache=True, parallel=True)
def _write_many(line: Any, stride: int, k: int, magnitude: Any, out: Any, marks: Any) -> None:
    for block in numba.prange((len(out) + _BLOCK - 1) // _BLOCK):
        first = block * _BLOCK
        last = min(first + _BLOCK, len(out))
        part = line[first * stride :]
        _write_few(part, stride, k, magnitude, out[first:last], marks[first:last])


@numba.njit(cache=True)
def _write_few(line: Any, stride: int, k: int, magnitude: Any, out: Any, marks: Any) -> None:
    width = out.shape[1]
    size = np.empty(width, line.dtype)
    zero = magnitude ^ magnitude
    guess = np.int64(0)
    for row in range(len(out)):
        bits = line[row * stride : row * stride + width]
        guess = _border(bits, k, magnitude, size, guess)
        border = line.dtype.type(guess)
        ties = k
        for i in range(width):
            above = size[i] > border
            ties -= above
            marks[row, i] = above
            out[row, i] = bits[i] if above else zero
        i = 0
        while ties > 0:
            if size[i] == border:
                marks[row, i] = True
                out[row, i] = bits[i]
                ties -= 1
            i += 1


@numba.njit(cache=True, parallel=True)
def _write_marked(values: Any, marks: Any, out: Any) -> None:
    width = values.shape[1]
    zero = values.dtype.type(0)
    for row in numba.prange(len(values)):
        for i in range(width):
            out[row, i] = values[row, i] if marks[row, i] else zero


@numba.njit(cache=True, parallel=True)
def _mark_many(bits: Any, k: int, magnitude: Any, marks: Any, one: Any) -> None:
    for row in numba.prange(len(bits)):
        _mark_row(bits[row], k, magnitude, marks[row], one)


@numba.njit(cache=True)
def _mark_few(bits: Any, k: int, magnitude: Any, marks: Any, one: Any) -> None:
    for row in range(len(bits)):
        _mark_row(bits[row], k, magnitude, marks[row], one)


@numba.njit(cache=True)
def _mark_row(bits: Any, k: int, magnitude: Any, marks: Any, one: Any) -> None:
    size = np.empty(len(bits), bits.dtype)
    border = bits.dtype.type(_border(bits, k, magnitude, size, np.int64(0)))
    zero = one ^ one
    ties = k
    for i in range(len(bits)):
        above = size[i] > border
        ties -= above
        marks[i] = one if above else zero
    i = 0
    while ties > 0:
        if size[i] == border:
            marks[i] = one
            ties -= 1
        i += 1


@numba.njit(cache=True)
def _border(bits: Any, k: int, magnitude: Any, size: Any, guess: Any) -> Any:
    """A magnitude that at least k entries of a row reach and fewer than k exceed.

    `size` receives the magnitudes.
    `magnitude` masks the sign bit away; it also carries the integer type of the row. The search
    starts at `guess` (0: unknown) and widens its steps before it halves what is left.
    """
    width = len(bits)
    largest = magnitude ^ magnitude
    for i in range(width):
        size[i] = bits[i] & magnitude
        largest = max(largest, size[i])
    # At least k entries are >= low, fewer than k are > high.
    low, high = np.int64(0), np.int64(largest)
    trial = min(guess, high) if guess > 0 else high // 2 + 1
    step = np.int64(4) if guess > 0 else high
    while low < high:
        border = bits.dtype.type(trial)
        count = 0
        for i in range(width):
            count += size[i] >= border
        if count == k:
            return trial
        if count > k:
            low = trial
            trial = low + min(step, (high - low + 1) // 2)
        else:
            high = trial - 1
            trial = high + 1 - min(step, (high - low + 1) // 2)
        step = high if step > high // 4 else step * 4
    return low
