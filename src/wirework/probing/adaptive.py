"""Adaptive thresholding: rank, fit, keep the largest weights, fit again, down to k neurons.

The published telescopic sweep (`sparse_probing.md §1.5`). Its elastic nets are solved here to
convergence by Newton and coordinate descent, where the published code stops saga at 1,000 steps.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.probing.losses import Floats, Loss
from wirework.probing.newton import newton_step, start
from wirework.probing.rankings import best

_STEPS = 50
_TOLERANCE = 1e-9


def k_grid(d: int, max_k: int | None = None) -> tuple[int, ...]:
    """The published sizes, ascending: 1-8, 10, 12, 16, 32, 64 ... d, none above `max_k` (§1.1)."""
    doubling = [16 * 2**i for i in range(max(0, int(np.log2(d)) - 3))]
    sizes = {*range(1, 9), 10, 12, *doubling, d}
    return tuple(sorted(k for k in sizes if k <= min(d, d if max_k is None else max_k)))


def adaptive_path(X: Floats, loss: Loss, scores: Floats, k: int) -> dict[int, NDArray[np.int64]]:
    """Supports, best neuron first, for every size of `k_grid` from d down to k, nested.

    X (n, d): the neurons to begin with (published: 256), float64, in the published scale;
    `scores` (d): the first ranking.
    At size m the elastic net has C = m/20 and the L1 share exp(-m/20), within 0.1 and 0.9.
    """
    d = X.shape[1]
    sizes = sorted({m for m in k_grid(d) if m > k} | {k}, reverse=True)
    ranked = best(scores, d)
    supports = {}
    weights = np.zeros(0)
    for size in sizes:
        ranked = ranked[:size]
        supports[size] = ranked
        if size == k:
            break
        share = float(np.clip(np.exp(-size / 20), 0.1, 0.9))
        weights = elastic_net(X[:, ranked], loss, size / 20, share, weights[:size])
        # Stable: neurons that the penalty silences keep the order that they had.
        order = best(np.abs(weights), size)
        ranked, weights = ranked[order], weights[order]
    return supports


def elastic_net(X: Floats, loss: Loss, C: float, share: float, w: Floats) -> Floats:
    """Weights (m) of min loss + (1-share)/(2C) |w|^2 + share/C |w|_1, the intercept free.

    `w`: where to start, (m) or empty. As scikit-learn's LogisticRegression with `l1_ratio`.
    """
    ridge, lasso = (1 - share) / C, share / C

    def penalty(w: Floats) -> float:
        return float(ridge / 2 * (w @ w) + lasso * np.abs(w).sum())

    def solve_model(H: Floats, r: Floats, w: Floats) -> Floats:
        found: Floats = _descend(H, r, ridge, lasso, w, 1000, 1e-10)
        return found

    at = start(X, loss, penalty, w if len(w) else None)
    for _ in range(_STEPS):
        after = newton_step(X, loss, penalty, solve_model, at)
        won = at.value - after.value
        at = after
        if won <= _TOLERANCE * at.value:
            break
    return at.w


@numba.njit(cache=True)
def _descend(
    H: Any, r: Any, ridge: float, lasso: float, start: Any, sweeps: int, tolerance: float
) -> Any:
    """min w.Hw/2 - r.w + ridge/2 |w|^2 + lasso |w|_1, one weight after the other."""
    w = start.copy()
    left = r - H @ w
    for _ in range(sweeps):
        moved, size = 0.0, 0.0
        for j in range(len(w)):
            pull = left[j] + H[j, j] * w[j]
            after = 0.0
            if abs(pull) > lasso:
                after = (pull - np.sign(pull) * lasso) / (H[j, j] + ridge)
            step = after - w[j]
            if step != 0:
                left -= step * H[j]
                w[j] = after
            moved, size = max(moved, abs(step)), max(size, abs(after))
        if moved <= tolerance * size:
            break
    return w
