"""Scale and shift of the answer margin, which ablation leaves miscalibrated."""

from __future__ import annotations

import torch
from torch import Tensor

from wirework.ablation.score import two_sided_loss
from wirework.circuit import Calibration

_STEPS = 16
_PULL = 1e-3
"""Weight of log(scale)^2: where the sides part cleanly, the best scale would be infinite."""

_HALVINGS = 30


def calibrate(values: Tensor, side: Tensor) -> Calibration:
    """Scale > 0 and shift that minimise the two-sided loss, by 16 LBFGS steps (§4.9).

    `values`, `side`: (2N) margins of the wanted answers and +1 / -1 for the side. The scale is
    exp of the fitted number, so an inverted circuit cannot be turned round (design §4).
    """
    values, side = values.detach().double(), side.double()
    free = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([free], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        total = two_sided_loss(free[0].exp() * values + free[1] * side) + _PULL * free[0].square()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    scale, shift = free.detach()
    return Calibration(float(scale.exp()), float(shift))


def shifted(values: Tensor, side: Tensor, calibration: Calibration) -> Calibration:
    """The same scale with the shift that suits these margins (2N) best, in a fraction of the time.

    The loss is convex in the shift, and least where both sides are missed alike.
    """
    scaled, side = calibration.scale * values.detach().double(), side.double()
    high = float(scaled.abs().max())
    low = -high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        slope = float((side * torch.sigmoid(-scaled - middle * side)).sum())
        low, high = (middle, high) if slope > 0 else (low, middle)
    return Calibration(calibration.scale, (low + high) / 2)
