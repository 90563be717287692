"""Whether nodes can be read as on or off: every one replaced by two values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import Reference, calibrate, score_of
from wirework.core import Measure, Site
from wirework.core.stats import share_interval
from wirework.validation.both_runs import STILL, BothRuns
from wirework.validation.findings import Findings
from wirework.validation.intervals import loss_over_pairs, share

_ENOUGH = 0.9
"""Share of a node's variance that two values explain from which it counts as on or off."""


@dataclass(frozen=True)
class TwoValues:
    """n nodes as two values each: `high` above `threshold`, `low` up to it, (n) each, float64.

    `explained`: share of the variance that the two explain; 1 where the node does not vary.
    """

    threshold: Tensor
    low: Tensor
    high: Tensor
    explained: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """x (rows, n) -> the same as two values."""
        return torch.where(x > self.threshold, self.high, self.low)


def two_values(x: Tensor) -> TwoValues:
    """The split of every column of x (rows, n) with the least squared error (Otsu's).

    The threshold stands half way between the two nearest rows of different sides.
    """
    x = x.double().sort(0).values
    rows, mean = len(x), x.mean(0)
    if rows == 1:
        return TwoValues(mean, mean, mean, torch.ones_like(mean))
    below = torch.arange(1, rows, dtype=torch.float64)[:, None]
    sums = (x - mean).cumsum(0)[:-1]
    # Between-class sum of squares of every split, none where it would part equal rows.
    between = sums.square() * rows / (below * (rows - below))
    between = between.masked_fill(x[1:] == x[:-1], -1)
    best, at = between.max(0)
    column = torch.arange(x.shape[1])
    shift = sums[at, column]
    count = below[at, 0]
    varies = best >= 0
    low = torch.where(varies, mean + shift / count, mean)
    high = torch.where(varies, mean - shift / (rows - count), mean)
    threshold = torch.where(varies, (x[at, column] + x[at + 1, column]) / 2, mean)
    total = (x - mean).square().sum(0)
    still = total <= STILL * x.square().sum(0)
    explained = torch.where(varies & ~still, best / total, 1.0)
    return TwoValues(threshold, low, high, explained)


def binarised_findings(fit: BothRuns, report: BothRuns, *, seed: int) -> Findings:
    """`binarised_loss`, `binarised_accuracy`, `binarised_nodes` (weight_sparse_paper.md §7).

    Every kept node becomes two values, of one threshold and two means fitted on its activations
    in the pruned run over all tokens of prompts of `fit`; site after site, so that each sees what
    the ones before it have become. Loss and accuracy of the circuit then, calibrated anew on
    the same prompts. The published procedure is not known. A node binarises if the two values
    explain 0.9 of its variance; `details["binarised"]` has every node.
    """
    fitted = {site: _fitted(fit, site) for site in fit.kept}
    if not fitted:
        return Findings()
    calibration = calibrate(_margins(fit, fitted), fit.prompts.side)
    score = score_of(_margins(report, fitted), report.prompts, calibration)
    explained = torch.cat([values.explained for values in fitted.values()])
    good = explained >= _ENOUGH
    hits, n = int(good.sum()), len(good)
    found = {
        "binarised_loss": loss_over_pairs(
            report.prompts, score, seed=seed,
            note="Two-sided loss in nats of the circuit with every node replaced by two values",
        ),
        "binarised_accuracy": share(
            report.prompts,
            score.margins > 0,
            "Share of prompts that the circuit answers right with every node replaced by two "
            "values",
        ),
        "binarised_nodes": Measure(
            hits / n, *share_interval(hits, n), n, better="higher",
            note="Share of kept nodes of which two values explain nine tenths of the variance",
        ),
    }  # fmt: skip
    fits = list(fitted.values())
    table = {
        "node": [str(node) for node in fit.nodes],
        "explained": explained.tolist(),
        "binarises": good.tolist(),
        "threshold": torch.cat([values.threshold for values in fits]).tolist(),
        "low": torch.cat([values.low for values in fits]).tolist(),
        "high": torch.cat([values.high for values in fits]).tolist(),
    }
    return Findings(found, {"binarised": table})


def turns_of(layers: int) -> int:
    """Forward passes over the prompts of a split: one for every place in turn, one for margins."""
    return 6 * layers + 2


def _fitted(runs: BothRuns, site: Site) -> TwoValues:
    """Fitted on every token of every prompt, as often as it stands there."""
    x = runs.activations(site)[0]
    if not runs.subject.whole.only_ends(site):
        packed = runs.held.packed
        real = torch.arange(packed.length) <= runs.prompts.last[:, None]
        x = x[packed.rows[real]]
    return two_values(x)


def _margins(runs: BothRuns, fitted: dict[Site, TwoValues]) -> Tensor:
    """Uncalibrated margins of the circuit with all its nodes at two values, (2N)."""
    subject = runs.subject
    done = {site: np.zeros_like(kept) for site, kept in subject.keep.items()}
    values: dict[Site, Tensor] = {}
    for _, places in groupby(sorted(fitted), _turn):
        gates, told = runs.swap(done, values)
        run = Reference(told.packed)
        with torch.no_grad():
            subject.whole.margins(runs.prompts, gates, told, subject.edges, run)
        for site in places:
            kept = runs.kept[site]
            whole = run.values[site].clone()
            whole[:, kept] = fitted[site](whole[:, kept].double()).to(whole.dtype)
            values[site] = whole
            done[site] = subject.keep[site]
    return runs.circuit_with(done, values)


def _turn(site: Site) -> tuple[int | None, str]:
    """Queries, keys and values of a layer do not see each other: they take one turn."""
    kind = "attn.qkv" if site.kind in ("attn.q", "attn.k", "attn.v") else site.kind
    return site.layer, kind
