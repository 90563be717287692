"""How well a circuit, or a score for every node, recovers the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wirework.circuit import Circuit, every_node, on_path
from wirework.core import Edge, Node, Site
from wirework.core.names import EDGE_BLOCKS
from wirework.planted.draft import Planted

Scores = Mapping[Site, NDArray[np.floating[Any]]]
"""One number for every node, site -> (channels,); HIGHER = KEEP."""


@dataclass(frozen=True)
class Recovery:
    """A circuit beside the minimal circuits of a planted model.

    `node_auroc`: over every node of the model; `edge_auroc`: over every weight that joins two
    nodes, be it zero or not. Both in [0, 1], of the minimal circuit that is nearest to what was
    found. `exact`: the found nodes, without those off every path, are a minimal circuit.
    `edges_exact`: the found edges are all planted weights between the found nodes, and no others.
    `missing`, `extra`: nodes that the nearest minimal circuit has and the found one lacks, and
    the other way round. `alternatives`: how many minimal circuits there are.
    """

    node_auroc: float
    edge_auroc: float
    exact: bool
    edges_exact: bool
    missing: frozenset[Node]
    extra: frozenset[Node]
    alternatives: int

    @property
    def unique(self) -> bool:
        """Whether there is one truth only."""
        return self.alternatives == 1


def recovery(
    planted: Planted,
    truth: Sequence[frozenset[Node]],
    circuit: Circuit,
    scores: Scores | None = None,
) -> Recovery:
    """Compare a circuit with `truth`, all minimal circuits (`minimal_circuits`), at least one.

    `scores`: what nodes are ranked by; without it, kept nodes before all others. An edge ranks as
    the lower of its nodes, and below all nodes where the circuit lacks it.
    """
    assert truth, "a planted model has a minimal circuit"
    found = _joined(planted, circuit)
    edges = frozenset(e for e in circuit.graph().edges if e.source in found and e.target in found)
    nearest = min(truth, key=lambda nodes: (len(nodes ^ found), sorted(nodes)))
    widths = {site: len(mean) for site, mean in planted.checkpoint.means.items()}
    if scores is None:
        kept = {site: np.zeros(width) for site, width in widths.items()}
        for node in found:
            kept[node.site][node.index] = 1
        scores = kept
    return Recovery(
        node_auroc=_node_auroc(widths, nearest, scores),
        edge_auroc=_edge_auroc(widths, planted.edges_between(nearest), edges, scores),
        exact=found in truth,
        edges_exact=edges == planted.edges_between(found),
        missing=nearest - found,
        extra=found - nearest,
        alternatives=len(truth),
    )


def auroc(positive: ArrayLike, scores: ArrayLike) -> float:
    """The chance that a positive scores higher than a negative, ties counted half.

    By ranks (Mann-Whitney), so exact for any number of ties (circuit_tools.md §7 T1).
    `positive`: booleans (n); `scores` (n). NaN where all are positive or none is.
    """
    labels, values = np.asarray(positive, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    assert labels.shape == values.shape and not np.isnan(values).any()
    yes, no = int(labels.sum()), int((~labels).sum())
    if not yes or not no:
        return float("nan")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[place]
    return float((ranks[labels].sum() - yes * (yes + 1) / 2) / (yes * no))


def _joined(planted: Planted, circuit: Circuit) -> frozenset[Node]:
    """The nodes of a circuit without those off every path from tokens to answers."""
    task = planted.task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)
    nodes = on_path(
        planted.checkpoint.sparse(), circuit.nodes, outputs=task.answer_tokens(),
        tokens=task.prompt_tokens(), from_input=planted.config.kind != "zero",
    )  # fmt: skip
    return frozenset(every_node(nodes))


def _node_auroc(widths: Mapping[Site, int], truth: frozenset[Node], scores: Scores) -> float:
    labels = {site: np.zeros(width, dtype=np.bool_) for site, width in widths.items()}
    for node in truth:
        labels[node.site][node.index] = True
    places = sorted(widths)
    return auroc(
        np.concatenate([labels[site] for site in places]),
        np.concatenate([scores[site] for site in places]),
    )


def _edge_auroc(
    widths: Mapping[Site, int], truth: frozenset[Edge], found: frozenset[Edge], scores: Scores
) -> float:
    """Every weight has a place in a matrix (targets, sources); most are zero and score lowest."""
    lowest = min(float(values.min()) for values in scores.values()) - 1
    labels, values = [], []
    for site in widths:
        for source in (Site(site.layer, s) for s, kind in EDGE_BLOCKS if kind == site.kind):
            shape = widths[site], widths[source]
            positive, score = np.zeros(shape, dtype=np.bool_), np.full(shape, lowest)
            for edge in truth:
                if edge.target.site == site and edge.source.site == source:
                    positive[edge.target.index, edge.source.index] = True
            for edge in found:
                if edge.target.site == site and edge.source.site == source:
                    ends = (scores[e.site][e.index] for e in (edge.source, edge.target))
                    score[edge.target.index, edge.source.index] = min(ends)
            labels.append(positive.ravel())
            values.append(score.ravel())
    return auroc(np.concatenate(labels), np.concatenate(values))
