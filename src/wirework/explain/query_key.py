"""Why a head looks where it looks: its attention scores as sums over kept channels, exactly.

What users asked for as QK attribution: circuit_tools.md §3 G9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.core.names import FINAL
from wirework.engine import Network, forward
from wirework.engine.sparse import Floats


@dataclass(frozen=True, eq=False)
class ChannelParts:
    """A kept query or key channel as a sum over what it reads.

    `value` (B, T) = `parts` (B, T, sources) summed + `positions` (B, T) + `constant` (B, T).
    `sources`: kept read channels with a weight into it. `positions`: what concatenated positions
    add. `constant`: the bias and what cut read channels add. All are zero where AbsTopK silenced
    the channel.
    """

    node: Node
    value: Floats
    sources: tuple[Node, ...]
    weights: Floats
    parts: Floats
    positions: Floats
    constant: Floats


@dataclass(frozen=True, eq=False)
class HeadScores:
    """q k / sqrt(d_head) of one head at every (query, key) position, as a sum over channels.

    `terms` (C, B, T, T): what channel i of `channels` (index within the head) gives, i.e.
    q_i k_i / sqrt(d_head), query position before key position; `constant`: what the channels give
    of which neither query nor key is kept. Scores are `terms` summed + `constant`, 0 in `terms`
    where the key comes after the query. `sink`: logit of the sink, which stands beside the scores
    in the softmax, None without one. `attention` (B, T, T), `on_sink` (B, T). `queries`, `keys`:
    the kept nodes among the channels, each taken one step further back.
    """

    layer: int
    head: int
    channels: tuple[int, ...]
    terms: Floats
    constant: float
    sink: float | None
    attention: Floats
    on_sink: Floats
    queries: tuple[ChannelParts, ...]
    keys: tuple[ChannelParts, ...]

    @property
    def scores(self) -> Floats:
        """(B, T, T), -inf where the key comes after the query."""
        later = np.triu(np.ones(self.attention.shape[1:], dtype=np.bool_), 1)
        whole: Floats = np.where(later, -np.inf, self.terms.sum(0) + self.constant)
        return whole

    def shares(self, queries: NDArray[np.integer[Any]]) -> Floats:
        """Of each channel, its share of how the score changes from key to key, (C); they sum to 1.

        At query position `queries` (B) of every prompt: covariance of the channel's term with the
        score over the keys up to there, divided by the score's variance, both summed over
        prompts. Zeros where the score does not change.
        """
        rows = np.arange(len(queries))
        terms = self.terms[:, rows, queries]
        seen = np.arange(terms.shape[-1]) <= queries[:, None]
        spread = _centred(terms, seen)
        total = spread.sum(0)
        variance = float((total * total).sum())
        share: Floats = (spread * total).sum((1, 2))
        # Rounding leaves crumbs where every key gets the same score.
        tiny = 1e-24 * max(1.0, float(np.square(terms).max(initial=0.0))) * max(1, seen.sum())
        return share / variance if variance > tiny else np.zeros_like(share)


def _centred(terms: Floats, seen: NDArray[np.bool_]) -> Floats:
    """terms (C, B, T) less their mean over the keys that are seen; 0 at the others."""
    mean = (terms * seen).sum(-1, keepdims=True) / seen.sum(-1)[:, None]
    centred: Floats = (terms - mean) * seen
    return centred


def heads(circuit: Circuit) -> tuple[tuple[int, int], ...]:
    """The heads that a circuit uses, as (layer, head): those with a kept value channel."""
    width = circuit.network.d_head
    found = {
        (site.layer, index // width)
        for site, indices in circuit.nodes.items()
        if site.kind == "attn.v" and site.layer is not None
        for index in indices
    }
    return tuple(sorted(found))


def explain_scores(
    circuit: Circuit, layer: int, head: int, tokens: NDArray[np.integer[Any]]
) -> HeadScores:
    """The attention scores of one head on prompts `tokens` (B, T), in float64.

    Exact: the sums give the numbers of the lone circuit to rounding. Raises `head-absent`,
    `circuit-needs-model` and what `forward` raises about the tokens.
    """
    circuit.require_alone()
    network = circuit.network
    if not (0 <= layer < len(network.layers) and 0 <= head < network.n_head):
        raise WireworkError(
            "head-absent",
            f"the circuit has no head {layer}.{head}",
            expected=f"a layer in 0..{len(network.layers) - 1}, a head in 0..{network.n_head - 1}",
            got=f"layer {layer}, head {head}",
        )
    places = {name: Site(layer, f"attn.{name}") for name in ("in", "q", "k")}
    run = forward(
        _until(network, layer), tokens, dtype=np.float64, record=places.values(), attention=True
    )
    mine = slice(head * network.d_head, (head + 1) * network.d_head)
    q, k = (run.sites[places[name]][..., mine] for name in ("q", "k"))
    kept = {name: network.kept(places[name])[mine] for name in ("q", "k")}
    chosen = np.flatnonzero(kept["q"] | kept["k"])
    rest = ~(kept["q"] | kept["k"])
    scale = 1 / math.sqrt(network.d_head)
    terms = np.einsum("bqc,bkc->cbqk", q[..., chosen] * scale, k[..., chosen])
    sink = network.layers[layer].sink
    read = run.sites[places["in"]]
    queries, keys = (
        tuple(
            _parts(network, Node(places[name], int(i)), read, run.sites[places[name]][..., i])
            for i in np.flatnonzero(kept[name]) + mine.start
        )
        for name in ("q", "k")
    )
    return HeadScores(
        layer=layer,
        head=head,
        channels=tuple(chosen.tolist()),
        terms=np.tril(terms),
        constant=scale * _constant(network, places["q"], places["k"], rest, mine),
        sink=None if sink is None else float(sink[head]),
        attention=run.attention[layer][:, head],
        on_sink=run.sink[layer][:, head],
        queries=queries,
        keys=keys,
    )


def _constant(
    network: Network, query: Site, key: Site, rest: NDArray[np.bool_], mine: slice
) -> float:
    """q k of the channels `rest` of a head, of which both sides are cut."""
    if not rest.any():
        return 0.0
    q, k = (network.gates[site].constant[mine][rest] for site in (query, key))
    return float(q @ k)


def _until(network: Network, layer: int) -> Network:
    """The network without the layers that come after one."""
    gates = {
        site: gate
        for site, gate in network.gates.items()
        if site.kind == FINAL or (site.layer is not None and site.layer <= layer)
    }
    return replace(network, layers=network.layers[: layer + 1], gates=gates)


def _parts(network: Network, node: Node, read: Floats, value: Floats) -> ChannelParts:
    """One channel taken back to what it reads: `read` (B, T, D), its own `value` (B, T)."""
    assert node.site.layer is not None
    layer = network.layers[node.site.layer]
    matrix = layer.into(node.site.kind)
    places = slice(matrix.indptr[node.index], matrix.indptr[node.index + 1])
    columns, weights = matrix.indices[places], matrix.values[places].astype(np.float64)
    nodes = columns < network.d_model
    alive = value != 0
    parts = read[..., columns[nodes]] * weights[nodes] * alive[..., None]
    bias = layer.q_bias if node.site.kind == "attn.q" else layer.k_bias
    constant = alive * (0.0 if bias is None else float(bias[node.index]))
    positions = np.zeros_like(value)
    if not nodes.all():
        positions = value - parts.sum(-1) - constant
    reading = Site(node.site.layer, "attn.in")
    return ChannelParts(
        node=node,
        value=value,
        sources=tuple(Node(reading, int(column)) for column in columns[nodes]),
        weights=weights[nodes],
        parts=parts,
        positions=positions,
        constant=constant,
    )
