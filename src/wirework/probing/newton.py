"""Fits in float64: Newton's method on a loss of margins plus a penalty on the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve
from scipy.optimize import minimize

from wirework.probing.losses import Floats, Loss

# Newton solves for all weights at once up to this many; beyond, L-BFGS.
_NEWTON = 512
_WIDE_TOLERANCE = 1e-6
# A flat loss still gets a step of finite length: share of the weights c.
_LEAST_CURVATURE = 1e-6


@dataclass(frozen=True)
class Point:
    """Weights (m), intercept, the margins (n) that they give, and loss plus penalty there."""

    w: Floats
    b: float
    z: Floats
    value: float


@dataclass(frozen=True)
class Fit:
    """A ridge fit. `gradient`: largest entry of the objective's gradient, over sum c."""

    w: Floats
    b: float
    value: float
    gradient: float
    iterations: int
    converged: bool


def newton_step(
    X: Floats,
    loss: Loss,
    penalty: Callable[[Floats], float],
    solve_model: Callable[[Floats, Floats, Floats], Floats],
    at: Point,
) -> Point:
    """One step from `at`, never upwards.

    The quadratic model of the loss, with the best intercept put in, is w.Hw/2 - r.w;
    `solve_model(H, r, w)` minimises it plus the penalty, starting from w.
    """
    alpha, curvature = loss.slopes(at.z)
    curvature = np.maximum(curvature, _LEAST_CURVATURE * loss.c)
    pull = alpha + curvature * at.z
    column, mass, level = curvature @ X, curvature.sum(), pull.sum()
    H = X.T @ (X * curvature[:, None]) - np.outer(column, column / mass)
    w = solve_model(H, pull @ X - column * (level / mass), at.w)
    b = float((level - column @ w) / mass)
    w_step, b_step, z_step = w - at.w, b - at.b, X @ w + b - at.z
    for halvings in range(30):
        t = 0.5**halvings
        w, z = at.w + t * w_step, at.z + t * z_step
        value = loss.value(z) + penalty(w)
        if value <= at.value:
            return Point(w, at.b + t * b_step, z, value)
    return at


def start(
    X: Floats, loss: Loss, penalty: Callable[[Floats], float], w: Floats | None = None
) -> Point:
    """The weights `w` (none: zero), the intercept zero."""
    w = np.zeros(X.shape[1]) if w is None else w
    z = X @ w
    return Point(w, 0.0, z, loss.value(z) + penalty(w))


def fit_ridge(
    X: Floats, loss: Loss, gamma: float, *, steps: int = 100, tolerance: float = 1e-10
) -> Fit:
    """min over w, b of loss + |w|^2 / (2 gamma), the intercept free; X (n, m) float64.

    `tolerance`: of `Fit.gradient`; 1e-6 is enough beyond 512 weights (by L-BFGS). A fit that did
    not get there says so in `converged`.
    For the logistic loss this is scikit-learn's LogisticRegression with C = gamma.
    """
    if X.shape[1] > _NEWTON:
        return _fit_wide(X, loss, gamma, max(steps, 1000), tolerance)

    def penalty(w: Floats) -> float:
        return float(w @ w) / (2 * gamma)

    def solve_model(H: Floats, r: Floats, _: Floats) -> Floats:
        H.flat[:: len(H) + 1] += 1 / gamma
        return np.asarray(solve(H, r, assume_a="pos"))

    at, done = start(X, loss, penalty), 0
    gradient = _gradient(X, loss, gamma, at)
    while gradient > tolerance and done < steps:
        after = newton_step(X, loss, penalty, solve_model, at)
        done += 1
        if after is at:
            break
        at, gradient = after, _gradient(X, loss, gamma, after)
    return Fit(at.w, at.b, at.value, gradient, done, gradient <= tolerance)


def _gradient(X: Floats, loss: Loss, gamma: float, at: Point) -> float:
    alpha, _ = loss.slopes(at.z)
    largest = np.abs(at.w / gamma - alpha @ X).max(initial=abs(alpha.sum()))
    return float(largest / loss.c.sum())


def _fit_wide(X: Floats, loss: Loss, gamma: float, steps: int, tolerance: float) -> Fit:
    total = loss.c.sum()

    def objective(packed: Floats) -> tuple[float, Floats]:
        w, b = packed[:-1], packed[-1]
        z = X @ w + b
        alpha, _ = loss.slopes(z)
        slope = np.append(w / gamma - alpha @ X, -alpha.sum())
        return (loss.value(z) + float(w @ w) / (2 * gamma)) / total, slope / total

    found = minimize(
        objective,
        np.zeros(X.shape[1] + 1),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxfun": 2 * steps, "ftol": 0.0, "gtol": tolerance},
    )
    gradient = float(np.abs(found.jac).max())
    w, b, value = found.x[:-1], float(found.x[-1]), float(found.fun * total)
    # L-BFGS creeps near the end, where Newton would not.
    return Fit(w, b, value, gradient, int(found.nit), gradient <= max(tolerance, _WIDE_TOLERANCE))
