"""From gate values to the smallest set of nodes that meets the target loss."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import (
    Keep,
    PromptTensors,
    TaskScore,
    calibrate,
    keep_of,
    kept_nodes,
    lone_margins,
    score_of,
    site_gates,
)
from wirework.circuit import Calibration, Nodes, edges, extract, on_path
from wirework.core import Node, Site
from wirework.core.progress import StartProgress, silent
from wirework.discovery.config import DiscoveryConfig
from wirework.engine import Network
from wirework.model import Checkpoint


@dataclass(frozen=True)
class Candidate:
    """A set of nodes, nodes off every path removed, with its loss on `select`.

    `margin`: mean margin of the wanted answers there, before calibration.
    """

    keep: Keep
    lone: Network
    calibration: Calibration
    loss: float
    margin: float
    meets_target: bool

    @cached_property
    def nodes(self) -> Nodes:
        return kept_nodes(self.keep)

    def __len__(self) -> int:
        return sum(len(indices) for indices in self.nodes.values())


class Bench:
    """Measures sets of nodes as lone circuits: calibrated on `fit`, scored on `select`.

    `answers`, `tokens`: the task's answer and prompt tokens; `full`: the whole model on `select`,
    calibrated as candidates are; `full_margin`: its mean margin there, uncalibrated.
    With `config.every_template` each template must meet the target, or else what the whole model
    reaches there: the smallest set would otherwise give up the templates that cost most.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        fit: PromptTensors,
        select: PromptTensors,
        answers: NDArray[np.int64],
        tokens: NDArray[np.int64],
        full: TaskScore,
        full_margin: float,
        config: DiscoveryConfig,
    ) -> None:
        self.means = checkpoint.means
        self.network = checkpoint.sparse()
        self.fit = fit
        self.select = select
        self.answers = answers
        self.tokens = tokens
        self.config = config
        target = config.target_loss
        limits = {key: max(target, loss) for key, loss in full.by_template().items()}
        self.limits = limits if config.every_template else {}
        self.least_margin = -np.inf
        self.widths = {site: len(mean) for site, mean in checkpoint.means.items()}
        empty = self.measure({s: np.zeros(n, dtype=np.bool_) for s, n in self.widths.items()})
        if full_margin > empty.margin:
            self.least_margin = empty.margin + config.faithfulness * (full_margin - empty.margin)

    def measure(self, keep: Keep) -> Candidate:
        """Remove nodes off every path, take the circuit out, calibrate, score."""
        used = on_path(self.network, kept_nodes(keep), outputs=self.answers, tokens=self.tokens)
        keep = keep_of(used, self.widths)
        lone = extract(self.network, site_gates(keep, self.means), self.answers)
        calibration = Calibration()
        if self.config.calibrate == "during":
            calibration = self.calibration(lone, self.config.calibration_pairs)
        values = torch.from_numpy(lone_margins(lone, self.select, np.float32))
        result = score_of(values, self.select, calibration)
        margin = float(values.mean())
        meets = result.loss <= self.config.target_loss and margin >= self.least_margin
        meets = meets and all(
            loss <= self.limits.get(key, np.inf) for key, loss in result.by_template().items()
        )
        return Candidate(keep, lone, calibration, result.loss, margin, meets)

    def calibration(self, lone: Network, pairs: int | None = None) -> Calibration:
        """Scale and shift on `fit`, or on some pairs of it."""
        part = self.fit if pairs is None else self.fit.first(pairs)
        return calibrate(torch.from_numpy(lone_margins(lone, part, np.float32)), part.side)

    def price(self, found: Candidate, node: Node | None = None) -> float:
        """Loss on part of `select`, with one node of the candidate held at its constant."""

        def cut(x: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
            assert node is not None
            x = x.copy()
            x[..., node.index] = self.means[node.site][node.index]
            return x

        part = self.select.first(self.config.price_pairs)
        replace = None if node is None else {node.site: cut}
        values = lone_margins(found.lone, part, np.float32, replace=replace)
        return score_of(torch.from_numpy(values), part, found.calibration).loss


def smallest(
    bench: Bench,
    taus: dict[Site, NDArray[np.float32]],
    start: StartProgress = silent,
) -> Candidate | None:
    """Rank nodes by tau and bisect to the fewest that meet the target (§4.8).

    Equal taus are ranked by site, then index. None where even all nodes miss the target.
    """
    places = sorted(taus)
    values = np.concatenate([taus[site] for site in places])
    order = np.argsort(-values, kind="stable")
    ends = np.cumsum([len(taus[site]) for site in places])[:-1]

    def top(k: int) -> Candidate:
        flat = np.zeros(len(values), dtype=np.bool_)
        flat[order[:k]] = True
        trial = bench.measure(dict(zip(places, np.split(flat, ends), strict=True)))
        progress.advance(nodes=k, loss=trial.loss)
        return trial

    with start("discretise", len(values).bit_length() + 1) as progress:
        low, high = 0, int((values >= 0).sum())
        best = top(high)
        if not best.meets_target:
            low, high = high, len(values)
            best = top(high)
            if not best.meets_target:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            trial = top(middle)
            if trial.meets_target:
                high, best = middle, trial
            else:
                low = middle
    return best


def drop_nodes(bench: Bench, found: Candidate, start: StartProgress = silent) -> Candidate:
    """Cut nodes that the target can spare, cheapest first, until none is left to spare.

    Each round prices every node's removal alone, then bisects how many of the cheapest can go
    together. When none can, each is tried by itself.
    """
    with start("clean-up", len(found)) as progress:
        while True:
            ranked = _cheapest_first(bench, found)
            fewer = _drop_most(bench, found, ranked) or _drop_singly(bench, found, ranked)
            if fewer is None:
                return found
            progress.advance(len(found) - len(fewer), nodes=len(fewer), loss=fewer.loss)
            found = fewer


def _cheapest_first(bench: Bench, found: Candidate) -> list[Node]:
    """Nodes by the loss that cutting each costs for every edge that goes with it."""
    nodes = [Node(site, index) for site, held in found.nodes.items() for index in held]
    ends = Counter(
        n for edge, _ in edges(found.lone, found.nodes) for n in (edge.source, edge.target)
    )
    before = bench.price(found)
    cost = {node: max(0.0, bench.price(found, node) - before) for node in nodes}
    return sorted(nodes, key=lambda node: (cost[node] / (1 + ends[node]), node))


def _drop_singly(bench: Bench, found: Candidate, ranked: list[Node]) -> Candidate | None:
    """One pass over the nodes: each that can go, goes; None where all must stay."""
    fewer = None
    for node in ranked:
        now = fewer or found
        if now.keep[node.site][node.index]:
            trial = bench.measure(_without(now.keep, [node]))
            fewer = trial if trial.meets_target else fewer
    return fewer


def _drop_most(bench: Bench, found: Candidate, ranked: list[Node]) -> Candidate | None:
    """The candidate without as many of the first `ranked` as the target bears; None for none."""
    best = None
    low, high = 0, len(ranked) + 1
    while high - low > 1:
        middle = (low + high) // 2
        trial = bench.measure(_without(found.keep, ranked[:middle]))
        if trial.meets_target:
            low, best = middle, trial
        else:
            high = middle
    return best


def _without(keep: Keep, nodes: list[Node]) -> Keep:
    copy = {site: kept.copy() for site, kept in keep.items()}
    for node in nodes:
        copy[node.site][node.index] = False
    return copy
