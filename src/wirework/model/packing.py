"""Sparse matrices on disk: the nonzero values and the gaps between their places.

A matrix of shape (rows, columns) is read row by row. `gaps` holds, for each nonzero, how many
places it stands after the one before (the first: after place -1), written in uint8 or uint16
digits: the largest digit says "that many zeros more, read on". Five bytes a nonzero at 5%.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError


def pack(matrix: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Arrays `values` (float32), `gaps`, `shape` that `unpack` turns back, bit for bit."""
    flat = matrix.reshape(-1)
    places = np.flatnonzero(flat)
    steps = np.diff(places, prepend=-1)
    narrow, wide = _digits(steps, np.uint8), _digits(steps, np.uint16)
    return {
        "values": flat[places],
        "gaps": narrow if narrow.nbytes <= wide.nbytes else wide,
        "shape": np.asarray(matrix.shape, dtype=np.int64),
    }


def _digits(steps: NDArray[np.int64], kind: type[np.uint8 | np.uint16]) -> NDArray[Any]:
    full = int(np.iinfo(kind).max)
    rest, more = steps % full, steps // full
    digits = np.full(len(steps) + int(more.sum()), full, dtype=kind)
    digits[np.cumsum(more + 1) - 1] = rest
    return digits


def unpack(arrays: dict[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """Inverse of `pack`. Raises `checkpoint-damaged` where the arrays do not fit together."""
    gaps, values = arrays["gaps"], arrays["values"]
    shape = tuple(int(n) for n in arrays["shape"])
    sound = gaps.dtype in (np.uint8, np.uint16) and values.dtype == np.float32
    if sound and all(n > 0 for n in shape):
        last = gaps != np.iinfo(gaps.dtype).max
        places = np.cumsum(gaps.astype(np.int64))[last] - 1
        sound = len(places) == len(values) and bool(last[-1:].all())
        sound = sound and (len(places) == 0 or (places[0] >= 0 and places[-1] < np.prod(shape)))
        if sound:
            flat = np.zeros(int(np.prod(shape)), dtype=np.float32)
            flat[places] = values
            return flat.reshape(shape)
    raise WireworkError(
        "checkpoint-damaged", f"the sparse matrix {name} does not fit its shape {shape}"
    )
