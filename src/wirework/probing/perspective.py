"""The perspective of a ridge penalty with at most k weights, and the models that it is added to.

sum_j w_j^2 / s_j over the s in [0, 1] that are shared out best with sum s <= k: convex, below
the ridge penalty of every k-sparse w's own support and equal to it there
(`sparse_probing.md §8.2`). Weights that are always in have s = 1 and take no slot.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True)
def shares(w: Any, inside: Any, slots: int) -> Any:
    """s (m) that share out `slots` best among the weights that are not `inside` (m, bool)."""
    s = np.ones(len(w))
    free = np.sort(np.abs(w[~inside]))[::-1]
    if len(free) <= slots or free[slots] == 0:
        return s
    # The largest have s = 1, the others s = |w| / level.
    level = 0.0
    for full in range(slots):
        level = free[full:].sum() / (slots - full)
        if free[full] <= level:
            break
    for j in range(len(w)):
        if not inside[j]:
            s[j] = min(1.0, abs(w[j]) / level) if level > 0 else 0.0
    return s


@numba.njit(cache=True)
def perspective(w: Any, inside: Any, slots: int) -> float:
    """sum_j w_j^2 / s_j."""
    s = shares(w, inside, slots)
    total = 0.0
    for j in range(len(w)):
        if w[j] != 0:
            if s[j] == 0:
                return np.inf
            total += w[j] * w[j] / s[j]
    return total


@numba.njit(cache=True)
def _prox(v: Any, inside: Any, slots: int, rho: float, w: Any) -> None:
    """w minimises |w - v|^2 / 2 + rho/2 times the perspective.

    s_j = clip(c |v_j| - rho, 0, 1) with sum `slots`; w_j = v_j s_j / (s_j + rho).
    """
    free, most, least, mass = 0, 0.0, np.inf, 0.0
    for j in range(len(v)):
        if not inside[j] and v[j] != 0:
            free += 1
            mass += abs(v[j])
            most = max(most, abs(v[j]))
            least = min(least, abs(v[j]))
    if free <= slots:
        for j in range(len(v)):
            w[j] = v[j] / (1 + rho)
        return
    if slots == 0:
        for j in range(len(v)):
            w[j] = v[j] / (1 + rho) if inside[j] else 0.0
        return
    low, high = rho / most, (1 + rho) / least
    c = min(max((slots + free * rho) / mass, low), high)
    for _ in range(200):
        total, slope = 0.0, 0.0
        for j in range(len(v)):
            if not inside[j]:
                s = c * abs(v[j]) - rho
                if s >= 1:
                    total += 1
                elif s > 0:
                    total += s
                    slope += abs(v[j])
        if total > slots:
            high = c
        else:
            low = c
        if abs(total - slots) <= 1e-13 * slots or high - low <= 1e-15 * high:
            break
        # The sum is piecewise linear in c: follow its piece, or halve where that leads out.
        c = c + (slots - total) / slope if slope > 0 else (low + high) / 2
        if not low < c < high:
            c = (low + high) / 2
    for j in range(len(v)):
        s = 1.0 if inside[j] else min(max(c * abs(v[j]) - rho, 0.0), 1.0)
        w[j] = v[j] * s / (s + rho)


@numba.njit(cache=True)
def solve_perspective(
    H: Any, r: Any, inside: Any, slots: int, gamma: float, start: Any, steps: int, tolerance: float
) -> Any:
    """w near the minimum of w.Hw/2 - r.w + perspective(w) / (2 gamma), by FISTA with restarts.

    It stops when no weight moves by more than `tolerance` times the largest.
    """
    m = len(r)
    x = np.ones(m) + np.arange(m) / m
    top = 0.0
    for _ in range(30):
        x = H @ x
        top = np.sqrt((x * x).sum())
        if top == 0:
            break
        x /= top
    top = 1.05 * top + 1e-12
    w, ahead, t = start.copy(), start.copy(), 1.0
    after = np.empty(m)
    for _ in range(steps):
        v = ahead - (H @ ahead - r) / top
        _prox(v, inside, slots, 1 / (top * gamma), after)
        turned, moved, size = 0.0, 0.0, 0.0
        for j in range(m):
            step = after[j] - w[j]
            turned += (ahead[j] - after[j]) * step
            moved = max(moved, abs(step))
            size = max(size, abs(after[j]))
        if turned > 0:
            t = 1.0
        t_next = (1 + np.sqrt(1 + 4 * t * t)) / 2
        pace = (t - 1) / t_next
        for j in range(m):
            ahead[j] = after[j] + pace * (after[j] - w[j])
            w[j] = after[j]
        t = t_next
        if moved <= tolerance * size:
            break
    return w
