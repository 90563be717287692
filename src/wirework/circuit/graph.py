"""Circuits as graphs: edges between nodes, nodes off every path, sizes, set operations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core import Edge, Node, Site, WireworkError
from wirework.core.names import EDGE_BLOCKS, FINAL, READ_SITES, sites
from wirework.engine import Network, SparseMatrix

MATRIX = {
    "attn.q": "q",
    "attn.k": "k",
    "attn.v": "v",
    "attn.out": "attn_out",
    "mlp.neuron": "mlp_in",
    "mlp.out": "mlp_out",
}
"""The part of a layer that ends at a place; its bias is called NAME_bias."""

Nodes = Mapping[Site, tuple[int, ...]]
"""Kept nodes of a circuit: site -> indices, rising. A site that is absent keeps none."""

_Masks = dict[Site, NDArray[np.bool_]]


def edges(network: Network, nodes: Nodes) -> list[tuple[Edge, float]]:
    """Every nonzero weight between two of `nodes`, with its value, in order of computation.

    Position columns, embedding and unembedding are no edges; `sizes` counts them beside.
    """
    masks = _masks(network, nodes)
    found = []
    for source, target, matrix in _blocks(network):
        part = matrix.select(masks[target], _with_positions(masks[source], matrix, False))
        for row, col, value in zip(part.row_of, part.indices, part.values, strict=True):
            edge = Edge(Node(source, int(col)), Node(target, int(row)))
            found.append((edge, float(value)))
    return found


def kept_nodes(network: Network) -> dict[Site, tuple[int, ...]]:
    """What the gates of a network keep, for every site that keeps any."""
    found = {site: np.flatnonzero(network.kept(site)) for site in sites(len(network.layers))}
    return {site: tuple(kept.tolist()) for site, kept in found.items() if len(kept)}


def between(edges: Iterable[Edge], nodes: Nodes) -> frozenset[Edge]:
    """Those of `edges` that join two of `nodes`."""
    kept = {site: frozenset(found) for site, found in nodes.items()}
    return frozenset(
        edge
        for edge in edges
        if edge.source.index in kept.get(edge.source.site, ())
        and edge.target.index in kept.get(edge.target.site, ())
    )


def weights_of(network: Network, edges: Iterable[Edge]) -> dict[Site, NDArray[np.bool_]]:
    """Which stored weights of the matrix into a site are `edges`: target site -> mask (nnz).

    Raises `edge-absent`.
    """
    known = set(sites(len(network.layers)))
    masks: dict[Site, NDArray[np.bool_]] = {}
    for edge in edges:
        source, target = edge.source, edge.target
        joined = (source.site.kind, target.site.kind) in EDGE_BLOCKS
        if not joined or source.site.layer != target.site.layer or target.site not in known:
            raise _absent(edge)
        assert target.site.layer is not None
        matrix = network.layers[target.site.layer].into(target.site.kind)
        if target.index >= matrix.shape[0] or source.index >= network.width(source.site):
            raise _absent(edge)
        first, last = matrix.indptr[target.index], matrix.indptr[target.index + 1]
        place = first + np.searchsorted(matrix.indices[first:last], source.index)
        if place == last or matrix.indices[place] != source.index:
            raise _absent(edge)
        masks.setdefault(target.site, np.zeros(matrix.nnz, dtype=np.bool_))[place] = True
    return masks


def _absent(edge: Edge) -> WireworkError:
    return WireworkError(
        "edge-absent", "an edge is no weight of this network",
        expected="one nonzero weight between two channels of one layer", got=str(edge),
    )  # fmt: skip


def unlinked(network: Network, edges: Iterable[Edge]) -> Network:
    """The network without the weights of `edges`, nothing put in their place. Raises
    `edge-absent`."""
    gone: dict[int, dict[str, Any]] = defaultdict(dict)
    for site, mask in weights_of(network, edges).items():
        assert site.layer is not None
        gone[site.layer][MATRIX[site.kind]] = network.layers[site.layer].into(site.kind).pick(~mask)
    return replace_layers(network, gone)


def replace_layers(network: Network, parts: Mapping[int, Mapping[str, Any]]) -> Network:
    """The network with other parts in some layers."""
    layers = list(network.layers)
    for index, changed in parts.items():
        layers[index] = replace(layers[index], **changed)
    return replace(network, layers=tuple(layers))


@dataclass(frozen=True)
class Sizes:
    """How large a lone circuit is.

    `edges`: nonzeros between kept nodes. `embedding_edges`: nonzeros from the tokens of the
    task's prompts to residual channels that a kept node reads. `unembedding_edges`: nonzeros from
    kept `final` nodes to answer tokens. `position_edges`: nonzeros from concatenated positions to
    kept nodes. `shadow_weights`: nonzeros into cut channels, which only decide who wins an
    AbsTopK.
    """

    nodes: int
    edges: int
    embedding_edges: int
    unembedding_edges: int
    position_edges: int
    shadow_weights: int


def sizes(network: Network, nodes: Nodes, prompt_tokens: Collection[int]) -> Sizes:
    """Sizes of an extracted network (`extract`) that keeps `nodes`."""
    masks = _masks(network, nodes)
    between = position = shadow = 0
    for source, target, matrix in _blocks(network):
        kept = matrix.select(rows=masks[target])
        shadow += matrix.nnz - kept.nnz
        position += int((kept.indices >= len(masks[source])).sum())
        between += kept.select(cols=_with_positions(masks[source], matrix, False)).nnz
    read = np.zeros(network.d_model, dtype=np.bool_)
    for site, mask in masks.items():
        if site.kind in READ_SITES:
            read |= mask
    tokens = np.array(sorted(prompt_tokens), dtype=np.int64)
    return Sizes(
        nodes=sum(len(indices) for indices in nodes.values()),
        edges=between,
        embedding_edges=network.embedding.take_rows(tokens).select(cols=read).nnz,
        unembedding_edges=network.unembedding.select(cols=masks[Site(None, FINAL)]).nnz,
        position_edges=position,
        shadow_weights=shadow,
    )


def on_path(
    network: Network,
    nodes: Nodes,
    *,
    outputs: NDArray[np.integer[Any]] | None = None,
    tokens: NDArray[np.integer[Any]] | None = None,
    cut: Collection[Edge] = (),
    from_input: bool = True,
) -> dict[Site, tuple[int, ...]]:
    """The nodes that lie on some path from the input to an answer.

    A path follows edges, the identity of a residual channel from a write (or a nonzero embedding
    or position column) to a later read, and q:i, k:i -> every kept v of the same head (design §3).
    `outputs`: answer tokens, by default every logit of the network; `tokens`: input tokens, by
    default the whole vocabulary; `cut`: edges that no path may take. `network` may be the whole
    model or the lone circuit. Without `from_input` a path may start anywhere: what the input does
    not reach is the same in every prompt, and only matters where cut nodes are not held at that.
    Raises `edge-absent`.
    """
    if cut:
        network = unlinked(network, cut)
    masks = _masks(network, nodes)
    reached = _reached(network, masks, tokens)
    needed = _needed(network, masks, outputs)
    both = {
        site: np.flatnonzero(needed[site] & reached[site] if from_input else needed[site])
        for site in masks
    }
    return {site: tuple(int(i) for i in found) for site, found in both.items() if len(found)}


def off_path(
    network: Network,
    nodes: Nodes,
    *,
    outputs: NDArray[np.integer[Any]] | None = None,
    tokens: NDArray[np.integer[Any]] | None = None,
) -> dict[Site, tuple[int, ...]]:
    """The nodes on no path (see `on_path`): they can be removed, then the loss measured again."""
    used = on_path(network, nodes, outputs=outputs, tokens=tokens)
    rest = {site: sorted(set(found) - set(used.get(site, ()))) for site, found in nodes.items()}
    return {site: tuple(found) for site, found in sorted(rest.items()) if found}


def _reached(network: Network, masks: _Masks, tokens: NDArray[Any] | None) -> _Masks:
    """Nodes that the input reaches. `live`: residual channels that carry a signal so far."""
    embedding = network.embedding if tokens is None else network.embedding.take_rows(tokens)
    live = np.zeros(network.d_model, dtype=np.bool_)
    live[embedding.indices] = True
    if network.position == "add":
        assert network.positions is not None
        live |= np.any(network.positions != 0, axis=0)
    reached: _Masks = {}
    for index, layer in enumerate(network.layers):
        at = {kind: Site(index, kind) for kind in _LAYER_KINDS}
        for source, target in EDGE_BLOCKS:
            if source in READ_SITES and at[source] not in reached:
                reached[at[source]] = masks[at[source]] & live
            matrix = layer.into(target)
            found = _targets(matrix, _with_positions(reached[at[source]], matrix))
            reached[at[target]] = masks[at[target]] & found
            if target == "attn.v":
                steered = _heads(network, reached[at["attn.q"]] | reached[at["attn.k"]])
                reached[at[target]] |= masks[at[target]] & steered
            if target in ("attn.out", "mlp.out"):
                live |= reached[at[target]]
    final = Site(None, FINAL)
    reached[final] = masks[final] & live
    return reached


def _needed(network: Network, masks: _Masks, outputs: NDArray[Any] | None) -> _Masks:
    """Nodes that reach an answer. `read`: residual channels that something later reads."""
    rows = None if outputs is None else np.isin(network.answers, outputs)
    final = Site(None, FINAL)
    needed = {site: np.zeros_like(mask) for site, mask in masks.items()}
    needed[final] = masks[final] & _sources(network.unembedding.select(rows=rows))
    read = needed[final].copy()
    for index in reversed(range(len(network.layers))):
        layer = network.layers[index]
        at = {kind: Site(index, kind) for kind in _LAYER_KINDS}
        for source, target in reversed(EDGE_BLOCKS):
            if target in ("attn.out", "mlp.out"):
                needed[at[target]] = masks[at[target]] & read
            if target in ("attn.q", "attn.k"):
                needed[at[target]] = masks[at[target]] & _heads(network, needed[at["attn.v"]])
            found = _sources(layer.into(target).select(rows=needed[at[target]]))
            needed[at[source]] |= masks[at[source]] & found[: len(masks[at[source]])]
            if source in READ_SITES:
                read |= needed[at[source]]
    return needed


_LAYER_KINDS = tuple(dict.fromkeys(kind for block in EDGE_BLOCKS for kind in block))


def _blocks(network: Network) -> Iterator[tuple[Site, Site, SparseMatrix]]:
    for index, layer in enumerate(network.layers):
        for source, target in EDGE_BLOCKS:
            yield Site(index, source), Site(index, target), layer.into(target)


def _masks(network: Network, nodes: Nodes) -> _Masks:
    masks = {}
    for site in sites(len(network.layers)):
        masks[site] = np.zeros(network.width(site), dtype=np.bool_)
        masks[site][list(nodes.get(site, ()))] = True
    return masks


def _with_positions(
    mask: NDArray[np.bool_], matrix: SparseMatrix, value: bool = True
) -> NDArray[np.bool_]:
    """A mask of channels made as wide as a matrix that also reads concatenated positions."""
    return np.concatenate([mask, np.full(matrix.shape[1] - len(mask), value)])


def _targets(matrix: SparseMatrix, sources: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.diff(matrix.select(cols=sources).indptr) > 0


def _sources(matrix: SparseMatrix) -> NDArray[np.bool_]:
    found = np.zeros(matrix.shape[1], dtype=np.bool_)
    found[matrix.indices] = True
    return found


def _heads(network: Network, channels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """All channels of every head that has one of `channels`."""
    return np.repeat(channels.reshape(-1, network.d_head).any(axis=1), network.d_head)


def every_node(nodes: Nodes) -> list[Node]:
    """The nodes one by one, by site, then index."""
    return [Node(site, index) for site in sorted(nodes) for index in nodes[site]]


@dataclass(frozen=True)
class Subgraph:
    """Nodes and edges as sets, with `|`, `&` and `-`; an edge may outlive its nodes in `-`."""

    nodes: frozenset[Node]
    edges: frozenset[Edge]

    @classmethod
    def of(cls, nodes: Nodes, edges: Iterable[Edge]) -> Subgraph:
        return cls(frozenset(every_node(nodes)), frozenset(edges))

    def __or__(self, other: Subgraph) -> Subgraph:
        return Subgraph(self.nodes | other.nodes, self.edges | other.edges)

    def __and__(self, other: Subgraph) -> Subgraph:
        return Subgraph(self.nodes & other.nodes, self.edges & other.edges)

    def __sub__(self, other: Subgraph) -> Subgraph:
        return Subgraph(self.nodes - other.nodes, self.edges - other.edges)

    def jaccard(self, other: Subgraph) -> tuple[float, float]:
        """Shared / all, for nodes and for edges; 1 where both are empty."""
        return _jaccard(self.nodes, other.nodes), _jaccard(self.edges, other.edges)


def _jaccard(a: frozenset[Any], b: frozenset[Any]) -> float:
    return len(a & b) / len(a | b) if a or b else 1.0
