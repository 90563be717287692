"""One optimizer step of sparse training, in the published order (weight_sparse_paper.md §2.3)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch import distributed as dist

from wirework.core import Config
from wirework.model import ProjectedMatrix, Transformer
from wirework.sparsity.projection import check_floor, project
from wirework.sparsity.schedule import (
    Anneal,
    coupling,
    density_at,
    learning_rate_at,
    linked_density,
)
from wirework.sparsity.sharded import as_sharded, local_part, project_sharded


class SparsityConfig(Config):
    """The recipe of one step. Density 1 makes it a dense baseline: nothing is projected.

    Defaults are the published ones, but for the shape-dependent densities (of a published model
    with expansion factor EF, `density` is pfrac / EF^2 and `embedding_density` pfrac / EF; `floor`
    is its j). `gradient`: `normalize` divides by the global RMS at every step, `clip` only where it
    exceeds 1, `none`. `anneal_exponent` bends the linear anneal. `embedding_anneal`: an embedding
    goes its `own` way to its density, or `linked` to the blocks', which differs unless the anneal
    is linear. `biases`: `dense` as in the released code, or `sparse` at the embeddings' density, as
    the paper says (weight_sparse_paper.md §2.4).
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
    anneal_exponent: float = Field(1.0, gt=0)
    embedding_anneal: Literal["own", "linked"] = "own"
    coupled_lr: bool = True
    biases: Literal["dense", "sparse"] = "dense"

    def final_density(self, matrix: ProjectedMatrix) -> float:
        return self.density if matrix.group == "block" else self.embedding_density


def check_densities(model: Transformer, config: SparsityConfig) -> None:
    """Raise `density-too-small` where a matrix cannot hold the floor of its neurons."""
    for matrix in model.projected():
        check_floor(matrix, config.final_density(matrix), config.floor)


class SparseAdamW:
    """Adam, projection, decoupled decay. Moments of zeroed weights stay, so they can come back.

    The same for a model whose parameters are `DTensor`s cut by rows (FSDP2): every process then
    keeps the moments of its own rows, and all call `step` together.
    """

    def __init__(self, model: Transformer, config: SparsityConfig, steps: int) -> None:
        check_densities(model, config)
        self.model = model
        self.config = config
        self.steps = steps
        self.matrices = model.projected()
        if config.biases == "sparse":
            self.matrices += model.biases()
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

    def density(self, step: int, final: float) -> float:
        c = self.config
        return density_at(
            step, self.steps, final, kind=c.anneal, start=c.anneal_start, stop=c.anneal_stop,
            exponent=c.anneal_exponent,
        )  # fmt: skip

    def density_of(self, step: int, matrix: ProjectedMatrix) -> float:
        """Share of the entries of one matrix that may be nonzero after this step."""
        final = self.config.final_density(matrix)
        if matrix.group == "embedding" and self.config.embedding_anneal == "linked":
            block = self.config.density
            return linked_density(self.density(step, block), block, final)
        return self.density(step, final)

    def learning_rate(self, step: int) -> float:
        c = self.config
        rate = learning_rate_at(step, self.steps, c.lr, warmup=c.warmup)
        if c.coupled_lr:
            rate *= coupling(self.density(step, c.density), c.density)
        return rate

    @torch.no_grad()
    def step(self, step: int) -> dict[str, float]:
        """Use the gradients for step number `step` (from 0) and clear them; returns figures.

        Where `gradient_rms` is not finite, nothing has changed.
        """
        rate = self.learning_rate(step)
        rms = self._scale_gradients()
        figures = {
            "lr": rate,
            "gradient_rms": rms,
            "density": self.density(step, self.config.density),
        }
        if not math.isfinite(rms):
            return figures
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        self.adam.zero_grad(set_to_none=False)
        self._project(step)
        if self.config.weight_decay:
            decayed = [local_part(p) for p in self.decayed]
            torch._foreach_mul_(decayed, 1 - self.config.weight_decay * rate)
        return figures

    def _project(self, step: int) -> None:
        wanted = [(m, self.density_of(step, m)) for m in self.matrices]
        if as_sharded(self.matrices[0].weight) is not None:
            project_sharded(wanted, self.config.floor)
            return
        for matrix, density in wanted:
            project(matrix, density, self.config.floor)

    def _scale_gradients(self) -> float:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        rms = global_rms(gradients)
        if not math.isfinite(rms):
            return rms
        if self.config.gradient == "normalize":
            torch._foreach_mul_([local_part(g) for g in gradients], 1 / (rms + 1e-5))
        elif self.config.gradient == "clip" and rms > 1:
            torch._foreach_mul_([local_part(g) for g in gradients], 1 / rms)
        return rms

    def state(self) -> dict[str, Any]:
        return self.adam.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        self.adam.load_state_dict(state)


def global_rms(tensors: list[Tensor]) -> float:
    """Root mean square over all entries of all tensors, those on other processes too."""
    norms = torch._foreach_norm([local_part(t) for t in tensors])
    total = torch.stack([n.double().square() for n in norms]).sum()
    sharded = as_sharded(tensors[0])
    if sharded is not None:
        dist.all_reduce(total, group=sharded.device_mesh.get_group())
    return float((total / sum(t.numel() for t in tensors)).sqrt())
