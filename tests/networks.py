"""Random small networks with every switch, random gates, and the whole thing in plain numpy."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf

from wirework.core import Edge, Site
from wirework.core.names import sites
from wirework.engine import Layer, Network, SiteGate, SparseMatrix
from wirework.engine.network import NORM_EPSILON

Array = NDArray[np.float64]
PLACES = (
    "attn.in", "attn.q", "attn.k", "attn.v", "attn.out",
    "mlp.in", "mlp.neuron", "mlp.out", "resid.attn", "resid.mlp",
)  # fmt: skip
D, HEADS, WIDTH, NEURONS, VOCAB, CONTEXT, D_POSITION = 10, 3, 2, 14, 9, 6, 4


@dataclass(frozen=True)
class Switches:
    """One setting of every switch of the architecture, and a seed for its numbers."""

    seed: int
    n_layer: int
    position: Literal["none", "add", "concat"]
    sink: bool
    bias: bool
    bigram: bool
    activation: Literal["gelu", "relu"]
    topk: tuple[str, ...]
    ties: bool
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = False
    residual: Literal["identity", "relu"] = "identity"
    tied: bool = False
    position_in_topk: bool = False


def switches() -> st.SearchStrategy[Switches]:
    return st.builds(
        Switches,
        seed=st.integers(0, 2**32 - 1),
        n_layer=st.integers(1, 3),
        position=st.sampled_from(["none", "add", "concat"]),
        sink=st.booleans(),
        bias=st.booleans(),
        bigram=st.booleans(),
        activation=st.sampled_from(["gelu", "relu"]),
        topk=st.one_of(
            st.just(()),
            st.just(PLACES[:8]),
            st.lists(st.sampled_from(PLACES), unique=True).map(tuple),
        ),
        ties=st.booleans(),
        norm=st.sampled_from(["rms", "layer"]),
        norm_bias=st.booleans(),
        residual=st.sampled_from(["identity", "relu"]),
        tied=st.booleans(),
        position_in_topk=st.booleans(),
    )


def random_network(want: Switches) -> Network:
    """About a third of the weights nonzero; with `ties`, rows are copied, some with turned sign."""
    random = np.random.default_rng([want.seed, 1])

    def vector(width: int) -> Array | None:
        return random.normal(0, 0.3, width) if want.bias else None

    def matrix(rows: int, cols: int) -> SparseMatrix:
        dense = random.normal(0, 1, (rows, cols)) * (random.random((rows, cols)) < 0.35)
        if want.ties:
            twins = random.integers(rows, size=rows // 2)
            dense[: rows // 2] = dense[twins] * random.choice([-1, 1], size=(rows // 2, 1))
        return SparseMatrix.from_dense(dense)

    def gain(width: int) -> Array:
        return np.ones(width) if want.ties else random.uniform(0.5, 1.5, width)

    def shift(width: int) -> Array | None:
        return random.normal(0, 0.3, width) if want.norm_bias else None

    extra = D_POSITION if want.position == "concat" else 0
    flat = HEADS * WIDTH
    layers = []
    for _ in range(want.n_layer):
        layers.append(
            Layer(
                attn_gain=gain(D),
                q=matrix(flat, D + extra),
                k=matrix(flat, D + extra),
                v=matrix(flat, D + extra),
                q_bias=vector(flat),
                k_bias=vector(flat),
                v_bias=vector(flat),
                sink=random.normal(0, 1, HEADS) if want.sink else None,
                attn_out=matrix(D, flat),
                attn_out_bias=vector(D),
                mlp_gain=gain(D),
                mlp_in=matrix(NEURONS, D + extra),
                mlp_in_bias=vector(NEURONS),
                mlp_out=matrix(D, NEURONS),
                mlp_out_bias=vector(D),
                position_gain_attn=gain(extra) if extra else None,
                position_gain_mlp=gain(extra) if extra else None,
                attn_norm_bias=shift(D),
                mlp_norm_bias=shift(D),
                position_norm_bias_attn=shift(extra) if extra else None,
                position_norm_bias_mlp=shift(extra) if extra else None,
            )
        )
    tables = {"none": None, "add": (CONTEXT, D), "concat": (CONTEXT, D_POSITION)}
    table = tables[want.position]
    embedding = random.normal(0, 1, (VOCAB, D)) * (random.random((VOCAB, D)) < 0.5)
    if want.ties:
        embedding[:, : D // 3] = -embedding[:, D // 3 : 2 * (D // 3)]
    table_of_tokens = SparseMatrix.from_dense(embedding)
    widths = {"mlp.neuron": NEURONS, "attn.q": flat, "attn.k": flat, "attn.v": flat}
    return Network(
        n_head=HEADS,
        d_head=WIDTH,
        embedding=table_of_tokens,
        layers=tuple(layers),
        final_gain=gain(D),
        unembedding=table_of_tokens if want.tied else matrix(VOCAB, D),
        final_norm_bias=shift(D),
        norm=want.norm,
        residual=want.residual,
        eps=1e-5 if want.norm == "layer" else NORM_EPSILON,
        unembedding_bias=vector(VOCAB),
        activation=want.activation,
        topk={place: int(random.integers(1, widths.get(place, D) + 1)) for place in want.topk},
        position=want.position,
        position_in_topk=want.position_in_topk and want.position == "concat",
        positions=None if table is None else random.normal(0, 1, table),
        bigram=random.normal(0, 1, (VOCAB, VOCAB)) if want.bigram else None,
    )


def random_tokens(want: Switches) -> NDArray[np.int64]:
    return np.random.default_rng([want.seed, 2]).integers(VOCAB, size=(3, CONTEXT))


def random_gates(
    network: Network, seed: int, *, every: bool = False, before: bool = False
) -> dict[Site, SiteGate]:
    """Gates at most sites, or at `every` one; some sites are kept whole, some cut whole, some
    constants are zero. `before`: some stand before AbsTopK as well."""
    random = np.random.default_rng([seed, 3])
    gates = {}
    for site in sites(len(network.layers)):
        share = random.choice([0.0, 0.3, 0.6, 0.9, 1.0], p=[0.1, 0.25, 0.3, 0.25, 0.1])
        width = network.width(site)
        constant = random.normal(0, 0.5, width) * (random.random(width) < 0.8)
        keep = random.random(width) < share
        if random.random() < 0.9 or every:
            gates[site] = SiteGate(keep, constant, before and bool(random.random() < 0.7))
    return gates


def nodes_of(network: Network) -> dict[Site, tuple[int, ...]]:
    """What the gates of a network keep."""
    found = {site: np.flatnonzero(network.kept(site)) for site in sites(len(network.layers))}
    return {site: tuple(int(i) for i in kept) for site, kept in found.items() if len(kept)}


def dense_forward(
    network: Network, tokens: NDArray[np.int64], cut: Collection[Edge] = ()
) -> tuple[Array, dict[Site, Array]]:
    """The definition of the model over dense matrices, in float64: logits and every site. The
    target of a `cut` edge sees the constant of its source."""
    seen: dict[Site, Array] = {}

    def held(site: Site, x: Array) -> Array:
        gate = network.gates.get(site)
        return x if gate is None else gate.keep * x + ~gate.keep * gate.constant

    def settle(site: Site, x: Array, ranked: bool = False) -> Array:
        if not ranked and (gate := network.gates.get(site)) is not None and gate.before:
            x = held(site, x)
        x = x if ranked else _largest(x, network.topk.get(site.kind))
        seen[site] = held(site, x)
        return seen[site]

    def affine(target: Site, source: str, x: Array, bias: NDArray[Any] | None) -> Array:
        assert target.layer is not None
        matrix = network.layers[target.layer].into(target.kind)
        return _affine(matrix, x, bias, _held_at(network, cut, target, source))

    def read(site: Site, x: Array, gain: NDArray[Any] | None, bias: NDArray[Any] | None) -> Array:
        if gain is None:
            return settle(site, x)
        assert network.positions is not None
        rows = _norm(network, network.positions[: x.shape[1]].astype(np.float64), gain, bias)
        both = np.concatenate([x, np.broadcast_to(rows, (len(x), *rows.shape))], axis=-1)
        d = x.shape[-1]
        if network.position_in_topk:
            if (gate := network.gates.get(site)) is not None and gate.before:
                both[..., :d] = held(site, x)
            both = _largest(both, network.topk.get(site.kind))
        kept = settle(site, both[..., :d], network.position_in_topk)
        return np.concatenate([kept, both[..., d:]], axis=-1)

    def add(r: Array, delta: Array, place: str) -> Array:
        r = r + delta
        if network.residual == "relu":
            r = np.maximum(r, 0)
        return _largest(r, network.topk.get(place))

    length = tokens.shape[1]
    r = network.embedding.to_dense().astype(np.float64)[tokens]
    if network.position == "add":
        assert network.positions is not None
        r = r + network.positions[:length]
    for index, layer in enumerate(network.layers):
        x = read(
            Site(index, "attn.in"), _norm(network, r, layer.attn_gain, layer.attn_norm_bias),
            layer.position_gain_attn, layer.position_norm_bias_attn,
        )  # fmt: skip
        q, k, v = (
            settle(site, affine(site, "attn.in", x, bias))
            for site, bias in (
                (Site(index, "attn.q"), layer.q_bias),
                (Site(index, "attn.k"), layer.k_bias),
                (Site(index, "attn.v"), layer.v_bias),
            )
        )
        mixed, share = _attention(network, layer, q, k, v)
        place = Site(index, "attn.out")
        constants = _held_at(network, cut, place, "attn.v")
        shares = np.repeat(share, network.d_head, axis=-1)
        out = _affine(layer.attn_out, mixed, layer.attn_out_bias, constants, shares)
        if layer.head_constant is not None:
            out = out + share @ layer.head_constant.T
        r = add(r, settle(place, out), "resid.attn")
        x = read(
            Site(index, "mlp.in"), _norm(network, r, layer.mlp_gain, layer.mlp_norm_bias),
            layer.position_gain_mlp, layer.position_norm_bias_mlp,
        )  # fmt: skip
        n = affine(Site(index, "mlp.neuron"), "mlp.in", x, layer.mlp_in_bias)
        n = np.maximum(n, 0) if network.activation == "relu" else _gelu(n)
        n = settle(Site(index, "mlp.neuron"), n)
        place = Site(index, "mlp.out")
        out = settle(place, affine(place, "mlp.neuron", n, layer.mlp_out_bias))
        r = add(r, out, "resid.mlp")
    normed = _norm(network, r, network.final_gain, network.final_norm_bias)
    final = settle(Site(None, "final"), normed)
    logits = _affine(network.unembedding, final, network.unembedding_bias)
    return logits if network.bigram is None else logits + network.bigram[tokens], seen


def _norm(network: Network, x: Array, gain: NDArray[Any], bias: NDArray[Any] | None) -> Array:
    if network.norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    normed: Array = x / np.sqrt((x**2).mean(-1, keepdims=True) + network.eps) * gain
    return normed if bias is None else normed + bias


def _gelu(x: Array) -> Array:
    activated: Array = 0.5 * x * (1 + erf(x * math.sqrt(0.5)))
    return activated


def _largest(x: Array, k: int | None) -> Array:
    """Sorts by magnitude, falling, and by index where magnitudes are equal."""
    if k is None:
        return x
    order = np.argsort(-np.abs(x), axis=-1, kind="stable")
    kept = np.zeros_like(x)
    np.put_along_axis(kept, order[..., :k], 1.0, axis=-1)
    return x * kept


def _held_at(network: Network, cut: Collection[Edge], target: Site, source: str) -> Array:
    """What every target sees of every source: a constant where the edge is cut, else NaN."""
    found = np.full((network.width(target), network.width(Site(target.layer, source))), np.nan)
    for edge in cut:
        if edge.target.site == target:
            constant = network.gates[edge.source.site].constant[edge.source.index]
            found[edge.target.index, edge.source.index] = constant
    return found


def _affine(
    matrix: SparseMatrix,
    x: Array,
    bias: NDArray[Any] | None,
    constants: Array | None = None,
    shares: Array | None = None,
) -> Array:
    """Adds column after column, so that equal rows give equal sums, which BLAS does not promise.

    `constants` (rows, cols or fewer): what a row sees of a column in place of x, NaN for x
    itself; times `shares` where given.
    """
    dense = matrix.to_dense()
    out = np.zeros((*x.shape[:-1], len(dense)))
    if bias is not None:
        out += bias
    for column in range(dense.shape[1]):
        seen = x[..., column, None]
        if constants is not None and column < constants.shape[1]:
            other = constants[:, column] * (1 if shares is None else shares[..., column, None])
            seen = np.where(np.isnan(constants[:, column]), seen, other)
        out += dense[:, column] * seen
    return out


def _attention(network: Network, layer: Layer, q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    out, share = np.zeros_like(q), np.zeros((*q.shape[:2], network.n_head))
    for b in range(q.shape[0]):
        for h in range(network.n_head):
            mine = slice(h * network.d_head, (h + 1) * network.d_head)
            for t in range(q.shape[1]):
                scores = k[b, : t + 1, mine] @ q[b, t, mine] / math.sqrt(network.d_head)
                weights = np.exp(scores)
                total = weights.sum() + (0 if layer.sink is None else np.exp(layer.sink[h]))
                out[b, t, mine] = (weights / total) @ v[b, : t + 1, mine]
                share[b, t, h] = weights.sum() / total
    return out, share
