"""AbsTopK on the CPU: keep the k entries of largest magnitude in every row, zero the rest.

Ties go to the lower index, so exactly k entries survive. Magnitudes are compared as the integers
that their bits spell (the order is the same), which lets one kernel serve bf16, float32, float64.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
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
    """`magnitude` masks the sign bit away; it also carries the integer type of the row."""
    width = len(bits)
    zero = one ^ one
    size = np.empty(width, bits.dtype)
    largest = magnitude ^ magnitude
    for i in range(width):
        size[i] = bits[i] & magnitude
        largest = max(largest, size[i])
    # Bisect for the k-th largest: at least k entries are >= low, fewer than k are > high.
    low, high = np.int64(0), np.int64(largest)
    count = width
    while low < high and count != k:
        middle = low + (high - low + 1) // 2
        trial = bits.dtype.type(middle)
        count = 0
        for i in range(width):
            count += size[i] >= trial
        if count >= k:
            low = middle
        else:
            high = middle - 1
    border = bits.dtype.type(low)
    ties = k
    for i in range(width):
        above = size[i] > border
        ties -= above
        marks[i] = one if above else zero
    for i in range(width):
        if ties == 0:
            break
        if size[i] == border:
            marks[i] = one
            ties -= 1
