"""What a circuit should bear: the task loss with some of the other nodes restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import (
    Adversary,
    CompactModel,
    GateSet,
    Holding,
    Keep,
    PromptTensors,
    edge_masks,
    masked_margins,
    random_subset,
    score_of,
)
from wirework.ablation.compact import Gates
from wirework.circuit import Calibration
from wirework.core import Edge
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.objective import Objective

_DRAWS = 24
"""Random restores of a candidate."""


class Restored:
    """Opens closed gates as `config.restore` says (weight_sparse_paper.md §10.2), the same for all
    prompts of a step; a function of seed and step where it is random.

    `margins`: answer margins of the whole model under gates, (2N).
    """

    def __init__(
        self,
        margins: Callable[[PromptTensors, Gates], Tensor],
        gates: GateSet,
        objective: Objective,
        config: DiscoveryConfig,
        *,
        seed: int,
    ) -> None:
        self.margins = margins
        self.gates = gates
        self.objective = objective
        self.config = config
        self.seed = seed

    def loss(self, plain: Tensor, opened: Tensor, batch: PromptTensors, step: int) -> Tensor:
        """`plain`: the loss of the batch with only the gates `opened` (gates) open."""
        if self.config.restore == "random":
            chosen = self._random(step)
        else:
            chosen = self._worst(plain, opened)
        beside = torch.where(chosen, torch.ones_like(opened), opened)
        return self.objective.loss(self.margins(batch, self.gates.by_site(beside)).float(), batch)

    def _random(self, step: int) -> Tensor:
        """Gates that are open in this step whatever their number, (gates)."""
        random = np.random.default_rng([self.seed, 1, step])
        rate = random.random() * self.config.restore_rate
        closed = self.gates.tau.detach() < 0
        return torch.from_numpy(random.random(len(closed)) < rate) & closed

    def _worst(self, plain: Tensor, opened: Tensor) -> Tensor:
        """The closed gates whose opening raises the loss fastest, within the budget."""
        (slope,) = torch.autograd.grad(plain, opened, retain_graph=True)
        slope = slope.masked_fill(opened.detach() > 0, 0)
        highest = torch.argsort(slope, descending=True, stable=True)[: self.config.restore_budget]
        chosen = torch.zeros_like(slope, dtype=torch.bool)
        chosen[highest] = slope[highest] > 0
        return chosen


@dataclass(frozen=True)
class Bearing:
    """Whether candidates bear what `config.restore` says, in mean loss before calibration.

    No shift that suits the circuit suits it with others restored. `part`: the prompts; `whole`:
    the model with nothing shut.
    """

    whole: CompactModel
    holding: Holding
    part: PromptTensors
    config: DiscoveryConfig

    @cached_property
    def limit(self) -> float:
        """The target, or what the whole model reaches: with all restored that is all there is."""
        return max(self.config.target_loss, self._loss(self._margins(self._everything, {})))

    def met(self, keep: Keep, cut: frozenset[Edge]) -> bool:
        edges = edge_masks(self.whole, cut)
        if self.config.restore == "adversarial":
            return self._loss(self._worst(keep, edges)) <= self.limit
        total = 0.0
        for restored in self._drawn(keep):
            total += self._loss(self._margins(restored, edges)) / _DRAWS
            if total > self.limit:
                return False
        return True

    def _drawn(self, keep: Keep) -> Iterator[Keep]:
        """The same random nodes beside every candidate, from few to many."""
        for draw in range(_DRAWS):
            rate = self.config.restore_rate * (draw + 0.5) / _DRAWS
            chosen = random_subset(self._everything, rate, [0, draw])
            yield {site: kept | chosen[site] for site, kept in keep.items()}

    def _worst(self, keep: Keep, edges: Gates) -> Tensor:
        rest = {site: ~kept for site, kept in keep.items()}
        answers = torch.ones(len(self.part.last))
        adversary = Adversary(
            self.whole, self.holding, keep, rest, self.part, answers, edges,
            restarts=3, steps=1, tries=0,
        )  # fmt: skip
        budget = self.config.restore_budget
        return adversary.worst([budget], 0)[budget].margins

    @property
    def _everything(self) -> Keep:
        return {s: np.ones(len(x), dtype=np.bool_) for s, x in self.holding.constants.items()}

    def _margins(self, keep: Keep, edges: Gates) -> Tensor:
        return masked_margins(self.whole, self.holding, keep, self.part, edges=edges)

    def _loss(self, margins: Tensor) -> float:
        return score_of(margins, self.part, Calibration()).loss
