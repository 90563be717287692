"""Losses of a probe as functions of its margins z = X w + b, with what bounds them from below.

For the loss sum_i c_i l(y_i, z_i), the dual weights are alpha_i = -c_i l'(z_i). Any alpha with
sum 0 (the intercept is not penalised) and the right signs bounds the best value from below
(`sparse_probing.md §8.2`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlog1py, xlogy

from wirework.core.errors import unknown_choice

Floats = NDArray[np.float64]


def balanced_weights(positive: NDArray[np.bool_]) -> Floats:
    """c (n): both classes weigh the same, sum n (`sparse_probing.md §1.2`)."""
    n, ones = len(positive), int(positive.sum())
    assert 0 < ones < n, "both classes"
    return np.where(positive, n / (2 * ones), n / (2 * (n - ones)))


@dataclass(frozen=True)
class Loss(ABC):
    """`y` (n): targets, -1 and +1 for the two classes. `c` (n): positive weights."""

    y: Floats
    c: Floats
    name: ClassVar[str]

    @abstractmethod
    def value(self, z: Floats) -> float:
        """sum_i c_i l(y_i, z_i)."""

    @abstractmethod
    def slopes(self, z: Floats) -> tuple[Floats, Floats]:
        """alpha (n), minus the slope at z, and the curvature (n)."""

    def dual(self, alpha: Floats, penalty: Any) -> Any:
        """A lower bound for alpha from `feasible`; `penalty` is gamma/2 times the sum of the
        largest (x_j.alpha)^2, a number or an array of them.

        Here for both squared losses, at the best multiple of alpha.
        """
        reach = self.y @ alpha
        return reach**2 / np.maximum(2 * (alpha @ (alpha / self.c)) + 4 * penalty, 1e-300)

    def feasible(self, alpha: Floats) -> Floats:
        """alpha with the sum 0: the heavier sign is shrunk, so no |alpha_i| grows."""
        above, below = alpha[alpha > 0].sum(), -alpha[alpha < 0].sum()
        if above == below:
            return alpha
        small = min(above, below)
        shrink = [small / side if side > 0 else 0.0 for side in (above, below)]
        return np.asarray(alpha * np.where(alpha > 0, *shrink))


class Logistic(Loss):
    """l = log(1 + exp(-y z))."""

    name = "logistic"

    def value(self, z: Floats) -> float:
        return float(self.c @ np.logaddexp(0, -self.y * z))

    def slopes(self, z: Floats) -> tuple[Floats, Floats]:
        miss = expit(-self.y * z)
        pull = self.c * miss
        return self.y * pull, pull * (1 - miss)

    def dual(self, alpha: Floats, penalty: Any) -> Any:
        miss = np.minimum(np.abs(alpha) / self.c, 1)
        return -(self.c @ (xlogy(miss, miss) + xlog1py(1 - miss, -miss))) - penalty


class SquaredHinge(Loss):
    """l = max(0, 1 - y z)^2 / 2."""

    name = "squared_hinge"

    def value(self, z: Floats) -> float:
        return float(self.c @ np.maximum(1 - self.y * z, 0) ** 2) / 2

    def slopes(self, z: Floats) -> tuple[Floats, Floats]:
        short = np.maximum(1 - self.y * z, 0)
        return self.c * self.y * short, self.c * (short > 0)


class Squared(Loss):
    """l = (y - z)^2 / 2; y may be any numbers."""

    name = "squared"

    def value(self, z: Floats) -> float:
        return float(self.c @ (self.y - z) ** 2) / 2

    def slopes(self, z: Floats) -> tuple[Floats, Floats]:
        return self.c * (self.y - z), self.c

    def feasible(self, alpha: Floats) -> Floats:
        return np.asarray(alpha - self.c * (alpha.sum() / self.c.sum()))


_KINDS: tuple[type[Loss], ...] = (Logistic, SquaredHinge, Squared)
LOSSES: tuple[str, ...] = tuple(kind.name for kind in _KINDS)


def make_loss(name: str, y: Floats, c: Floats) -> Loss:
    """The loss called `name` (one of LOSSES). Raises `probe-loss-unknown`."""
    for kind in _KINDS:
        if kind.name == name:
            return kind(y, c)
    raise unknown_choice("probe-loss-unknown", "loss", name, LOSSES)
