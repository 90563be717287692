"""From gate values to the smallest set of nodes that meets the target loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import Keep
from wirework.core import Site
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate

Scores = Mapping[Site, NDArray[np.floating[Any]]]
"""One number per node, site -> (channels,); HIGHER = KEEP, -inf = never."""


def ranked(scores: Scores) -> Callable[[int], Keep]:
    """The masks of the k nodes with the highest scores, for any k.

    Equal scores are ranked by site, then index.
    """
    places = sorted(scores)
    values = np.concatenate([scores[site] for site in places])
    order = np.argsort(-values, kind="stable")
    ends = np.cumsum([len(scores[site]) for site in places])[:-1]

    def top(k: int) -> Keep:
        flat = np.zeros(len(values), dtype=np.bool_)
        flat[order[:k]] = True
        return dict(zip(places, np.split(flat, ends), strict=True))

    return top


def smallest(
    bench: Bench,
    scores: Scores,
    start: StartProgress = silent,
    *,
    first: int | None = None,
    most: int | None = None,
) -> Candidate | None:
    """Rank nodes by score and bisect to the fewest that meet the target (§4.8).

    `first`: how many nodes are tried first, half as many again each time until the target is met;
    by default those with a score >= 0 (the open gates of trained gates). More nodes need not do
    better: far above the open gates thousands can miss what some dozens meet. `most`: how many are
    tried at most, beyond the first. None where all that were tried miss the target.
    """
    top = ranked(scores)
    count = sum(int((values > -np.inf).sum()) for values in scores.values())

    def trial(k: int) -> Candidate:
        found = bench.measure(top(k))
        progress.advance(nodes=k, loss=found.loss)
        return found

    with start("discretise", 2 * count.bit_length()) as progress:
        low, high = 0, first or sum(int((values >= 0).sum()) for values in scores.values())
        count = count if most is None else min(count, most)
        best = trial(high)
        while not best.meets_target:
            if high >= count:
                return None
            low, high = high, min(high + high // 2 + 1, count)
            best = trial(high)
        while high - low > 1:
            middle = (low + high) // 2
            found = trial(middle)
            if found.meets_target:
                high, best = middle, found
            else:
                low = middle
    return best
