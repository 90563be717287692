"""Adjusted p-values: what is left of many tests when all of them are counted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (n) of p-values (n), by Holm's step-down.

    Rejecting those at most alpha rejects any true hypothesis with probability at most alpha,
    however the tests depend on each other.
    """
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    return _back(np.maximum.accumulate(steps), order)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (n) of p-values (n), by Benjamini and Hochberg's step-up.

    Of those rejected at alpha a share of at most alpha is expected to be true hypotheses, where
    the tests are independent or depend positively, as tests that share one reference sample do.
    """
    values = _checked(p)
    order = np.argsort(values, kind="stable")
    steps = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _back(np.minimum.accumulate(steps[::-1])[::-1], order)


def _checked(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    assert values.ndim == 1, "one row of p-values"
    assert ((values >= 0) & (values <= 1)).all(), "p-values lie in [0, 1]"
    return values


def _back(steps: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    adjusted = np.empty_like(steps)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted
