"""Edges that a circuit can spare, and what each of them cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wirework.circuit import edges
from wirework.core import Edge, Node
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate

_HOPELESS = 4
"""An edge without which the pairs that price it lose more than this times the target is not tried:
that would be half of the target on all of `select` if nothing else were lost there."""


@dataclass(frozen=True)
class Drop:
    """One edge that went: loss before and after in nats, calibrated, on the pairs of `select` by
    which edges are priced (`config.price_pairs`).

    `nodes`: those that then lay on no path and went with it, with all their edges.
    """

    edge: Edge
    before: float
    after: float
    nodes: tuple[Node, ...] = ()

    def to_json(self) -> dict[str, Any]:
        nodes = [str(node) for node in self.nodes]
        return {"edge": str(self.edge), "before": self.before, "after": self.after, "nodes": nodes}


def drop_edges(
    bench: Bench, found: Candidate, start: StartProgress = silent
) -> tuple[Candidate, tuple[Drop, ...]]:
    """Cut edges that the target can spare, cheapest first, until none is left to spare.

    Each round ranks the edges by the exact loss with each alone cut (`Bench.price`), then bisects
    how many of the cheapest can go together. When none can, each is tried by itself. What is left
    must pass `Bench.measure`; nodes that lie on no path any more go as well. Returns the circuit
    and the drops in order.
    """
    drops: list[Drop] = []
    with start("edge clean-up", found.edges) as progress:
        while True:
            ranked = _cheapest_first(bench, found)
            fewer = _drop_most(bench, found, ranked) or _drop_singly(bench, found, ranked)
            if fewer is None:
                return found, tuple(drops)
            drops += _paid(bench, found, fewer, ranked)
            progress.advance(found.edges - fewer.edges, edges=fewer.edges, loss=fewer.loss)
            found = fewer


def _cheapest_first(bench: Bench, found: Candidate) -> list[Edge]:
    """Edges worth trying, by the loss with each of them cut, equal ones by name."""
    prices = {edge: bench.price(found, edge) for edge, _ in edges(found.lone, found.nodes)}
    least = _HOPELESS * bench.config.target_loss
    return sorted((e for e in prices if prices[e] <= least), key=lambda e: (prices[e], e))


def _drop_most(bench: Bench, found: Candidate, ranked: list[Edge]) -> Candidate | None:
    """The candidate without as many of the first `ranked` as the target bears; None for none."""
    best = None
    low, high = 0, len(ranked) + 1
    while high - low > 1:
        middle = (low + high) // 2
        trial = bench.measure(found.keep, found.cut.union(ranked[:middle]))
        if trial.meets_target:
            low, best = middle, trial
        else:
            high = middle
    return best


def _drop_singly(bench: Bench, found: Candidate, ranked: list[Edge]) -> Candidate | None:
    """One pass over the edges: each that can go, goes; None where all must stay."""
    fewer = None
    for edge in ranked:
        now = fewer or found
        if _holds(now, edge):
            trial = bench.measure(now.keep, now.cut | {edge})
            fewer = trial if trial.meets_target else fewer
    return fewer


def _paid(bench: Bench, found: Candidate, fewer: Candidate, ranked: list[Edge]) -> list[Drop]:
    """Walk from `found` to `fewer` edge by edge, in order of `ranked`."""
    drops = []
    now, before = found, bench.price(found)
    for edge in ranked:
        if _holds(now, edge) and not _holds(fewer, edge):
            keep, lone, cut = bench.take_out(now.keep, now.cut | {edge})
            then = replace(fewer, keep=keep, lone=lone, cut=cut)
            after = bench.price(then)
            drops.append(Drop(edge, before, after, _fallen(now, then)))
            now, before = then, after
    return drops


def _holds(found: Candidate, edge: Edge) -> bool:
    ends = (edge.source, edge.target)
    return edge not in found.cut and all(found.keep[end.site][end.index] for end in ends)


def _fallen(before: Candidate, after: Candidate) -> tuple[Node, ...]:
    return tuple(sorted(set(_nodes(before)) - set(_nodes(after))))


def _nodes(found: Candidate) -> Iterable[Node]:
    return (Node(site, index) for site, held in found.nodes.items() for index in held)
