"""What acts on one vector or one number at a time: RMSNorm, GELU, ReLU, AbsTopK with zeros."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from wirework.engine.abstopk import keep_largest
from wirework.engine.sparse import Floats


def rms_norm(x: Floats, gain: Floats, eps: float) -> Floats:
    """x / sqrt(mean(x^2) + eps) * gain over the last axis; an exact zero stays zero."""
    square = np.mean(x * x, axis=-1, keepdims=True)
    normed: Floats = x / np.sqrt(square + x.dtype.type(eps)) * gain.astype(x.dtype)
    return normed


def activate(x: Floats, kind: str) -> Floats:
    """`gelu` (exact, by erf) or `relu`."""
    if kind == "relu":
        return np.maximum(x, x.dtype.type(0))
    out = np.empty_like(x)
    kernel = _gelu32 if x.dtype == np.float32 else _gelu64
    kernel(x.reshape(-1), out.reshape(-1))
    return out


@numba.njit(cache=True)
def _gelu64(x: Any, out: Any) -> None:
    root = math.sqrt(0.5)
    for i in range(len(x)):
        out[i] = 0.5 * x[i] * (1.0 + math.erf(x[i] * root))


_ERF_TOP = np.array(
    [-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
     -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02], dtype=np.float32
)  # fmt: skip
_ERF_BOTTOM = np.array(
    [-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
     -1.42647390514189e-02], dtype=np.float32
)  # fmt: skip


@numba.njit(cache=True)
def _gelu32(x: Any, out: Any) -> None:
    """erf as a ratio of polynomials (Eigen's): float32's rounding, four times libm's speed."""
    half, one, root, end = np.float32(0.5), np.float32(1), np.float32(0.5**0.5), np.float32(4)
    for i in range(len(x)):
        z = min(max(x[i] * root, -end), end)
        square = z * z
        top, bottom = _ERF_TOP[0], _ERF_BOTTOM[0]
        for place in range(1, 7):
            top = top * square + _ERF_TOP[place]
        for place in range(1, 5):
            bottom = bottom * square + _ERF_BOTTOM[place]
        out[i] = half * x[i] * (one + z * top / bottom)


def abs_topk(x: Floats, k: int | None) -> Floats:
    """All but the k largest magnitudes of every row set to zero; unchanged where k is None."""
    if k is None or k >= x.shape[-1]:
        return x
    kept: Floats = x * keep_largest(x, k)
    return kept
