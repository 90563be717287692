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


class GateSet(nn.Module):
    """One number tau per gate, open where tau >= 0 (weight_sparse_paper.md §4).

    `tau` (gates) has the gates of all `sites` one after the other and starts from
    N(bias, noise). `shut`: gates that stay closed whatever comes; their tau is -1. `until`: the
    last look at which each gate was open, as a share of the training.
    """

    shut: Tensor
    until: Tensor

    def __init__(
        self,
        counts: Mapping[Site, int],
        *,
        bias: float,
        noise: float,
        temperature: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.sites = sorted(counts)
        self.sizes = [counts[site] for site in self.sites]
        self.temperature = temperature
        random = torch.Generator().manual_seed(seed)
        self.tau = nn.Parameter(bias + noise * torch.randn(sum(self.sizes), generator=random))
        self.register_buffer("shut", torch.zeros(len(self.tau), dtype=torch.bool))
        self.register_buffer("until", torch.zeros(len(self.tau)))

    def opened(self) -> Tensor:
        """The gates as 0 and 1, (gates), differentiable through the surrogate."""
        gates: Tensor = _Heaviside.apply(self.tau, self.temperature)  # type: ignore[no-untyped-call]
        return gates

    def by_site(self, values: Tensor) -> dict[Site, Tensor]:
        """One value a gate -> those of every site."""
        return dict(zip(self.sites, torch.split(values, self.sizes), strict=True))

    @torch.no_grad()
    def clamp(self) -> None:
        self.tau.clamp_(-1, 1).masked_fill_(self.shut, -1)

    def look(self, done: float) -> None:
        """Note which gates are open when `done`, a share, of the training is done."""
        self.until.masked_fill_(self.tau >= 0, done)

    def shut_low(self, below: float) -> bool:
        """Shut every gate whose tau has fallen under `below`; whether there was a new one."""
        low = (self.tau < below) & ~self.shut
        self.shut |= low
        self.clamp()
        return bool(low.any())

    def shut_all(self, masks: Keep) -> None:
        """Shut the gates of these masks."""
        none = [np.zeros(size, dtype=np.bool_) for size in self.sizes]
        flat = [masks.get(site, zero) for site, zero in zip(self.sites, none, strict=True)]
        self.shut |= torch.from_numpy(np.concatenate(flat))
        self.clamp()

    def may_open(self) -> dict[Site, NDArray[np.bool_]]:
        """Gates that are not shut."""
        return {site: mask.numpy() for site, mask in self.by_site(~self.shut).items()}

    def ranks(self) -> dict[Site, NDArray[np.float32]]:
        """HIGHER = KEEP: tau where a gate is open; below 0, the later a closed one was open."""
        tau = self.tau.detach()
        ranks = torch.where(tau >= 0, tau, self.until - 1 + 1e-3 * (tau - 1))
        return {site: rank.numpy() for site, rank in self.by_site(ranks).items()}


class NodeGates(GateSet):
    """A gate on every node. `held`: what closed nodes are held at, learned with `learn_held`."""

    def __init__(
        self, constants: Mapping[Site, Tensor], *, learn_held: bool = False, **options: Any
    ) -> None:
        super().__init__({site: len(value) for site, value in constants.items()}, **options)
        held = [constants[site].detach().clone() for site in self.sites]
        self.held = nn.ParameterList(held) if learn_held else held

    @property
    def constants(self) -> dict[Site, Tensor]:
        return dict(zip(self.sites, self.held, strict=True))


def inverted(keep: Keep) -> dict[Site, NDArray[np.bool_]]:
    """All nodes that are not kept."""
    return {site: ~kept for site, kept in keep.items()}


def keep_taps(keep: Keep, constants: Mapping[Site, NDArray[np.float32]]) -> Callable[[], Taps]:
    """Makes taps that keep the chosen nodes and set every other one to its constant."""
    replace: dict[Site, Callable[[Tensor], Tensor]] = {}
    for site, kept in keep.items():
        replace[site] = partial(_choose, torch.from_numpy(kept), torch.from_numpy(constants[site]))
    return partial(Taps, replace=replace)


def _choose(keep: Tensor, constant: Tensor, x: Tensor) -> Tensor:
    return torch.where(keep, x, constant.to(x.dtype))


def site_gates(
    keep: Keep, constants: Mapping[Site, NDArray[np.float32]], *, before: bool = False
) -> dict[Site, SiteGate]:
    """The same masks for the engine; `before`: cut nodes compete as their constants."""
    return {
        site: SiteGate(kept, constants[site].astype(np.float64), before)
        for site, kept in keep.items()
    }


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
