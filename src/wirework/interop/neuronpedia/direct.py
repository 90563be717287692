"""Exact direct effects among the nodes of a lone circuit on one prompt.

What a link means (docs/exchange.md says it at length): everything that is not linear stands where
this prompt puts it - norms, attention, AbsTopK, activations - and what remains is a sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit, every_node
from wirework.circuit.graph import MATRIX
from wirework.core import Node, Site
from wirework.core.names import EDGE_BLOCKS, FINAL
from wirework.engine import Network, Trace, forward, keep_largest
from wirework.engine.sparse import Floats, SparseMatrix, multiply
from wirework.interop.neuronpedia.residual import Read, norm_terms, reads

_Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DirectEffects:
    """One prompt `tokens` (T) in float64, the logits at its last token.

    `values` (T, K): activations of `nodes`. `before` (T, K): what stands before the activation of
    a neuron; elsewhere it is the value. `constants` (T, K): what of `before` no link brings:
    biases, positions, what cut channels add. `logits` (O) of the circuit's answer tokens, with
    `logit_constants`. Links: `source`, `target`, `weight` (E); ends are numbered tokens first (t),
    then nodes (T + k * T + t), then logits (T + K * T + o). Where a value is not zero, the weights
    of all links into it plus its constant are `before`, exactly.
    """

    tokens: _Ints
    nodes: tuple[Node, ...]
    values: Floats
    before: Floats
    constants: Floats
    logits: Floats
    logit_constants: Floats
    source: _Ints
    target: _Ints
    weight: Floats
    trace: Trace

    @property
    def n_ends(self) -> int:
        return len(self.tokens) * (1 + len(self.nodes)) + len(self.logits)


def direct_effects(circuit: Circuit, tokens: NDArray[np.integer[Any]]) -> DirectEffects:
    """Raises `circuit-needs-model` and what `forward` raises about `tokens` (T)."""
    circuit.require_alone()
    prompt = np.asarray(tokens, dtype=np.int64)
    trace = forward(circuit.network, prompt[None], dtype=np.float64, record=True, attention=True)
    work = _Work(circuit, prompt, trace)
    for read in reads(circuit.network, prompt, trace):
        work.read(read)
        if read.site.layer is not None:
            work.sublayer(read)
    logits = work.answers()
    return DirectEffects(
        tokens=prompt,
        nodes=tuple(work.nodes),
        values=work.values,
        before=work.before,
        constants=work.constants,
        logits=trace.logits[0, -1],
        logit_constants=logits,
        source=np.concatenate([part[0] for part in work.links]),
        target=np.concatenate([part[1] for part in work.links]),
        weight=np.concatenate([part[2] for part in work.links]),
        trace=trace,
    )


@dataclass(eq=False)
class _Work:
    circuit: Circuit
    tokens: _Ints
    trace: Trace
    links: list[tuple[_Ints, _Ints, Floats]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.network: Network = self.circuit.network
        self.length = len(self.tokens)
        self.nodes = every_node(self.circuit.nodes)
        columns = [self.trace.sites[node.site][0, :, node.index] for node in self.nodes]
        self.values: Floats = np.array(columns).reshape(-1, self.length).T.copy()
        self.before = self.values.copy()
        self.constants: Floats = np.zeros_like(self.values)
        self.number = {node: k for k, node in enumerate(self.nodes)}

    def numbers(self, site: Site) -> _Ints:
        """Channel of a site -> number of its node, -1 where it is cut."""
        found = np.full(self.network.width(site), -1, dtype=np.int64)
        for index in self.circuit.nodes.get(site, ()):
            found[index] = self.number[Node(site, index)]
        return found

    def end(self, node: _Ints, position: _Ints) -> _Ints:
        return self.length + node * self.length + position

    def add(self, source: _Ints, target: _Ints, weight: Floats) -> None:
        alive = weight != 0
        self.links.append((source[alive], target[alive], weight[alive]))

    def add_nodes(self, sources: _Ints, targets: _Ints, weight: Floats) -> None:
        """Links at the same position: node numbers (E), weights (E, T), 0 where a target is."""
        places = np.broadcast_to(np.arange(self.length), weight.shape)
        weight = np.where(self.values[:, targets].T != 0, weight, 0.0)
        self.add(self.end(sources[:, None], places), self.end(targets[:, None], places), weight)

    def read(self, read: Read) -> None:
        """Links into the kept channels of a read site: tokens, and writes of the same channel."""
        numbers = self.numbers(read.site)
        kept = np.flatnonzero(numbers >= 0)
        targets = numbers[kept]
        scale = read.scale[:, kept].T
        places = np.broadcast_to(np.arange(self.length), scale.shape)
        token = np.where(self.values[:, targets].T != 0, read.parts.token[:, kept].T * scale, 0.0)
        self.add(places, self.end(targets[:, None], places), token)
        for site, written in read.parts.writes.items():
            both = np.flatnonzero((numbers >= 0) & (self.numbers(site) >= 0))
            weight = (written[:, both] * read.scale[:, both]).T
            self.add_nodes(self.numbers(site)[both], numbers[both], weight)
        self.constants[:, targets] = read.constant[:, kept]

    def sublayer(self, read: Read) -> None:
        """Links of the attention or the MLP that reads at `read`."""
        index = read.site.layer
        assert index is not None
        positions = _positions(self.network, read)
        part = read.site.kind.partition(".")[0]
        for source, target in EDGE_BLOCKS:
            if not target.startswith(part):
                continue
            if target == "attn.out":
                self.attention(index)
            else:
                into = positions if source == read.site.kind else None
                self.linear(Site(index, source), Site(index, target), into)

    def linear(self, source: Site, target: Site, positions: Floats | None) -> None:
        """Links of one matrix, and what its biases and positions (T, P) give."""
        sources, targets, matrix, bias = self.block(source, target)
        rows, weights = matrix.row_of, matrix.values.astype(np.float64)
        channels = matrix.indices < len(sources)
        joined = np.flatnonzero(channels)
        joined = joined[sources[matrix.indices[joined]] >= 0]
        first, last = sources[matrix.indices[joined]], targets[rows[joined]]
        self.add_nodes(first, last, weights[joined, None] * self.values[:, first].T)
        kept = np.flatnonzero(targets >= 0)
        held = np.zeros((self.length, matrix.shape[0])) + (0.0 if bias is None else bias)
        if positions is not None and positions.shape[1]:
            held += multiply(matrix.pick(~channels), _behind(positions, len(sources)))
        self.constants[:, targets[kept]] = held[:, kept]
        if target.kind == "mlp.neuron":
            x = self.trace.sites[source][0]
            if positions is not None:
                x = np.concatenate([x, positions], axis=1)
            self.before[:, targets[kept]] = multiply(matrix, x, bias)[:, kept]

    def attention(self, index: int) -> None:
        """Links of values through the attention that this prompt gives them: weight of the edge *
        attention of its head on the key * value at the key."""
        layer, site = self.network.layers[index], Site(index, "attn.out")
        sources, targets, matrix, bias = self.block(Site(index, "attn.v"), site)
        queries, keys = np.indices((self.length, self.length))
        for row, column, weight in zip(matrix.row_of, matrix.indices, matrix.values, strict=True):
            source, target = sources[column], targets[row]
            if source < 0:
                continue
            shown = self.trace.attention[index][0, column // self.network.d_head]
            moved = float(weight) * shown * self.values[:, source]
            moved = np.where(self.values[:, target, None] != 0, moved, 0.0)
            self.add(self.end(source, keys), self.end(target, queries), moved)
        kept = np.flatnonzero(targets >= 0)
        held = np.zeros((self.length, matrix.shape[0])) + (0.0 if bias is None else bias)
        if layer.head_constant is not None:
            share = self.trace.attention[index][0].sum(-1)
            held += (layer.head_constant @ share).T
        self.constants[:, targets[kept]] = held[:, kept]

    def block(self, source: Site, target: Site) -> tuple[_Ints, _Ints, SparseMatrix, Floats | None]:
        """Node numbers at both ends of a matrix, its rows that are kept, its bias."""
        assert target.layer is not None
        layer = self.network.layers[target.layer]
        targets = self.numbers(target)
        matrix = layer.into(target.kind).select(rows=targets >= 0)
        bias = getattr(layer, f"{MATRIX[target.kind]}_bias")
        return self.numbers(source), targets, matrix, bias

    def answers(self) -> Floats:
        """Links into the logits at the last token; their constants (O)."""
        network, last = self.network, self.length - 1
        numbers, matrix = self.numbers(Site(None, FINAL)), network.unembedding
        start = self.length * (1 + len(self.nodes))
        source = numbers[matrix.indices]
        weight = matrix.values.astype(np.float64) * self.values[last, source]
        self.add(self.end(source, np.full_like(source, last)), start + matrix.row_of, weight)
        bias = network.unembedding_bias
        count = matrix.shape[0]
        constants = np.zeros(count) if bias is None else bias.astype(np.float64)
        if network.bigram is not None:
            row = network.bigram[self.tokens[last]].astype(np.float64)
            self.add(np.full(count, last), start + np.arange(count), row)
        return constants


def _positions(network: Network, read: Read) -> Floats:
    """What attention or MLP reads of concatenated positions, (T, P); P is 0 without them."""
    length, width = read.value.shape
    assert read.site.layer is not None
    layer, part = network.layers[read.site.layer], read.site.kind.partition(".")[0]
    gain: Floats | None = getattr(layer, f"position_gain_{part}")
    if gain is None or network.positions is None:
        return np.zeros((length, 0))
    x = network.positions[:length].astype(np.float64)
    mean, inverse = norm_terms(network, x)
    bias: Floats | None = getattr(layer, f"position_norm_bias_{part}")
    rows: Floats = (x - mean) * inverse * gain + (0.0 if bias is None else bias)
    if not network.position_in_topk or read.site.kind not in network.topk:
        return rows
    gate, competing = network.gates.get(read.site), read.value
    if gate is not None and gate.before:
        competing = np.where(gate.keep, competing, gate.constant)
    both = np.concatenate([competing, rows], axis=1)
    shown: Floats = np.where(keep_largest(both, network.topk[read.site.kind]), both, 0.0)
    return shown[:, width:]


def _behind(positions: Floats, width: int) -> Floats:
    """Positions as the columns behind `width` channels, which are zero."""
    return np.pad(positions, ((0, 0), (width, 0)))
