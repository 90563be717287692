"""Arrays on disk: sparse matrices as values and gaps, halved numbers, a bigram table in 8 bits.

A matrix of shape (rows, columns) is read row by row. `gaps` holds, for each nonzero, how many
places it stands after the one before (the first: after place -1), in bytes of 7 bits, the lowest
first; a byte with its highest bit set is not the last of its number (LEB128).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError

Parts = dict[str, NDArray[Any]]

_LONGEST = 9  # bytes of one gap


def pack(matrix: NDArray[np.float32]) -> Parts:
    """Arrays `values`, `gaps`, `shape` that `unpack` turns back, to the bit but for signs of zeros.

    Values that bfloat16 holds exactly take two bytes, others four.
    """
    flat = matrix.reshape(-1)
    places = np.flatnonzero(flat)
    shape = np.asarray(matrix.shape, dtype=np.int64)
    return {"values": halve(flat[places]), "gaps": _gaps(places), "shape": shape}


def unpack(parts: Parts, name: str) -> NDArray[np.float32]:
    """Inverse of `pack`. Raises `checkpoint-damaged` where the arrays do not fit together."""
    shape = tuple(int(n) for n in parts["shape"].reshape(-1))
    if all(n > 0 for n in shape) and parts["gaps"].dtype == np.uint8:
        values, places = widen(parts["values"]), _places(parts["gaps"])
        inside = len(places) == 0 or places[-1] < np.prod(shape)
        if values is not None and len(places) == len(values) and inside:
            flat = np.zeros(int(np.prod(shape)), dtype=np.float32)
            flat[places] = values
            return flat.reshape(shape)
    raise WireworkError(
        "checkpoint-damaged", f"the sparse matrix {name} does not fit its shape {shape}"
    )


def halve(values: NDArray[np.float32]) -> NDArray[Any]:
    """The upper halves of float32 numbers where the lower ones are empty, as uint16; else as is."""
    words = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return values if np.any(words & 0xFFFF) else (words >> 16).astype(np.uint16)


def widen(values: NDArray[Any]) -> NDArray[np.float32] | None:
    """Inverse of `halve`; None for an array that it never gives."""
    if values.dtype == np.float32:
        return values
    if values.dtype != np.uint16:
        return None
    return (values.astype(np.uint32) << 16).view(np.float32)


def pack_bigram(table: NDArray[np.float32], rare: float = 0.5) -> Parts:
    """A table (V, V) of log-probabilities in about a byte for every entry that stands out.

    Most entries are near the sum of a number of their row and a number of their column, as the
    smoothing of counts leaves them. `row` (V), `column` (V); of every entry that exceeds the sum by
    `rare` nats or more, `codes` holds the excess in steps of `step`.
    """
    size = len(table)
    row, column = _rank_one(table)
    excess = table - (row[:, None] + column)
    places = np.flatnonzero(excess >= rare)
    over = excess.reshape(-1)[places]
    step = np.float32(max(float(over.max(initial=1.0)) / 255, 1e-6))
    codes = np.clip(np.round(over / step), 1, 255).astype(np.uint8)
    return {
        "row": row,
        "column": column,
        "step": np.asarray([step], dtype=np.float32),
        "codes": codes,
        "gaps": _gaps(places),
        "shape": np.asarray([size, size], dtype=np.int64),
    }


def unpack_bigram(parts: Parts, name: str) -> NDArray[np.float32]:
    """The table that `pack_bigram` stands for. Raises `checkpoint-damaged`."""
    row, column, step, codes = (parts[key] for key in ("row", "column", "step", "codes"))
    floats = all(array.dtype == np.float32 for array in (row, column, step))
    if floats and codes.dtype == np.uint8 and parts["gaps"].dtype == np.uint8 and len(step) == 1:
        table = (row[:, None] + column).astype(np.float32)
        places = _places(parts["gaps"])
        if len(places) == len(codes) and (len(places) == 0 or places[-1] < table.size):
            table.reshape(-1)[places] += codes.astype(np.float32) * step[0]
            return table
    raise WireworkError("checkpoint-damaged", f"the parts of the table {name} do not fit")


def _rank_one(table: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Numbers of rows and columns whose sums lie at most at the entries' low quartile.

    Medians in turn settle on the smoothing floor, where most pairs were never seen.
    """
    row = np.zeros(len(table), dtype=np.float32)
    column = np.median(table, axis=0).astype(np.float32)
    for _ in range(3):
        row = np.quantile(table - column, 0.25, axis=1).astype(np.float32)
        column = np.quantile(table - row[:, None], 0.25, axis=0).astype(np.float32)
    return row, column


def _gaps(places: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Rising places as bytes."""
    gaps = np.diff(places, prepend=-1)
    digits = [gaps & 127]
    more = gaps >> 7
    while np.any(more):
        digits.append(more & 127)
        more = more >> 7
    table = np.stack(digits, axis=1).astype(np.uint8)
    used = np.ones_like(table, dtype=np.bool_)
    for place in range(1, table.shape[1]):
        used[:, place] = gaps >> (7 * place) > 0
    table[:, :-1][used[:, 1:]] |= 128
    return table[used]


def _places(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Inverse of `_gaps`; no places where the bytes are not such."""
    ends = np.flatnonzero(digits < 128)
    if len(digits) == 0 or len(ends) == 0 or ends[-1] != len(digits) - 1:
        return np.empty(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _LONGEST:
        return np.empty(0, dtype=np.int64)
    shift = 7 * (np.arange(len(digits)) - np.repeat(starts, ends - starts + 1))
    parts = (digits & 127).astype(np.int64) << shift
    gaps = np.add.reduceat(parts, starts)
    places: NDArray[np.int64] = np.cumsum(gaps) - 1
    return places if gaps.min() > 0 and places[-1] >= 0 else np.empty(0, dtype=np.int64)
