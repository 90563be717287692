"""Probes of a single neuron, thousands of them: fitted and counted in compiled loops."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_STEPS = 30
_TOLERANCE = 1e-7


def fit_one_neuron_probes(
    X: NDArray[np.float32], y: NDArray[np.bool_], gamma: float = 1.0
) -> NDArray[np.float64]:
    """Weight and intercept of a balanced logistic probe on every neuron alone, (m, 2).

    X (m, n): one row a neuron; y (n), both classes in it. The loss is that of scikit-learn's
    `LogisticRegression(C=gamma, class_weight="balanced")` on one column, in float64 by Newton's
    method; a neuron that is off for the label gets a negative weight.
    """
    n, ones = len(y), int(y.sum())
    assert 0 < ones < n, "one class only"
    out = np.empty((len(X), 2))
    _fit(X, y, n / (2 * ones), n / (2 * (n - ones)), gamma, out)
    return out


@numba.njit(cache=True)
def _fit(X: Any, y: Any, of_yes: float, of_no: float, gamma: float, out: Any) -> None:
    for m in range(len(X)):
        w, b = 0.0, 0.0
        value, gw, gb, hww, hwb, hbb = _look(X[m], y, of_yes, of_no, gamma, w, b)
        for _ in range(_STEPS):
            det = hww * hbb - hwb * hwb
            if max(abs(gw), abs(gb)) <= _TOLERANCE * len(y) or det <= 0 or hbb <= 0:
                break
            dw, db = (hbb * gw - hwb * gb) / det, (hww * gb - hwb * gw) / det
            step = 1.0
            seen = _look(X[m], y, of_yes, of_no, gamma, w - dw, b - db)
            while seen[0] > value and step > 1e-6:
                step /= 2
                seen = _look(X[m], y, of_yes, of_no, gamma, w - step * dw, b - step * db)
            if seen[0] > value:
                break
            w, b = w - step * dw, b - step * db
            value, gw, gb, hww, hwb, hbb = seen
        out[m, 0], out[m, 1] = w, b


@numba.njit(cache=True)
def _look(x: Any, y: Any, of_yes: float, of_no: float, gamma: float, w: float, b: float) -> Any:
    """The objective, its gradient (2) and its Hessian (3) at w, b, by one pass over the rows."""
    value, gw, gb, hww, hwb, hbb = w * w / (2 * gamma), w / gamma, 0.0, 1 / gamma, 0.0, 0.0
    for i in range(len(y)):
        own = np.float64(x[i])
        c, z = (of_yes, w * own + b) if y[i] else (of_no, -(w * own + b))
        e = math.exp(-abs(z))
        value += c * (math.log1p(e) + max(-z, 0.0))
        # 1 - probability of the row's own class.
        wrong = (e if z > 0 else 1.0) / (1 + e)
        g = -c * wrong if y[i] else c * wrong
        h = c * wrong * (1 - wrong)
        gw += g * own
        gb += g
        hww += h * own * own
        hwb += h * own
        hbb += h
    return value, gw, gb, hww, hwb, hbb


def confusion(said: NDArray[np.bool_], y: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Hits, false alarms, misses, right rejections: `said` (..., n) against y (n) -> (..., 4)."""
    hits = (said & y).sum(-1)
    alarms = said.sum(-1) - hits
    misses = y.sum() - hits
    return np.stack([hits, alarms, misses, (~y).sum() - alarms], -1).astype(np.int64)


def f1_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) of counts (..., 4) as `confusion` gives them; 0 where all are 0."""
    hits, alarms, misses = (np.asarray(counts[..., i], dtype=np.float64) for i in range(3))
    total = 2 * hits + alarms + misses
    return np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)


def balanced_accuracy_of(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean of the shares of positives and of negatives that are told right, of counts (..., 4)."""
    hits, alarms, misses, rejected = (counts[..., i].astype(np.float64) for i in range(4))
    return np.asarray(0.5 * (hits / (hits + misses) + rejected / (rejected + alarms)))
