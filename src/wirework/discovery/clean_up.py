"""Nodes and edges that the target can spare, cheapest first by exact effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from wirework.ablation import Keep
from wirework.circuit import edges, every_node
from wirework.core import Edge, Node
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate, Price

Part = TypeVar("Part", Node, Edge)


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


def drop_nodes(bench: Bench, found: Candidate, start: StartProgress = silent) -> Candidate:
    """Cut nodes until the target can spare none.

    Each round prices every node's removal alone and bisects how many of the cheapest can go
    together; then those whose price is bearable are tried one by one, until `config.tries` in a
    row must stay. A price is the loss for every edge that goes with the node.
    """

    def without(now: Candidate, nodes: list[Node]) -> Candidate:
        return bench.measure(_without(now.keep, nodes), now.cut)

    with start("clean-up", 0) as progress:
        while True:
            prices = {node: bench.weigh(found, node) for node in _nodes(found)}
            fewer = _drop(bench, found, _nodes_by_price(found, prices), prices, without, _has_node)
            if fewer is found:
                return found
            progress.advance(len(found) - len(fewer), nodes=len(fewer), loss=fewer.loss)
            found = fewer


def drop_edges(
    bench: Bench, found: Candidate, start: StartProgress = silent
) -> tuple[Candidate, tuple[Drop, ...]]:
    """Cut edges until the target can spare none, in rounds as `drop_nodes` does.

    Nodes that lie on no path any more go as well. Returns the circuit and the drops in order.
    """

    def without(now: Candidate, gone: list[Edge]) -> Candidate:
        return bench.measure(now.keep, now.cut.union(gone))

    drops: list[Drop] = []
    with start("edge clean-up", 0) as progress:
        while True:
            prices = {edge: bench.weigh(found, edge) for edge, _ in edges(found.lone, found.nodes)}
            ranked = sorted(prices, key=lambda edge: (prices[edge].loss, edge))
            fewer = _drop(bench, found, ranked, prices, without, _has_edge)
            if fewer is found:
                return found, tuple(drops)
            drops += _paid(bench, found, fewer, ranked)
            progress.advance(found.edges - fewer.edges, edges=fewer.edges, loss=fewer.loss)
            found = fewer


def _drop(
    bench: Bench,
    found: Candidate,
    ranked: list[Part],
    prices: Mapping[Part, Price],
    without: Callable[[Candidate, list[Part]], Candidate],
    has: Callable[[Candidate, Part], bool],
) -> Candidate:
    """One round: the candidate without as many of the first `ranked` as the target bears, then
    without each that it bears alone; `found` itself where all must stay."""
    low, high = 0, len(ranked) + 1
    start = found
    while high - low > 1:
        middle = (low + high) // 2
        trial = without(start, ranked[:middle])
        if trial.meets_target:
            low, found = middle, trial
        else:
            high = middle
    refused = 0
    for part in ranked:
        if refused == bench.config.tries:
            break
        if prices[part].bearable and has(found, part):
            trial = without(found, [part])
            refused = 0 if trial.meets_target else refused + 1
            found = trial if trial.meets_target else found
    return found


def _nodes(found: Candidate) -> list[Node]:
    return every_node(found.nodes)


def _nodes_by_price(found: Candidate, prices: Mapping[Node, Price]) -> list[Node]:
    ends = Counter(
        n for edge, _ in edges(found.lone, found.nodes) for n in (edge.source, edge.target)
    )
    cost = {node: max(0.0, price.loss) / (1 + ends[node]) for node, price in prices.items()}
    return sorted(prices, key=lambda node: (cost[node], node))


def _without(keep: Keep, nodes: list[Node]) -> Keep:
    copy = {site: kept.copy() for site, kept in keep.items()}
    for node in nodes:
        copy[node.site][node.index] = False
    return copy


def _has_node(found: Candidate, node: Node) -> bool:
    return bool(found.keep[node.site][node.index])


def _has_edge(found: Candidate, edge: Edge) -> bool:
    ends = (edge.source, edge.target)
    return edge not in found.cut and all(_has_node(found, end) for end in ends)


def _paid(bench: Bench, found: Candidate, fewer: Candidate, ranked: list[Edge]) -> list[Drop]:
    """Walk from `found` to `fewer` edge by edge, in order of `ranked`."""
    drops = []
    now, before = found, bench.price(found)
    for edge in ranked:
        if _has_edge(now, edge) and not _has_edge(fewer, edge):
            keep, lone, cut = bench.take_out(now.keep, now.cut | {edge})
            then = replace(fewer, keep=keep, lone=lone, cut=cut)
            after = bench.price(then)
            fallen = tuple(sorted(set(_nodes(now)) - set(_nodes(then))))
            drops.append(Drop(edge, before, after, fallen))
            now, before = then, after
    return drops
