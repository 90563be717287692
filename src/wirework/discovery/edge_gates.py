"""A circuit's nodes in their model, with a gate on every weight between them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import CompactModel, GateSet, Holding, Keep, PromptTensors, Reference
from wirework.ablation.compact import Gates
from wirework.core import Edge, Node, Site
from wirework.core.names import EDGE_BLOCKS
from wirework.discovery.config import DiscoveryConfig
from wirework.model import Transformer

_SOURCE = {target: source for source, target in EDGE_BLOCKS}


class GatedEdges:
    """Nodes are open where `keep` is true and closed elsewhere; a closed edge shows its target
    the constant of the source. In the precision of the model: a circuit is small."""

    def __init__(
        self,
        model: Transformer,
        holding: Holding,
        answers: NDArray[np.int64],
        keep: Keep,
        config: DiscoveryConfig,
        *,
        seed: int,
    ) -> None:
        assert config.ablation.constant, "a cut edge takes a constant"
        self.compact = CompactModel(
            model,
            holding.constants,
            torch.from_numpy(answers),
            kept=keep,
            before=config.ablation.gate == "before",
        )
        kind = model.unembedding.weight.dtype
        self.open = {site: torch.from_numpy(kept).to(kind) for site, kept in keep.items()}
        self.places = {
            site: self._places(site, product[0], keep)
            for site, product in self.compact.products.items()
            if product is not None
        }
        self.edges = {
            site: [
                Edge(Node(_source(site), int(channel)), Node(site, int(row)))
                for row, _, channel in places.tolist()
            ]
            for site, places in self.places.items()
        }
        self.gates = GateSet(
            {site: len(places) for site, places in self.places.items()},
            **config.gate_options(seed),
        )

    def _places(self, site: Site, weight: Tensor, keep: Keep) -> Tensor:
        """Row, column and source channel of every edge into a site, (edges, 3)."""
        channels = self.compact.channels(_source(site))
        ends = (
            torch.from_numpy(keep[site])[:, None] & torch.from_numpy(keep[_source(site)])[channels]
        )
        rows, columns = ((weight[:, : len(channels)] != 0) & ends).nonzero().T
        return torch.stack([rows, columns, channels[columns]], 1)

    def margins(
        self, prompts: PromptTensors, opened: Gates, record: Reference | None = None
    ) -> Tensor:
        masks = {}
        for site, gate in opened.items():
            product = self.compact.products[site]
            assert product is not None
            rows, columns, _ = self.places[site].T
            masks[site] = torch.ones_like(product[0]).index_put(
                (rows, columns), gate.to(product[0].dtype)
            )
        return self.compact.margins(prompts, self.open, edges=masks, record=record)

    def renew(self) -> None:
        """Every edge stays in the computation: a circuit has few."""

    def scores(self) -> dict[Edge, float]:
        """A number for every edge; higher = keep, see `GateSet.ranks`."""
        return {
            edge: float(tau)
            for site, taus in self.gates.ranks().items()
            for edge, tau in zip(self.edges[site], taus, strict=True)
        }


def _source(target: Site) -> Site:
    return Site(target.layer, _SOURCE[target.kind])
