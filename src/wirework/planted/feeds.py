"""Which nodes a node can change directly, as far as the wiring tells."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wirework.circuit.graph import MATRIX
from wirework.core import Node, Site
from wirework.core.names import READ_SITES, WRITE_SITES, sites
from wirework.engine import Network, SparseMatrix
from wirework.model import ModelConfig


def fed_by(network: Network, config: ModelConfig, node: Node) -> frozenset[Node]:
    """The nodes that may change when `node` does and every other node stands still.

    By nonzero weights; through a head from its queries and keys to all that its values are
    written to; through the norms from a write to everything read later; and where more channels
    than AbsTopK keeps can differ from zero, to all that compete.
    """
    layer, kind = node.site.layer, node.site.kind
    if kind in WRITE_SITES:
        later = [site for site in sites(config.n_layer) if site > node.site]
        reads = [site for site in later if site.kind in READ_SITES]
        return frozenset(Node(s, i) for s in reads for i in range(config.width(s.kind)))
    if layer is None:
        return frozenset()
    sources = np.array([node.index])
    if kind in ("attn.q", "attn.k"):
        first = node.index - node.index % config.d_head
        sources = np.arange(first, first + config.d_head)
    return frozenset(
        Node(site, int(index))
        for site in _targets(node.site, layer)
        for index in _rows(network, config, site, sources)
    )


def _targets(source: Site, layer: int) -> Iterator[Site]:
    kinds = {
        "attn.in": ("attn.q", "attn.k", "attn.v"),
        "mlp.in": ("mlp.neuron",),
        "mlp.neuron": ("mlp.out",),
    }.get(source.kind, ("attn.out",))
    return (Site(layer, kind) for kind in kinds)


def _rows(
    network: Network, config: ModelConfig, site: Site, sources: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The channels of a site that change with some of its sources."""
    assert site.layer is not None
    layer = network.layers[site.layer]
    matrix: SparseMatrix = layer.into(site.kind)
    rows = np.unique(matrix.row_of[np.isin(matrix.indices, sources)])
    bias = getattr(layer, f"{MATRIX[site.kind]}_bias")
    nonzero = set(matrix.row_of.tolist()) | set(() if bias is None else np.flatnonzero(bias))
    kept = config.kept(site.kind)
    if len(rows) and kept is not None and len(nonzero) > kept:
        return np.array(sorted(nonzero), dtype=np.int64)
    return rows
