"""What the training of gates makes small."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, log

import torch
from torch import Tensor, nn
from torch.nn import functional

from wirework.ablation import PromptTensors
from wirework.circuit import Calibration
from wirework.discovery.config import DiscoveryConfig


class Objective(nn.Module):
    """Task loss + coefficient x open gates + how far the limits of a candidate are exceeded.

    Scale and shift of the margins are learned with the gates where `config.calibrate` is `during`,
    from `calibration` on: candidates are measured calibrated, so a loss that a scale would mend
    should hold no gate open (published: uncalibrated, `after`). `limits`: highest loss of a
    template, by its number. `margins`: the mean margin with nothing kept and the least mean margin
    before calibration; what is missing counts as a share of their distance.
    """

    def __init__(
        self,
        config: DiscoveryConfig,
        coefficient: float,
        *,
        calibration: Calibration,
        limits: Mapping[int, float],
        margins: tuple[float, float],
    ) -> None:
        super().__init__()
        self.coefficient = coefficient
        self.ramp = config.ramp
        learned = config.calibrate == "during"
        self.log_scale = nn.Parameter(torch.tensor(log(calibration.scale)), requires_grad=learned)
        self.shift = nn.Parameter(torch.tensor(calibration.shift), requires_grad=learned)
        self.limits = torch.full((max(limits, default=-1) + 2,), inf)
        for template, limit in limits.items():
            self.limits[template] = limit
        self.margins = margins

    def loss(self, values: Tensor, prompts: PromptTensors) -> Tensor:
        """Mean two-sided loss of margins (2N), and the excess over the limits, in nats."""
        scaled = values * self.log_scale.exp() + self.shift * prompts.side.to(values.dtype)
        losses = functional.softplus(-scaled)
        return losses.mean() + self._over_limits(losses, prompts.template) + self._missing(values)

    def price(self, count: Tensor, done: float) -> Tensor:
        """Of `count` open gates, in nats; `done`: share of the training that is done."""
        return self.coefficient * (min(1.0, done / self.ramp) if self.ramp else 1.0) * count

    def _over_limits(self, losses: Tensor, template: Tensor) -> Tensor:
        size = len(self.limits)
        known = template.clamp_max(size - 1)
        counts = torch.bincount(known, minlength=size)
        means = torch.zeros(size).index_add(0, known, losses) / counts.clamp_min(1)
        return (counts * functional.relu(means - self.limits)).sum() / len(losses)

    def _missing(self, values: Tensor) -> Tensor:
        empty, least = self.margins
        if least == -inf:
            return values.new_zeros(())
        return functional.relu(least - values.mean()) / (least - empty)
