"""One optimizer step of sparse training, in the published order (weight_sparse_paper.md §2.3)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from wirework.core import Config
from wirework.model import ProjectedMatrix, Transformer
from wirework.sparsity.projection import check_floor, project
from wirework.sparsity.schedule import Anneal, coupling, density_at, learning_rate_at


class SparsityConfig(Config):
    """The recipe of one step. Density 1 makes it a dense baseline: nothing is projected.

    Defaults are the published ones, but for the shape-dependent densities. `gradient`:
    `normalize` divides by the global RMS at every step, `clip` only where it exceeds 1, `none`.
    """

    lr: float = Field(1.28e-2, gt=0)
    warmup: float = Field(0.01, ge=0, lt=1)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.95, ge=0, lt=1)
    epsilon: float = Field(0.1, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    gradient: Literal["normalize", "clip", "none"] = "normalize"
    density: float = Field(1 / 64, gt=0, le=1)
    embedding_density: float = Field(1 / 16, gt=0, le=1)
    floor: int = Field(4, ge=0)
    anneal: Anneal = "linear"
    anneal_start: float = Field(0.01, ge=0, le=1)
    anneal_stop: float = Field(0.5, ge=0, le=1)
    coupled_lr: bool = True


class SparseAdamW:
    """Adam, projection, decoupled decay. Moments of zeroed weights stay, so they can come back."""

    def __init__(self, model: Transformer, config: SparsityConfig, steps: int) -> None:
        self.model = model
        self.config = config
        self.steps = steps
        self.matrices = model.projected()
        for matrix in self.matrices:
            check_floor(matrix, self.final_density(matrix), config.floor)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.decayed: list[Tensor] = [
            p for p in self.parameters if p.dim() > 1 and p is not model.bigram
        ]
        self.adam = torch.optim.Adam(
            self.parameters,
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            fused=True,
        )

    def final_density(self, matrix: ProjectedMatrix) -> float:
        return self.config.density if matrix.group == "block" else self.config.embedding_density

    def density(self, step: int, final: float) -> float:
        c = self.config
        return density_at(
            step, self.steps, final, kind=c.anneal, start=c.anneal_start, stop=c.anneal_stop
        )

    def learning_rate(self, step: int) -> float:
        c = self.config
        rate = learning_rate_at(step, self.steps, c.lr, warmup=c.warmup)
        if c.coupled_lr:
            rate *= coupling(self.density(step, c.density), c.density)
        return rate

    @torch.no_grad()
    def step(self, step: int) -> dict[str, float]:
        """Use the gradients for step number `step` (from 0) and clear them; returns figures."""
        rate = self.learning_rate(step)
        rms = self._scale_gradients()
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=False)
        for matrix in self.matrices:
            project(matrix, self.density(step, self.final_density(matrix)), self.config.floor)
        if self.config.weight_decay:
            torch._foreach_mul_(self.decayed, 1 - self.config.weight_decay * rate)
        return {"lr": rate, "gradient_rms": rms, "density": self.density(step, self.config.density)}

    def _scale_gradients(self) -> float:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        rms = global_rms(gradients)
        if self.config.gradient == "normalize":
            torch._foreach_mul_(gradients, 1 / (rms + 1e-5))
        elif self.config.gradient == "clip" and rms > 1:
            torch._foreach_mul_(gradients, 1 / rms)
        return rms

    def state(self) -> dict[str, Any]:
        return self.adam.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state)


def global_rms(tensors: list[Tensor]) -> float:
    """Root mean square over all entries of all tensors."""
    norms = torch._foreach_norm(tensors)
    total = torch.stack([n.double().square() for n in norms]).sum()
    return float((total / sum(t.numel() for t in tensors)).sqrt())
