"""The truth about a planted model: every minimal circuit, by enumeration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import PromptTensors, calibrate, margins, score_of
from wirework.core import Node, Site, WireworkError
from wirework.core.names import sites
from wirework.model import Taps
from wirework.planted.active import off_mean, read_nodes
from wirework.planted.draft import Planted

MOST_ACTIVE = 14
_ROWS = 4096


def minimal_circuits(
    planted: Planted, target_loss: float, *, every_template: bool = True
) -> list[frozenset[Node]]:
    """All sets of nodes that meet the target and of which no proper subset does.

    Meeting it means what it means to `discover` with `faithfulness` 0: every other node held at
    its reference mean, scale and shift fitted on `fit` (`calibrate`), two-sided loss on `select`
    at most `target_loss`, with `every_template` on the prompts of each template. Nothing is
    assumed about the loss of a set from the loss of another: every subset of the active nodes is
    measured but those that hold a minimal circuit already found.
    Nodes that are not active are kept meanwhile, and each is seen to stand at its mean or to be
    read by nothing, so that cutting it changes no number. By size, then by name. Raises
    `truth-too-large`.
    """
    active = planted.active
    if len(active) > MOST_ACTIVE:
        raise WireworkError(
            "truth-too-large",
            "the model has too many active nodes to try every set of them",
            expected=f"at most {MOST_ACTIVE}",
            got=str(len(active)),
        )
    trial = _Trial(planted, target_loss, every_template)
    found: list[NDArray[np.bool_]] = []
    for size in range(len(active) + 1):
        masks = _subsets(len(active), size)
        for smaller in found:
            masks = masks[~(masks | ~smaller).all(axis=1)]
        if len(masks):
            found += [mask for mask in masks[trial.hopeful(masks)] if trial.meets_target(mask)]
    return [frozenset(node for node, kept in zip(active, m, strict=True) if kept) for m in found]


def _subsets(count: int, size: int) -> NDArray[np.bool_]:
    chosen = list(combinations(range(count), size))
    masks = np.zeros((len(chosen), count), dtype=np.bool_)
    for row, places in enumerate(chosen):
        masks[row, list(places)] = True
    return masks


class _Trial:
    """Measures many sets of active nodes at once: one row for each set and prompt."""

    def __init__(self, planted: Planted, target_loss: float, every_template: bool) -> None:
        self.target_loss = target_loss
        self.every_template = every_template
        checkpoint = planted.checkpoint
        self.model = checkpoint.model
        self.active = planted.active
        self.means = {site: torch.from_numpy(mean) for site, mean in checkpoint.means.items()}
        encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
        self.fit, self.select = PromptTensors.of(encoded.fit), PromptTensors.of(encoded.select)
        self.still = {}
        for site, read in read_nodes(checkpoint.sparse(), encoded).items():
            self.still[site] = torch.from_numpy(read.copy())
        for node in self.active:
            self.still[node.site][node.index] = False

    def hopeful(self, masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which sets might meet the target, whatever their calibration.

        A prompt on the wrong side costs at least log 2, and no scale > 0 and shift get fewer of
        them on the wrong side than the best threshold between the two sides.
        """
        values = self.margins(masks, self.select) * self.select.side
        ordered, order = values.sort(dim=1)
        first = (self.select.side[order] > 0).double()
        none = torch.zeros(len(masks), 1, dtype=torch.float64)
        below = torch.cat([none, first.cumsum(1)], 1)
        above = torch.cat([none, (1 - first).cumsum(1)], 1)
        wrong = below + above[:, -1:] - above
        # A threshold cannot stand between equal values.
        tied = torch.cat([none, (ordered.diff(dim=1) == 0).double(), none], 1)
        least = wrong.masked_fill(tied > 0, torch.inf).amin(1)
        bound = np.log(2) * least.numpy() / values.shape[1]
        return np.asarray(bound <= self.target_loss)

    def meets_target(self, mask: NDArray[np.bool_]) -> bool:
        """Whether one set, calibrated on `fit`, reaches the target on `select`."""
        calibration = calibrate(self.margins(mask[None], self.fit)[0], self.fit.side)
        result = score_of(self.margins(mask[None], self.select)[0], self.select, calibration)
        losses = result.by_template().values() if self.every_template else [result.loss]
        return max(losses) <= self.target_loss

    @torch.no_grad()
    def margins(self, masks: NDArray[np.bool_], prompts: PromptTensors) -> Tensor:
        """Margins of every prompt (2N) under every mask (M, active nodes): (M, 2N)."""
        rows = len(prompts.last)
        found = [torch.empty(0, rows, dtype=torch.float64)]
        for piece in torch.split(torch.from_numpy(masks), max(1, _ROWS // rows)):
            many = _repeated(prompts, len(piece))
            taps = Taps(record=self.still, replace=self.replace(piece, rows))
            found.append(margins(self.model, many, taps).double().view(len(piece), rows))
            for site, value in taps.values.items():
                moved = off_mean(value, self.means[site], many) & self.still[site]
                assert not moved.any(), f"{site} has nodes that are active after all"
        return torch.cat(found)

    def replace(self, masks: Tensor, rows: int) -> dict[Site, Callable[[Tensor], Tensor]]:
        """What to do at each site with active nodes; masks (M, active)."""
        changes: dict[Site, Callable[[Tensor], Tensor]] = {}
        for site in sites(self.model.config.n_layer):
            mine = [i for i, node in enumerate(self.active) if node.site == site]
            if mine:
                keep = torch.ones(len(masks), len(self.means[site]), dtype=torch.bool)
                keep[:, [self.active[i].index for i in mine]] = masks[:, mine]
                keep = keep.repeat_interleave(rows, 0)[:, None, :]
                changes[site] = partial(_choose, keep, self.means[site])
        return changes


def _repeated(prompts: PromptTensors, times: int) -> PromptTensors:
    return prompts.rows(torch.arange(len(prompts.last)).repeat(times))


def _choose(keep: Tensor, mean: Tensor, x: Tensor) -> Tensor:
    return torch.where(keep, x, mean)
