"""Random circuits: does the circuit beat others of its size, kept and removed?"""

from __future__ import annotations

from math import nan

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import Keep, PromptTensors, calibrate, inverted, score_of
from wirework.core import Measure, Site
from wirework.core.progress import StartProgress
from wirework.core.stats import share_interval
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.subject import Subject


def control_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`sufficiency` and `necessity`: share of random circuits beaten (design §4).

    A random circuit has as many nodes at every site as the circuit, drawn from all nodes there to
    be kept and from the others to be removed, and every edge between them; where edges were cut,
    what is removed is the circuit's nodes. `necessity` is NaN where the others are fewer than half
    of the circuit's nodes: then there is nothing to remove in their place.
    Every loss compared here, the circuit's own included, is the two-sided loss on the same pairs
    after the best scale > 0 and shift for those pairs, so that nobody wins by calibration.
    """
    draws, sample = config.draws, subject.sample(config.pairs, seed)
    kept_loss = _loss(subject.circuit_margins(sample), sample)
    removed_loss = _loss(subject.margins(inverted(subject.keep), sample), sample)
    beaten_kept = beaten_removed = 0
    with start("random circuits", draws) as progress:
        for draw in range(draws):
            other = random_circuit(subject.keep, seed, draw)
            beaten_kept += kept_loss < _loss(subject.margins(other, sample), sample)
            other = random_elsewhere(subject.keep, seed, draw)
            without = subject.margins(inverted(other), sample)
            beaten_removed += removed_loss > _loss(without, sample)
            progress.advance(kept=beaten_kept, removed=beaten_removed)
    how = f"Losses on {len(sample)} pairs of report, each circuit calibrated on them"
    found = {
        "sufficiency": _share(
            beaten_kept,
            draws,
            f"Share of random circuits, equal in size at every site, that do worse than the "
            f"circuit when only they are kept. {how}",
        ),
        "necessity": _share(
            beaten_removed if enough_others(subject.keep) else None,
            draws,
            f"Share of random sets of other nodes, equal in size at every site that has so many, "
            f"whose removal from the whole model hurts less than the circuit's. {how}",
        ),
    }
    return Findings(found)


def control_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    return 2 * config.draws


def random_circuit(keep: Keep, seed: int, draw: int) -> dict[Site, NDArray[np.bool_]]:
    """As many nodes at every site as `keep` has there, chosen evenly from all."""
    random = np.random.default_rng([seed, 1, draw])
    return {site: random.permuted(kept) for site, kept in sorted(keep.items())}


def random_elsewhere(keep: Keep, seed: int, draw: int) -> dict[Site, NDArray[np.bool_]]:
    """As many nodes at every site as `keep` has there, chosen evenly from the others; all of
    these where they are fewer."""
    random = np.random.default_rng([seed, 7, draw])
    found = {}
    for site, kept in sorted(keep.items()):
        others = np.flatnonzero(~kept)
        found[site] = np.zeros_like(kept)
        found[site][random.permutation(others)[: int(kept.sum())]] = True
    return found


def _loss(values: Tensor, sample: PromptTensors) -> float:
    return score_of(values, sample, calibrate(values, sample.side)).loss


def enough_others(keep: Keep) -> bool:
    """Whether `random_elsewhere` finds at least half as many nodes as are kept."""
    drawn = sum(min(int(kept.sum()), int((~kept).sum())) for kept in keep.values())
    return 2 * drawn >= sum(int(kept.sum()) for kept in keep.values())


def _share(hits: int | None, draws: int, note: str) -> Measure:
    """NaN for None."""
    if hits is None:
        return Measure(nan, n=draws, better="higher", note=note)
    low, high = share_interval(hits, draws)
    return Measure(hits / draws, low, high, draws, better="higher", note=note)
