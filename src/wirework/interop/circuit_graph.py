"""A circuit as a plain graph for other programs: nodes and links with what is known of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from wirework.circuit import Circuit, every_node
from wirework.core import Node, Site
from wirework.core.errors import unknown_choice
from wirework.core.names import FINAL, READ_SITES, WRITE_SITES
from wirework.data import Tokenizer
from wirework.interop.evidence import Told

LINKS = ("residual", "steer", "unembedding", "embedding")
"""What may join nodes beside their weights (design §3): a residual channel from a write to a later
read; a query or key channel and the values of its head; the weight of a last read on an answer
token; the embedding of a prompt token in a channel that is read."""

USUAL = LINKS[:3]
"""There are many tokens, so that their embedding is only added where it is asked for."""


@dataclass(frozen=True)
class GraphNode:
    """`kind`: a place such as `attn.q`, or `token`, `answer`. `text`: what it tells, or the text
    of a token. `effect`: change of the answer margin when it is cut. None: does not apply."""

    name: str
    kind: str
    index: int
    layer: int | None = None
    head: int | None = None
    text: str = ""
    effect: float | None = None


@dataclass(frozen=True)
class GraphLink:
    """`kind`: `edge`, a weight between two nodes, or one of `LINKS`. `weight` is None where there
    is none; `effect`: change of the answer margin when the edge is cut, None if not measured."""

    kind: str
    source: str
    target: str
    weight: float | None = None
    effect: float | None = None


def circuit_graph(
    circuit: Circuit, told: Told | None = None, *, links: Collection[str] = USUAL
) -> tuple[list[GraphNode], list[GraphLink]]:
    """Nodes in order of computation, tokens first and answers last; links with them.

    `links`: of `LINKS`. Tokens and answers are there where links to them are asked for. Raises
    `link-unknown`.
    """
    for name in links:
        if name not in LINKS:
            raise unknown_choice("link-unknown", "kind of link", name, LINKS)
    told = told or Told()
    width = circuit.network.d_head
    nodes = [_node(node, width, told) for node in every_node(circuit.nodes)]
    found = [
        GraphLink("edge", str(edge.source), str(edge.target), weight, told.edge_effects.get(edge))
        for edge, weight in circuit.edges()
    ]
    if "residual" in links:
        found += _residual(circuit)
    if "steer" in links:
        found += _steer(circuit)
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    for kind, ends in (("embedding", _embedding), ("unembedding", _unembedding)):
        if kind in links:
            joined = list(ends(circuit))
            found += [link for _, link in joined]
            texts = {token: tokenizer.token_text(token) for token, _ in joined}
            place = "token" if kind == "embedding" else "answer"
            more = [
                GraphNode(f"{place}:{token}", place, token, text=text)
                for token, text in sorted(texts.items())
            ]
            nodes = [*more, *nodes] if kind == "embedding" else [*nodes, *more]
    return nodes, found


def _node(node: Node, width: int, told: Told) -> GraphNode:
    kind = node.site.kind
    return GraphNode(
        name=str(node),
        kind=kind,
        index=node.index,
        layer=node.site.layer,
        head=node.index // width if kind in ("attn.q", "attn.k", "attn.v") else None,
        text=told.labels.get(node, ""),
        effect=told.effects.get(node),
    )


def _residual(circuit: Circuit) -> Iterator[GraphLink]:
    nodes = every_node(circuit.nodes)
    for read in nodes:
        for write in nodes if read.site.kind in READ_SITES else ():
            if (
                write.site.kind in WRITE_SITES
                and write.index == read.index
                and write.site < read.site
            ):
                yield GraphLink("residual", str(write), str(read))


def _steer(circuit: Circuit) -> Iterator[GraphLink]:
    width = circuit.network.d_head
    for source in every_node(circuit.nodes):
        if source.site.kind in ("attn.q", "attn.k"):
            values = Site(source.site.layer, "attn.v")
            for index in circuit.nodes.get(values, ()):
                if index // width == source.index // width:
                    yield GraphLink("steer", str(source), str(Node(values, index)))


def _embedding(circuit: Circuit) -> Iterator[tuple[int, GraphLink]]:
    reads = [node for node in every_node(circuit.nodes) if node.site.kind in READ_SITES]
    matrix = circuit.network.embedding
    for token in circuit.prompt_tokens:
        here = slice(matrix.indptr[token], matrix.indptr[token + 1])
        columns, values = matrix.indices[here], matrix.values[here]
        weights = dict(zip(columns.tolist(), values.tolist(), strict=True))
        for read in reads:
            if read.index in weights:
                yield (
                    token,
                    GraphLink("embedding", f"token:{token}", str(read), weights[read.index]),
                )


def _unembedding(circuit: Circuit) -> Iterator[tuple[int, GraphLink]]:
    matrix, final = circuit.network.unembedding, Site(None, FINAL)
    kept = set(circuit.nodes.get(final, ()))
    for row, column, weight in zip(matrix.row_of, matrix.indices, matrix.values, strict=True):
        if int(column) in kept:
            token = int(circuit.network.answers[row])
            source = str(Node(final, int(column)))
            yield token, GraphLink("unembedding", source, f"answer:{token}", float(weight))
