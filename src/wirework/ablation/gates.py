"""Gates on nodes: a kept node passes, a cut node takes its reference constant.

Gates stand after AbsTopK at every site, so cut nodes still compete there (design §2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wirework.core import Site
from wirework.engine import SiteGate
from wirework.model import Taps
from wirework.model.means import Means

Keep = Mapping[Site, NDArray[np.bool_]]
"""Which nodes of every site are kept: site -> (channels,)."""


class _Heaviside(torch.autograd.Function):
    """1 where tau >= 0, else 0; backward as if it were sigmoid(tau / T) (§4.2)."""

    @staticmethod
    def forward(ctx: Any, tau: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(tau)
        ctx.temperature = temperature
        return (tau >= 0).to(tau.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (tau,) = ctx.saved_tensors
        s = torch.sigmoid(tau / ctx.temperature)
        return gradients[0] * s * (1 - s) / ctx.temperature, None


class NodeGates(nn.Module):
    """One number tau per node, open where tau >= 0 (weight_sparse_paper.md §4)."""

    def __init__(
        self, means: Means, *, bias: float, noise: float, temperature: float, seed: int
    ) -> None:
        super().__init__()
        self.sites = sorted(means)
        self.temperature = temperature
        random = torch.Generator().manual_seed(seed)
        self.taus = nn.ParameterList(
            nn.Parameter(bias + noise * torch.randn(len(means[site]), generator=random))
            for site in self.sites
        )
        self.constants = [torch.from_numpy(means[site]) for site in self.sites]

    def open_gates(self) -> list[Tensor]:
        """The gates as 0 and 1, one tensor per site, differentiable through the surrogate."""
        return [_Heaviside.apply(tau, self.temperature) for tau in self.taus]  # type: ignore[no-untyped-call]

    def taps(self, gates: list[Tensor]) -> Taps:
        replace: dict[Site, Callable[[Tensor], Tensor]] = {}
        for site, gate, constant in zip(self.sites, gates, self.constants, strict=True):
            replace[site] = partial(_mix, gate, constant)
        return Taps(replace=replace)

    @torch.no_grad()
    def clamp(self) -> None:
        for tau in self.taus:
            tau.clamp_(-1, 1)

    def values(self) -> dict[Site, NDArray[np.float32]]:
        """tau of every node."""
        pairs = zip(self.sites, self.taus, strict=True)
        return {site: tau.detach().numpy().copy() for site, tau in pairs}


def _mix(gate: Tensor, constant: Tensor, x: Tensor) -> Tensor:
    gate = gate.to(x.dtype)
    return torch.addcmul((1 - gate) * constant.to(x.dtype), gate, x)


def keep_taps(keep: Keep, constants: Mapping[Site, NDArray[np.float32]]) -> Callable[[], Taps]:
    """Makes taps that keep the chosen nodes and set every other one to its constant."""
    replace: dict[Site, Callable[[Tensor], Tensor]] = {}
    for site, kept in keep.items():
        replace[site] = partial(_choose, torch.from_numpy(kept), torch.from_numpy(constants[site]))
    return partial(Taps, replace=replace)


def _choose(keep: Tensor, constant: Tensor, x: Tensor) -> Tensor:
    return torch.where(keep, x, constant.to(x.dtype))


def site_gates(keep: Keep, constants: Mapping[Site, NDArray[np.float32]]) -> dict[Site, SiteGate]:
    """The same masks for the engine."""
    return {site: SiteGate(kept, constants[site].astype(np.float64)) for site, kept in keep.items()}


def kept_nodes(keep: Keep) -> dict[Site, tuple[int, ...]]:
    """Indices of the kept nodes of every site that keeps any."""
    found = {site: tuple(int(i) for i in np.flatnonzero(kept)) for site, kept in keep.items()}
    return {site: nodes for site, nodes in found.items() if nodes}


def keep_of(
    nodes: Mapping[Site, tuple[int, ...]], widths: Mapping[Site, int]
) -> dict[Site, NDArray[np.bool_]]:
    """Inverse of `kept_nodes`, for every site in `widths`."""
    keep = {site: np.zeros(width, dtype=np.bool_) for site, width in widths.items()}
    for site, indices in nodes.items():
        keep[site][list(indices)] = True
    return keep
