"""From gate values to the smallest set of nodes that meets the target loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import (
    Keep,
    PromptTensors,
    TaskScore,
    all_margins,
    calibrate,
    keep_of,
    keep_taps,
    kept_nodes,
    score,
)
from wirework.circuit import Calibration, Nodes, on_path
from wirework.circuit.graph import edges
from wirework.core import Site
from wirework.core.progress import StartProgress, silent
from wirework.engine import Network
from wirework.model import Checkpoint


@dataclass(frozen=True)
class Candidate:
    """A set of nodes after nodes off every path were removed, with its loss on `select`."""

    keep: Keep
    calibration: Calibration
    select: TaskScore

    @cached_property
    def nodes(self) -> Nodes:
        return kept_nodes(self.keep)


class Bench:
    """Measures sets of nodes: calibrated on `fit`, scored on `select`."""

    def __init__(
        self, checkpoint: Checkpoint, fit: PromptTensors, select: PromptTensors,
        answers: NDArray[np.int64], tokens: NDArray[np.int64], *, calibrate_during: bool,
    ) -> None:  # fmt: skip
        self.checkpoint = checkpoint
        self.fit = fit
        self.select = select
        self.answers = answers
        self.tokens = tokens
        self.calibrate_during = calibrate_during
        self.network: Network = checkpoint.sparse()
        self.widths = {site: len(mean) for site, mean in checkpoint.means.items()}

    def on_paths(self, keep: Keep) -> Keep:
        """Without the nodes that lie on no path from the prompts' tokens to the answers."""
        used = on_path(self.network, kept_nodes(keep), outputs=self.answers, tokens=self.tokens)
        return keep_of(used, self.widths)

    def calibration(self, keep: Keep) -> Calibration:
        taps = keep_taps(keep, self.checkpoint.means)
        return calibrate(all_margins(self.checkpoint.model, self.fit, taps), self.fit.side)

    def measure(self, keep: Keep) -> Candidate:
        """Remove nodes off every path, calibrate, score."""
        keep = self.on_paths(keep)
        calibration = self.calibration(keep) if self.calibrate_during else Calibration()
        taps = keep_taps(keep, self.checkpoint.means)
        return Candidate(
            keep, calibration, score(self.checkpoint.model, self.select, taps, calibration)
        )

    def edge_count(self, nodes: Nodes) -> int:
        return len(edges(self.network, nodes))


def smallest(
    bench: Bench,
    taus: dict[Site, NDArray[np.float32]],
    target_loss: float,
    start: StartProgress = silent,
) -> Candidate | None:
    """Rank nodes by tau and bisect to the fewest that meet the target on `select` (§4.8).

    Equal taus are ranked by site, then index. None where even all nodes miss the target.
    """
    places = sorted(taus)
    values = np.concatenate([taus[site] for site in places])
    order = np.argsort(-values, kind="stable")

    def top(k: int) -> Keep:
        flat = np.zeros(len(values), dtype=np.bool_)
        flat[order[:k]] = True
        ends = np.cumsum([len(taus[site]) for site in places])
        return dict(zip(places, np.split(flat, ends[:-1]), strict=True))

    with start("discretise", len(values).bit_length() + 1) as progress:
        high = int((values >= 0).sum())
        best = bench.measure(top(high))
        progress.advance(nodes=high, loss=best.select.loss)
        low = 0
        if best.select.loss > target_loss:
            low, high = high, len(values)
            best = bench.measure(top(high))
            if best.select.loss > target_loss:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            trial = bench.measure(top(middle))
            progress.advance(nodes=middle, loss=trial.select.loss)
            if trial.select.loss <= target_loss:
                high, best = middle, trial
            else:
                low = middle
    return best


def drop_nodes(
    bench: Bench, found: Candidate, target_loss: float, start: StartProgress = silent
) -> Candidate:
    """Cut, one by one, nodes whose loss the target can bear, cheapest first.

    Each round measures every node's removal on `select` and bisects how many of the cheapest can
    go together; rounds end when none can.
    """
    with start("clean-up", sum(len(indices) for indices in found.nodes.values())) as progress:
        while True:
            ranked = _by_price(bench, found)
            fewer = _drop_most(bench, found, ranked, target_loss)
            if fewer is None:
                return found
            before = sum(len(i) for i in found.nodes.values())
            found = fewer
            after = sum(len(i) for i in found.nodes.values())
            progress.advance(before - after, nodes=after, loss=found.select.loss)


def _by_price(bench: Bench, found: Candidate) -> list[tuple[Site, int]]:
    taps_of = bench.checkpoint.means
    prices = []
    for site, indices in found.nodes.items():
        for index in indices:
            keep = _without(found.keep, [(site, index)])
            taps = keep_taps(keep, taps_of)
            loss = score(bench.checkpoint.model, bench.select, taps, found.calibration).loss
            prices.append((loss, site, index))
    return [(site, index) for _, site, index in sorted(prices)]


def _drop_most(
    bench: Bench, found: Candidate, ranked: list[tuple[Site, int]], target_loss: float
) -> Candidate | None:
    low, high, best = 0, len(ranked), None
    while high - low > 1 or best is None:
        middle = max(1, (low + high) // 2)
        trial = bench.measure(_without(found.keep, ranked[:middle]))
        if trial.select.loss <= target_loss:
            low, best = middle, trial
        elif middle == 1:
            return best
        else:
            high = middle
    return best


def _without(keep: Keep, nodes: list[tuple[Site, int]]) -> Keep:
    copy = {site: kept.copy() for site, kept in keep.items()}
    for site, index in nodes:
        copy[site][index] = False
    return copy
