"""Whether each part of a circuit is needed: its removal beside that of random padding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import (
    Keep,
    PromptTensors,
    calibrate,
    edge_masks,
    kept_nodes,
    masked_margins,
    score_of,
)
from wirework.circuit import edges, every_node
from wirework.core import Edge, Node, Site
from wirework.core.progress import Progress
from wirework.validation.config import ValidationConfig
from wirework.validation.exact_tests import clusters_of, more_than_padding_p
from wirework.validation.subject import Subject

Rows = NDArray[np.float64]

KINDS = ("margin", "loss")
"""How harm is measured: as a share of the circuit's mean answer margin; in nats of two-sided loss
after the best scale > 0 and shift, so that what a scale would mend is no harm."""

OTHERS = 5
"""Tests of the circuit as a whole, which are counted with those of its parts."""


@dataclass(frozen=True)
class Needs:
    """What the removal of some parts does. `names` (parts); `harm` (`KINDS`, parts): by how much
    more it costs than that of padding, mean over pairs; `p` (`KINDS`, parts): of the null that it
    costs no more, by at most `least`.

    `total`: how many parts the circuit has; `names` are a sample of them where that is more.
    `draws`: of padding.
    """

    names: tuple[str, ...]
    harm: Rows
    p: Rows
    total: int
    draws: int


class PartTests:
    """Removes one part of a circuit at a time, and in its place random padding.

    Padding is what the circuit lacks: one node more at a site where the circuit has nodes, drawn
    with the circuit's shares of sites; for edges also one edge more that ends at a node of the
    circuit, with its other end. A part is needed if its removal costs more than that of padding,
    see `more_than_padding_p`.
    """

    def __init__(
        self,
        subject: Subject,
        config: ValidationConfig,
        prompts: PromptTensors,
        seed: int,
        progress: Progress,
    ) -> None:
        self.subject = subject
        self.config = config
        self.prompts = prompts
        self.seed = seed
        self.progress = progress
        self.nodes = _nodes(subject.keep)
        self.scale = 1.0
        self.base = self._run(subject.keep, subject.edges)
        self.scale = max(abs(float(self.base[0].mean())), 1e-9)
        self.base[0] /= self.scale
        drawn = self._padding_nodes()
        # In a small model the same nodes are drawn again and again.
        once = {
            node: self._run(_with(subject.keep, [node], True), subject.edges) - self.base
            for node in dict.fromkeys(drawn)
        }
        self.padding = [once[node] for node in drawn]

    def of_nodes(self) -> Needs:
        keep, masks = self.subject.keep, self.subject.edges
        harm = [self.base - self._run(_with(keep, [node], False), masks) for node in self.nodes]
        return self._needs([str(node) for node in self.nodes], harm, self.padding, len(self.nodes))

    def of_edges(self) -> Needs:
        """Of at most `config.edge_tests` edges, drawn evenly; none where what cut nodes are held at
        is not constant, as an edge cannot be cut then."""
        subject, random = self.subject, np.random.default_rng([self.seed, 3])
        known = [edge for edge, _ in subject.circuit.edges()]
        if not _edges_tested(subject, self.config):
            return self._needs([], [], [], len(known))
        chosen = np.sort(random.permutation(len(known))[: self.config.edge_tests])
        tested = [known[i] for i in chosen]
        harm = [self.base - self._run(subject.keep, self._cut(edge)) for edge in tested]
        padding = [self._padding_edge(edge) for edge in self._absent_edges(random)]
        padding += self.padding
        return self._needs([str(edge) for edge in tested], harm, padding, len(known))

    def _needs(self, names: list[str], harm: list[Rows], padding: list[Rows], total: int) -> Needs:
        """`harm`, `padding`: what each removal costs, (`KINDS`, pairs)."""
        if not names:
            return Needs((), np.zeros((2, 0)), np.zeros((2, 0)), total, len(padding))
        cost = np.array(harm)
        usual = np.array(padding).reshape(-1, *self.base.shape)
        more = cost - usual.mean(axis=0) if len(usual) else cost
        half = len(self.prompts)
        clusters = clusters_of(self.prompts.template[:half].numpy())
        p = [
            more_than_padding_p(
                cost[:, kind], usual[:, kind], clusters, least=least, draws=self.config.flips,
                seed=self.seed,
            )
            for kind, least in enumerate((self.config.least_share, self.config.least_harm))
        ]  # fmt: skip
        return Needs(tuple(names), more.mean(axis=2).T, np.array(p), total, len(padding))

    def _padding_nodes(self) -> list[Node]:
        """Nodes outside the circuit, each at the site of one of its nodes: `draws_wanted`, or fewer
        where they would be more than `config.padding_most` different ones."""
        random = np.random.default_rng([self.seed, 2])
        absent = {site: np.flatnonzero(~kept) for site, kept in self.subject.keep.items()}
        places = [node.site for node in self.nodes if len(absent[node.site])]
        if not places:
            return []
        least, most = self.config.padding_draws, self.config.padding_most
        drawn: list[Node] = []
        different: set[Node] = set()
        for draw in range(max(least, draws_wanted(self.subject, self.config))):
            site = places[random.integers(len(places))]
            node = Node(site, int(random.choice(absent[site])))
            if draw >= least and node not in different and len(different) >= most:
                break
            different.add(node)
            drawn.append(node)
        return drawn

    def _absent_edges(self, random: np.random.Generator) -> list[Edge]:
        """Weights of the model that end at a node of the circuit and that it lacks."""
        subject = self.subject
        everything = {site: np.ones_like(kept) for site, kept in subject.keep.items()}
        found = [
            edge
            for edge, _ in edges(subject.checkpoint.sparse(), kept_nodes(everything))
            if self._has(edge.source) != self._has(edge.target)
        ]
        found += subject.cut
        drawn = random.permutation(len(found))[: self.config.edge_draws]
        return [found[i] for i in drawn]

    def _padding_edge(self, edge: Edge) -> Rows:
        """What it costs to put in a weight that the circuit lacks and to cut it again."""
        keep = _with(self.subject.keep, [edge.source, edge.target], True)
        left = edge_masks(self.subject.whole, set(self.subject.cut) - {edge})
        return self._run(keep, left) - self._run(keep, self._cut(edge))

    def _cut(self, edge: Edge) -> Mapping[Site, Tensor]:
        return edge_masks(self.subject.whole, {*self.subject.cut, edge})

    def _has(self, node: Node) -> bool:
        return bool(self.subject.keep[node.site][node.index])

    def _run(self, keep: Keep, masks: Mapping[Site, Tensor]) -> Rows:
        """Mean margin in units of `scale` and minus the loss by pair, (`KINDS`, pairs)."""
        whole, holding = self.subject.whole, self.subject.holding
        values = masked_margins(whole, holding, keep, self.prompts, edges=masks).double()
        self.progress.advance()
        margins = values.numpy().reshape(2, -1).mean(axis=0) / self.scale
        return np.stack([margins, -pair_losses(values, self.prompts)])


def part_runs(subject: Subject, config: ValidationConfig) -> int:
    """How many circuits are run at most."""
    edges_tested = _edges_tested(subject, config)
    more = edges_tested + 2 * config.edge_draws if edges_tested else 0
    padding = max(config.padding_draws, min(config.padding_most, draws_wanted(subject, config)))
    return 1 + subject.circuit.n_nodes + padding + more


def draws_wanted(subject: Subject, config: ValidationConfig) -> int:
    """Of how many draws the smallest p-value stands correction for all tests by itself."""
    parts = subject.circuit.n_nodes + _edges_tested(subject, config)
    return ceil((len(KINDS) * parts + OTHERS) / config.alpha) - 1


def _edges_tested(subject: Subject, config: ValidationConfig) -> int:
    constant = subject.holding.config.constant
    return min(subject.circuit.n_edges, config.edge_tests) if constant else 0


def pair_losses(values: Tensor, prompts: PromptTensors) -> Rows:
    """Two-sided loss of margins (2N) by pair, (N), after their best calibration."""
    found = score_of(values, prompts, calibrate(values, prompts.side))
    rows: Rows = found.losses.reshape(2, -1).mean(axis=0)
    return rows


def _nodes(keep: Keep) -> list[Node]:
    return every_node(kept_nodes(keep))


def _with(keep: Keep, nodes: list[Node], kept: bool) -> Keep:
    copy = {site: mask.copy() for site, mask in keep.items()}
    for node in nodes:
        copy[node.site][node.index] = kept
    return copy
