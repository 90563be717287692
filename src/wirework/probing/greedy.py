"""Greedy selection with swaps, for squared loss and a ridge penalty, on columns of the Gram matrix.

Only the Gram columns of neurons that were chosen at some time are computed
(`sparse_probing.md §8.2`, §8.6).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing.losses import Floats

# A swap must win at least this share of the objective: rounding wins nothing.
_LEAST_WIN = 1e-12


class Gram:
    """X' diag(c) X of weighted-centred X, column by column; `pull` (d) is X' diag(c) y."""

    def __init__(self, X: Floats, y: Floats, c: Floats) -> None:
        self._X, self._c = X, c
        self._mean = c @ X / c.sum()
        y = y - (c @ y) / c.sum()
        self.least = float(c @ (y * y)) / 2
        self.pull: Floats = (c * y) @ X
        # Two passes would copy X; a column whose variance is lost in rounding is constant.
        square = np.einsum("ij,ij,i->j", X, X, c)
        self.diagonal: Floats = np.maximum(square - c.sum() * self._mean**2, 0)
        self._columns: dict[int, Floats] = {}

    def column(self, j: int) -> Floats:
        if j not in self._columns:
            x = self._c * (self._X[:, j] - self._mean[j])
            self._columns[j] = x @ self._X
        return self._columns[j]

    def wins(self, chosen: list[int], gamma: float) -> tuple[float, Floats]:
        """Objective with `chosen` alone, and what each further neuron would take off it (d).

        The neurons in `chosen` win minus infinity.
        """
        scores, rest, value = self.pull, self.diagonal + 1 / gamma, self.least
        if chosen:
            block = np.stack([self.column(j) for j in chosen])
            core = block[:, chosen] + np.eye(len(chosen)) / gamma
            solved = np.linalg.solve(core, np.column_stack([self.pull[chosen], block]))
            value = self.least - float(self.pull[chosen] @ solved[:, 0]) / 2
            scores = self.pull - solved[:, 0] @ block
            rest = rest - np.einsum("ij,ij->j", block, solved[:, 1:])
        won = scores**2 / (2 * np.maximum(rest, 1e-12 / gamma))
        won[chosen] = -np.inf
        return value, won


def greedy_swap(
    X: Floats, y: Floats, c: Floats, k: int, gamma: float, *, sweeps: int = 50
) -> NDArray[np.int64]:
    """Indices (k), ascending: min sum_i c_i (y_i - x_i.w - b)^2 / 2 + |w|^2 / (2 gamma).

    Forward selection, then swaps of one neuron for another until none helps. X (n, d) float64.
    """
    assert 1 <= k <= X.shape[1], "k"
    gram = Gram(X, y, c)
    chosen: list[int] = []
    for _ in range(k):
        chosen.append(int(gram.wins(chosen, gamma)[1].argmax()))
    return np.array(sorted(_swap(gram, chosen, gamma, sweeps)), dtype=np.int64)


def _swap(gram: Gram, chosen: list[int], gamma: float, sweeps: int) -> list[int]:
    value, _ = gram.wins(chosen, gamma)
    for _ in range(sweeps):
        before = value
        for place in range(len(chosen)):
            others = chosen[:place] + chosen[place + 1 :]
            rest, won = gram.wins(others, gamma)
            best = int(won.argmax())
            if rest - won[best] < value - _LEAST_WIN * gram.least:
                chosen = [*others, best]
                value = float(rest - won[best])
        if value == before:
            break
    return chosen
