"""How much of the answer runs through each node and link, and what may be left out for it.

As circuit-tracer counts it (circuit_tools.md §4.1): links into a node are normalised to shares, by
magnitude, and shares multiply along paths to the logits, which weigh as much as they are probable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.engine.sparse import Floats

_Ints = NDArray[np.int64]
_Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Links:
    """A graph without circles: `source`, `target`, `weight` (E); `row` (N) rises along links."""

    source: _Ints
    target: _Ints
    weight: Floats
    row: _Ints

    def pick(self, chosen: _Mask) -> Links:
        return Links(self.source[chosen], self.target[chosen], self.weight[chosen], self.row)

    def shares(self) -> Floats:
        """|weight| of every link, divided by the sum of all that enter its target, (E)."""
        size = np.abs(self.weight)
        whole = np.bincount(self.target, size, minlength=len(self.row))
        shares: Floats = size / np.maximum(whole[self.target], 1e-10)
        return shares


def influence(links: Links, logits: Floats) -> Floats:
    """Sum over k >= 1 of logits @ A^k, (N): A the shares, `logits` (N) the weights of the answers.

    One sweep from the answers back, since links only run to higher rows.
    """
    found = np.zeros(len(links.row))
    shares = links.shares()
    order = np.argsort(-links.row[links.target], kind="stable")
    borders = np.flatnonzero(np.diff(links.row[links.target[order]])) + 1
    for block in np.split(order, borders):
        target = links.target[block]
        moved = shares[block] * (found[target] + logits[target])
        found += np.bincount(links.source[block], moved, minlength=len(found))
    return found


def cumulative(scores: Floats) -> Floats:
    """Of every score, the share that it and all larger ones have in the sum, in [0, 1]."""
    total = scores.sum()
    if total <= 0:
        return np.ones_like(scores)
    order = np.argsort(-scores, kind="stable")
    found = np.empty_like(scores)
    found[order] = np.minimum(1.0, np.cumsum(scores[order]) / total)
    return found


def prune(
    links: Links, logits: Floats, fixed: _Mask, *, node_threshold: float, edge_threshold: float
) -> tuple[_Mask, _Mask]:
    """Which nodes (N) and links (E) stay: the fewest with these shares of the influence.

    `fixed`: tokens and logits, which stay in any case. A threshold of 1 leaves nothing out, not
    even what has no influence, such as queries and keys. Elsewhere nodes that no longer lead
    anywhere go, and those that had links into them and lost them all.
    """
    nodes, edges = np.ones(len(links.row), np.bool_), np.ones(len(links.weight), np.bool_)
    if node_threshold < 1:
        nodes = fixed | _largest(influence(links, logits), node_threshold)
        edges &= nodes[links.source] & nodes[links.target]
    if edge_threshold < 1 and edges.any():
        left = links.pick(edges)
        scores = left.shares() * (influence(left, logits) + logits)[left.target]
        edges[edges] = _largest(scores, edge_threshold)
    if node_threshold == edge_threshold == 1:
        return nodes, edges
    fed = np.bincount(links.target, minlength=len(nodes)) > 0
    while True:
        leads = np.bincount(links.source[edges], minlength=len(nodes)) > 0
        enters = np.bincount(links.target[edges], minlength=len(nodes)) > 0
        left_nodes = nodes & (fixed | (leads & (enters | ~fed)))
        if (left_nodes == nodes).all():
            return nodes, edges
        nodes = left_nodes
        edges &= nodes[links.source] & nodes[links.target]


def _largest(scores: Floats, threshold: float) -> _Mask:
    """The fewest of the largest scores that make up this share of their sum, with equal ones."""
    falling = np.sort(scores)[::-1]
    total = falling.sum()
    if total <= 0:
        return np.ones(len(scores), np.bool_)
    place = int(np.searchsorted(np.cumsum(falling) / total, threshold))
    kept: _Mask = scores >= falling[min(place, len(falling) - 1)]
    return kept
