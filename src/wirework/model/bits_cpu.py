"""bfloat16 numbers as numba sees them: uint16 bits, computed with in float32."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)
def widen(bits: Any, out: Any, count: int) -> None:
    """bfloat16 -> float32."""
    for i in range(count):
        out[i] = np.uint32(np.uint32(bits[i]) << np.uint32(16)).view(np.float32)


@numba.njit(cache=True)
def narrow(x: Any, factor: Any, bits: Any, count: int) -> None:
    """factor * x (float32) -> bfloat16, rounded to the nearest, ties to even."""
    for i in range(count):
        value = np.float32(factor * x[i])
        word = value.view(np.uint32)
        odd = (word >> np.uint32(16)) & np.uint32(1)
        rounded = np.uint32(word + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        bits[i] = np.uint16(rounded if value == value else 0x7FC0)
