"""Functions of one number that the kernels call; written so that loops over them vectorise.

In Python they are plain definitions, for reference; inside kernels the versions below take their
place, by type. Float32 takes polynomials: its own rounding, ten times libm's speed.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba.extending import overload


def exp(x: Any) -> Any:
    """e^x for x <= 0, to one unit in the last place; 0 where that would be subnormal."""
    return math.exp(x)


def gelu(x: Any) -> Any:
    """x * Phi(x), exact, by erf."""
    return 0.5 * x * (1 + math.erf(x * math.sqrt(0.5)))


def bits(x: Any) -> Any:
    """The numbers of an array as the integers that their bits spell."""
    return x.view({2: np.int16, 4: np.int32, 8: np.int64}[x.dtype.itemsize])


@overload(exp, jit_options={"error_model": "numpy"})
def _exp(x: Any) -> Any:
    return _exp32 if x == numba.float32 else _exp64


@overload(gelu, jit_options={"error_model": "numpy"})
def _gelu(x: Any) -> Any:
    return _gelu32 if x == numba.float32 else _gelu64


@overload(bits)
def _bits(x: Any) -> Any:
    return _bits32 if x.dtype == numba.float32 else _bits64


def _bits32(x: Any) -> Any:
    return x.view(np.int32)


def _bits64(x: Any) -> Any:
    return x.view(np.int64)


def _exp32(x: Any) -> Any:
    """Cephes: x = n ln 2 + r, a polynomial in r, n into the exponent's bits."""
    small = max(x, np.float32(-87))
    n = np.floor(small * np.float32(1.4426950408889634) + np.float32(0.5))
    r = small - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * (r * r) + r + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    return np.float32(0) if x < np.float32(-87) else p * power


def _exp64(x: Any) -> Any:
    """The same with Cephes' ratio of polynomials for double precision."""
    small = max(x, -708.0)
    n = np.floor(small * 1.4426950408889634 + 0.5)
    r = small - n * 6.93145751953125e-1
    r = r - n * 1.42860682030941723212e-6
    square = r * r
    top = 1.26177193074810590878e-4
    top = top * square + 3.02994407707441961300e-2
    top = top * square + 1.0
    top = top * r
    bottom = 3.00198505138664455042e-6
    bottom = bottom * square + 2.52448340349684104192e-3
    bottom = bottom * square + 2.27265548208155028766e-1
    bottom = bottom * square + 2.0
    power = np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)
    return 0.0 if x < -708.0 else (1.0 + 2.0 * (top / (bottom - top))) * power


def _gelu64(x: Any) -> Any:
    return 0.5 * x * (1.0 + math.erf(x * math.sqrt(0.5)))


def _gelu32(x: Any) -> Any:
    """erf as a ratio of polynomials (Eigen's)."""
    end = np.float32(4)
    z = min(max(x * np.float32(0.5**0.5), -end), end)
    square = z * z
    top = np.float32(-2.72614225801306e-10)
    top = top * square + np.float32(2.77068142495902e-08)
    top = top * square + np.float32(-2.10102402082508e-06)
    top = top * square + np.float32(-5.69250639462346e-05)
    top = top * square + np.float32(-7.34990630326855e-04)
    top = top * square + np.float32(-2.95459980854025e-03)
    top = top * square + np.float32(-1.60960333262415e-02)
    bottom = np.float32(-1.45660718464996e-05)
    bottom = bottom * square + np.float32(-2.13374055278905e-04)
    bottom = bottom * square + np.float32(-1.68282697438203e-03)
    bottom = bottom * square + np.float32(-7.37332916720468e-03)
    bottom = bottom * square + np.float32(-1.42647390514189e-02)
    return np.float32(0.5) * x * (np.float32(1) + z * top / bottom)
