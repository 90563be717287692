"""What is drawn of a circuit: columns, nodes, weights, and the identities that join them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wirework.circuit import Circuit, every_node
from wirework.core import Node, Site
from wirework.core.names import FINAL, READ_SITES, WRITE_SITES
from wirework.data import Tokenizer
from wirework.viewer.layout import Box, Line, place
from wirework.viewer.numbers import short

_PLACES = (
    (("attn.in",), "attn.in", "reads"),
    (("attn.q", "attn.k"), "q · k", "matches"),
    (("attn.v",), "v", "copies"),
    (("attn.out",), "attn.out", "writes"),
    (("mlp.in",), "mlp.in", "reads"),
    (("mlp.neuron",), "neuron", "computes"),
    (("mlp.out",), "mlp.out", "writes"),
)
"""The columns of one layer, in order of computation: sites, heading, plain word.

Queries and keys stand before values, because they steer them.
"""

_WORDS = {
    "attn.in": "residual channel {i} as the attention of layer {l} reads it",
    "attn.q": "query channel {i} of layer {l}, head {h}: what a token looks for",
    "attn.k": "key channel {i} of layer {l}, head {h}: what a token is found by",
    "attn.v": "value channel {i} of layer {l}, head {h}: what a token hands to those that find it",
    "attn.out": "residual channel {i} as the attention of layer {l} writes it",
    "mlp.in": "residual channel {i} as the MLP of layer {l} reads it",
    "mlp.neuron": "neuron {i} of layer {l}, after its activation",
    "mlp.out": "residual channel {i} as the MLP of layer {l} writes it",
    FINAL: "residual channel {i} as the answer is read from it",
}

_NODE_HEIGHT, _ANSWER_HEIGHT, _BEND_HEIGHT, _LABEL_HEIGHT = 32.0, 48.0, 9.0, 13.0
_SHOWN_TOKENS = 12

_WITH_TRACKS = 5000
"""So many weights, the largest, have tracks of their own; the rest run straight."""


@dataclass(frozen=True)
class Link:
    """What joins two drawn things: a kept weight (`edge`) or one of the other kinds.

    `embedding`: a read channel holds part of some prompt token's embedding; `residual`: a channel
    is written and read again later; `steer`: a query or key of the value's head; `unembedding`: a
    last read has weights to an answer set. `weight`: of several, the one largest in magnitude; 0
    where there is none. `source` is None for the tokens.
    """

    kind: str
    source: str | None
    target: str
    weight: float = 0.0
    channel: int | None = None


def draw(
    circuit: Circuit,
    answers: Mapping[str, tuple[int, ...]],
    labelled: Collection[str] = frozenset(),
) -> dict[str, Any]:
    """The drawing as plain values; `answers`: name of an answer set -> its token ids; `labelled`:
    names of nodes that have a label under them.

    `nodes` and `answers` stand at points of their own, in this order; `points` are [column, y],
    with y in pixels from the top; every line has a `route` of points. Columns are counted from the
    tokens, which are column 0.
    """
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    nodes = every_node(circuit.nodes)
    columns, column_of = _columns(circuit)
    links = _links(circuit, nodes, answers)
    boxes = {str(node): _box(node, column_of[node.site], labelled) for node in nodes}
    boxes |= {f"answer {name}": Box(len(columns) - 1, _ANSWER_HEIGHT) for name in answers}
    embedded = [link.channel for link in links if link.kind == "embedding"]
    boxes |= {f"tokens {c}": Box(0, _BEND_HEIGHT, frozenset([c])) for c in embedded}
    names = {name: index for index, name in enumerate(boxes)}
    least = _least_with_track(links)
    lines = [
        Line(
            names[link.source or f"tokens {link.channel}"],
            names[link.target],
            link.channel,
            direct=link.kind == "edge" and abs(link.weight) < least,
        )
        for link in links
    ]
    layout = place(list(boxes.values()), lines, bend_height=_BEND_HEIGHT)
    drawn = [
        {
            "kind": link.kind,
            "source": None if link.source is None else names[link.source],
            "target": names[link.target],
            "weight": short(link.weight),
            "route": route,
        }
        for link, route in zip(links, layout.routes, strict=True)
    ]
    return {
        "columns": columns,
        "points": [[c, round(y, 1)] for c, y in zip(layout.columns, layout.y, strict=True)],
        "height": round(layout.height, 1),
        "nodes": [_node(circuit, node, tokenizer, answers) for node in nodes],
        "answers": [
            {"name": name, "tokens": [tokenizer.token_text(token) for token in tokens]}
            for name, tokens in answers.items()
        ],
        "edges": [line for line in drawn if line["kind"] == "edge"],
        "links": [line for line in drawn if line["kind"] != "edge"],
    }


def _box(node: Node, column: int, labelled: Collection[str]) -> Box:
    on_residual = node.site.kind in (*READ_SITES, *WRITE_SITES)
    wires = frozenset([node.index]) if on_residual else frozenset()
    return Box(column, _NODE_HEIGHT, wires, _LABEL_HEIGHT if str(node) in labelled else 0.0)


def _least_with_track(links: Sequence[Link]) -> float:
    weights = sorted((abs(link.weight) for link in links if link.kind == "edge"), reverse=True)
    return weights[_WITH_TRACKS - 1] if len(weights) > _WITH_TRACKS else 0.0


def _columns(circuit: Circuit) -> tuple[list[dict[str, Any]], dict[Site, int]]:
    """Headings of the columns that hold something, and the column of each kept site."""
    columns: list[dict[str, Any]] = [{"heading": "tokens", "word": "input", "layer": None}]
    column_of: dict[Site, int] = {}
    kept = {site for site, indices in circuit.nodes.items() if indices}
    for layer in range(len(circuit.network.layers)):
        for kinds, heading, word in _PLACES:
            here = kept & {Site(layer, kind) for kind in kinds}
            if here:
                column_of |= dict.fromkeys(here, len(columns))
                columns.append({"heading": heading, "word": word, "layer": layer})
    final = Site(None, FINAL)
    if final in kept:
        column_of[final] = len(columns)
        columns.append({"heading": FINAL, "word": "last reads", "layer": None})
    columns.append({"heading": "answers", "word": "output", "layer": None})
    return columns, column_of


def _links(
    circuit: Circuit, nodes: list[Node], answers: Mapping[str, tuple[int, ...]]
) -> list[Link]:
    found = [
        Link("edge", str(edge.source), str(edge.target), weight) for edge, weight in circuit.edges()
    ]
    reads = [node for node in nodes if node.site.kind in READ_SITES]
    writes = [node for node in nodes if node.site.kind in WRITE_SITES]
    for read in reads:
        weights = embedding_column(circuit, read.index)
        if weights:
            strongest = max(weights.values(), key=abs)
            found.append(Link("embedding", None, str(read), strongest, read.index))
        found += [
            Link("residual", str(write), str(read), channel=read.index)
            for write in writes
            if write.index == read.index and write.site < read.site
        ]
    width = circuit.network.d_head
    for source in nodes:
        if source.site.kind in ("attn.q", "attn.k"):
            found += [
                Link("steer", str(source), str(value))
                for value in nodes
                if value.site == Site(source.site.layer, "attn.v")
                and value.index // width == source.index // width
            ]
        if source.site.kind == FINAL:
            for name, tokens in answers.items():
                out = unembedding_weights(circuit, source.index, tokens)
                if out:
                    strongest = max(out.values(), key=abs)
                    found.append(Link("unembedding", str(source), f"answer {name}", strongest))
    return found


def _node(
    circuit: Circuit, node: Node, tokenizer: Tokenizer, answers: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    layer, kind = node.site.layer, node.site.kind
    in_heads = kind in ("attn.q", "attn.k", "attn.v")
    head = node.index // circuit.network.d_head if in_heads else None
    value: dict[str, Any] = {
        "name": str(node),
        "kind": kind,
        "layer": layer,
        "head": head,
        "label": f"{kind[-1]}{node.index}" if kind in ("attn.q", "attn.k") else str(node.index),
        "words": _WORDS[kind].format(i=node.index, l=layer, h=head),
        "positions": _position_weights(circuit, node),
    }
    if kind in READ_SITES:
        value["embedding"] = _ranked(embedding_column(circuit, node.index), tokenizer)
    if kind == FINAL:
        value["unembedding"] = {
            name: _ranked(unembedding_weights(circuit, node.index, tokens), tokenizer)
            for name, tokens in answers.items()
        }
    return value


def _position_weights(circuit: Circuit, node: Node) -> int:
    """How many numbers of the position vector a node takes in directly."""
    network, site = circuit.network, node.site
    if site.kind in READ_SITES and network.position == "add":
        assert network.positions is not None
        return int(np.any(network.positions[:, node.index] != 0))
    if site.layer is None or site.kind not in ("attn.q", "attn.k", "attn.v", "mlp.neuron"):
        return 0
    matrix = network.layers[site.layer].into(site.kind)
    row = matrix.indices[matrix.indptr[node.index] : matrix.indptr[node.index + 1]]
    return int((row >= network.d_model).sum())


def _ranked(weights: Mapping[int, float], tokenizer: Tokenizer) -> dict[str, Any]:
    """The largest weights first; `count` says how many there are."""
    order = sorted(weights, key=lambda token: (-abs(weights[token]), token))[:_SHOWN_TOKENS]
    shown = [[tokenizer.token_text(token), short(weights[token])] for token in order]
    return {"count": len(weights), "top": shown}


def embedding_column(circuit: Circuit, channel: int) -> dict[int, float]:
    """Prompt token -> its embedding in a residual channel, where that is not zero."""
    tokens = np.array(circuit.prompt_tokens, dtype=np.int64)
    rows = circuit.network.embedding.take_rows(tokens)
    here = rows.indices == channel
    return {
        int(tokens[row]): float(weight)
        for row, weight in zip(rows.row_of[here], rows.values[here], strict=True)
    }


def unembedding_weights(
    circuit: Circuit, channel: int, tokens: tuple[int, ...]
) -> dict[int, float]:
    """Answer token, of `tokens` -> weight of a last read on its logit, where that is not zero."""
    matrix = circuit.network.unembedding
    here = matrix.indices == channel
    ids = circuit.network.answers[matrix.row_of[here]]
    found = {
        int(token): float(weight) for token, weight in zip(ids, matrix.values[here], strict=True)
    }
    return {token: found[token] for token in tokens if token in found}
