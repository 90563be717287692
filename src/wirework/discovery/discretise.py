"""From gate values to the smallest set of nodes that meets the target loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import Keep
from wirework.circuit import edges
from wirework.core import Node, Site
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate, Price

Scores = Mapping[Site, NDArray[np.floating[Any]]]
"""One number per node, site -> (channels,); HIGHER = KEEP."""


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
) -> Candidate | None:
    """Rank nodes by score and bisect to the fewest that meet the target (§4.8).

    `first`: how many nodes are tried first, half as many again each time until the target is met;
    by default those with a score >= 0 (the open gates of trained gates). More nodes need not do
    better: far above the open gates thousands can miss what some dozens meet. None where even all
    nodes miss the target.
    """
    top = ranked(scores)
    count = sum(len(values) for values in scores.values())

    def trial(k: int) -> Candidate:
        found = bench.measure(top(k))
        progress.advance(nodes=k, loss=found.loss)
        return found

    with start("discretise", count.bit_length() + 1) as progress:
        low, high = 0, first or sum(int((values >= 0).sum()) for values in scores.values())
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


def drop_nodes(bench: Bench, found: Candidate, start: StartProgress = silent) -> Candidate:
    """Cut nodes that the target can spare, cheapest first, until none is left to spare.

    Each round prices every node's removal alone and bisects how many of the cheapest can go
    together; then those whose price is bearable are tried one by one, until `config.tries` in a
    row must stay.
    """
    with start("clean-up", len(found)) as progress:
        while True:
            prices = {node: bench.weigh(found, node) for node in _nodes(found)}
            ranked = _cheapest_first(found, prices)
            fewer = _drop_most(bench, found, ranked) or found
            fewer = _drop_singly(bench, fewer, [n for n in ranked if prices[n].bearable])
            if fewer is found:
                return found
            progress.advance(len(found) - len(fewer), nodes=len(fewer), loss=fewer.loss)
            found = fewer


def _nodes(found: Candidate) -> list[Node]:
    return [Node(site, index) for site, held in found.nodes.items() for index in held]


def _cheapest_first(found: Candidate, prices: Mapping[Node, Price]) -> list[Node]:
    """Nodes by the loss that cutting each costs for every edge that goes with it."""
    ends = Counter(
        n for edge, _ in edges(found.lone, found.nodes) for n in (edge.source, edge.target)
    )
    cost = {node: max(0.0, price.loss) / (1 + ends[node]) for node, price in prices.items()}
    return sorted(prices, key=lambda node: (cost[node], node))


def _drop_most(bench: Bench, found: Candidate, ranked: list[Node]) -> Candidate | None:
    """The candidate without as many of the first `ranked` as the target bears; None for none."""
    best = None
    low, high = 0, len(ranked) + 1
    while high - low > 1:
        middle = (low + high) // 2
        trial = bench.measure(_without(found.keep, ranked[:middle]), found.cut)
        if trial.meets_target:
            low, best = middle, trial
        else:
            high = middle
    return best


def _drop_singly(bench: Bench, found: Candidate, ranked: list[Node]) -> Candidate:
    refused = 0
    for node in ranked:
        if refused == bench.config.tries:
            break
        if found.keep[node.site][node.index]:
            trial = bench.measure(_without(found.keep, [node]), found.cut)
            refused = 0 if trial.meets_target else refused + 1
            found = trial if trial.meets_target else found
    return found


def _without(keep: Keep, nodes: list[Node]) -> Keep:
    copy = {site: kept.copy() for site, kept in keep.items()}
    for node in nodes:
        copy[node.site][node.index] = False
    return copy
