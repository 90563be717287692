"""Nodes turned round beside a mask: some at random, or the few that hurt the answers most.

A circuit may owe its answers to what cut nodes are held at: what one of them would add is missing,
and so is what another would take away. Subsets of the cut nodes, restored, show it
(weight_sparse_paper.md §10.2); one subset stands for all prompts (circuit_tools.md §1.13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wirework.ablation.compact import CompactModel, Gates, Reference
from wirework.ablation.gates import Keep
from wirework.ablation.kinds import Holding
from wirework.ablation.packed import Packed
from wirework.ablation.score import PromptTensors
from wirework.core import Node, Site
from wirework.core.progress import StartProgress, silent

Masks = dict[Site, NDArray[np.bool_]]


def random_subset(masks: Keep, rate: float, seed: Sequence[int]) -> Masks:
    """Each node of `masks` with probability `rate`; a function of `seed`."""
    random = np.random.default_rng(list(seed))
    return {site: mask & (random.random(len(mask)) < rate) for site, mask in sorted(masks.items())}


@dataclass(frozen=True)
class Attack:
    """`nodes`: those that were turned round; `margins`: uncalibrated, of the prompts then, (2N)."""

    nodes: tuple[Node, ...]
    margins: Tensor


@dataclass(frozen=True)
class Adversary:
    """Looks for the few nodes that, turned round, hurt the answers of a masked model most.

    `keep`: the nodes that are open; `allowed`: those that may be turned round, so that closed ones
    are restored and open ones cut. `answers`: the answer that every prompt should keep, +1 for the
    wanted one and -1 for the other, (2N). `edges`: as `CompactModel.margins` takes them. `steps`
    gradient steps from each of `restarts` starts, then at most `tries` additions and exchanges of
    single nodes. A set counts by what a forward pass with just its nodes turned round gives: by
    the share of answers lost, then by the mean of -log p(answer).
    """

    whole: CompactModel
    holding: Holding
    keep: Keep
    allowed: Keep
    prompts: PromptTensors
    answers: Tensor
    edges: Mapping[Site, Tensor] | None = None
    restarts: int = 6
    steps: int = 4
    tries: int = 24

    def worst(
        self, budgets: Sequence[int], seed: int, start: StartProgress = silent
    ) -> dict[int, Attack]:
        """The worst set found of at most so many nodes, for every budget; what a small budget can
        do, a larger one can. Raises `ablation-lengths`."""
        run = _Search(self)
        best = run.measure(np.zeros(run.count, dtype=np.bool_))
        found = {}
        wanted = sorted(set(budgets))
        with start("adversary", len(wanted) * self.restarts) as progress:
            for budget in wanted:
                for restart in range(self.restarts):
                    for chosen in run.climb(budget, restart, seed):
                        best = max(best, run.measure(chosen), key=lambda trial: trial.harm)
                    progress.advance(budget=budget, lost=best.harm[0])
                best = run.exchange(best, budget, self.tries)
                found[budget] = Attack(run.nodes(best.chosen), best.margins)
        return found


@dataclass(frozen=True)
class _Trial:
    """A set of nodes, as flags over those allowed, and what it does."""

    chosen: NDArray[np.bool_]
    margins: Tensor
    harm: tuple[float, float]


class _Search:
    """One search: `count` nodes may be turned round, each by a number from 0 (as it is) to 1."""

    def __init__(self, adversary: Adversary) -> None:
        self.asks = adversary
        prompts, whole = adversary.prompts, adversary.whole
        reference = adversary.holding.reference(whole, prompts)
        self.reference = reference or Reference(Packed.of(prompts))
        self.sites = sorted(adversary.keep)
        self.sizes = [len(adversary.keep[site]) for site in self.sites]
        kind = whole.model.unembedding.weight.dtype
        self.base = torch.from_numpy(_flat(adversary.keep, self.sites)).to(kind)
        self.places = torch.from_numpy(_flat(adversary.allowed, self.sites)).nonzero()[:, 0]
        self.count = len(self.places)
        self.answers = adversary.answers.to(kind)
        side = prompts.side.to(kind)
        # An offset moves the two sides of a pair against each other, so that their sum hides it.
        self.sides = torch.stack([torch.ones_like(side), (side > 0).to(kind), (side < 0).to(kind)])

    def measure(self, chosen: NDArray[np.bool_]) -> _Trial:
        with torch.no_grad():
            margins = self._margins(torch.from_numpy(chosen).to(self.base.dtype)).double()
        left = margins * self.answers
        harm = float((left <= 0).double().mean()), float(functional.softplus(-left).mean())
        return _Trial(chosen, margins, harm)

    def climb(self, budget: int, restart: int, seed: int) -> Iterator[NDArray[np.bool_]]:
        """Frank-Wolfe over all mixtures of sets within the budget; gives the set that each step
        goes towards, the nodes of the highest slopes."""
        sides = self.sides[restart % len(self.sides)][None]
        at = torch.zeros(self.count, dtype=self.base.dtype)
        if restart >= len(self.sides):
            # Where nodes act only together, there is a slope only between none and all.
            random = np.random.default_rng([seed, budget, restart])
            at = torch.from_numpy(random.random(self.count) * random.random()).to(at.dtype)
        for step in range(self.asks.steps):
            chosen = _highest(self.slopes(at, sides)[0], budget)
            yield chosen
            share = 2 / (step + 2)
            at = (1 - share) * at + share * torch.from_numpy(chosen).to(at.dtype)

    def exchange(self, best: _Trial, budget: int, tries: int) -> _Trial:
        """Add nodes while the budget lasts, else put them in the place of those that do least."""
        better = True
        while better and tries > 0:
            better = False
            at = torch.from_numpy(best.chosen).to(self.base.dtype)
            slopes = self.slopes(at, self.sides)
            slopes /= np.abs(slopes).max(axis=1, keepdims=True, initial=1e-30)
            for chosen in islice(_neighbours(best.chosen, slopes.max(axis=0), budget), tries):
                tries -= 1
                trial = self.measure(chosen)
                if trial.harm > best.harm:
                    best, better = trial, True
                    break
        return best

    def slopes(self, at: Tensor, sides: Tensor) -> NDArray[np.float64]:
        """How fast answers lose margin as each node is turned round, at a point: (sides, count),
        one row for every row of weights of the prompts."""
        at = at.clone().requires_grad_()
        # Below zero an answer is lost and cannot be lost again.
        lost = -functional.relu(self._margins(at) * self.answers)
        rows = [torch.autograd.grad((row * lost).sum(), at, retain_graph=True)[0] for row in sides]
        return torch.stack(rows).double().numpy()

    def nodes(self, chosen: NDArray[np.bool_]) -> tuple[Node, ...]:
        ends = np.cumsum(self.sizes)
        found = []
        for place in self.places.numpy()[chosen]:
            site = int(np.searchsorted(ends, place, side="right"))
            found.append(Node(self.sites[site], int(place - ends[site] + self.sizes[site])))
        return tuple(found)

    def _margins(self, at: Tensor) -> Tensor:
        turned = torch.zeros_like(self.base).index_put((self.places,), at)
        flat = self.base + (1 - 2 * self.base) * turned
        gates: Gates = dict(zip(self.sites, torch.split(flat, self.sizes), strict=True))
        asks = self.asks
        return asks.whole.margins(asks.prompts, gates, self.reference, asks.edges)


def _flat(masks: Keep, sites: Sequence[Site]) -> NDArray[np.bool_]:
    return np.concatenate([masks[site] for site in sites])


def _highest(slope: NDArray[np.float64], budget: int) -> NDArray[np.bool_]:
    """At most `budget` nodes, those of the highest slopes above 0."""
    order = np.argsort(-slope, kind="stable")[:budget]
    chosen = np.zeros(len(slope), dtype=np.bool_)
    chosen[order[slope[order] > 0]] = True
    return chosen


def _neighbours(
    chosen: NDArray[np.bool_], slope: NDArray[np.float64], budget: int
) -> Iterator[NDArray[np.bool_]]:
    """Sets with one node more, or with one exchanged where the budget is used up; the most
    promising first."""
    mine = np.flatnonzero(chosen)
    mine = mine[np.argsort(slope[mine], kind="stable")]
    others = np.flatnonzero(~chosen & (slope != 0))
    others = others[np.argsort(-slope[others], kind="stable")]
    for old in mine if len(mine) >= budget else (None,):
        for new in others:
            changed = chosen.copy()
            changed[new] = True
            if old is not None:
                changed[old] = False
            yield changed
