"""The forward pass over compressed weights, for a whole checkpoint and for a lone circuit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.core import Site, WireworkError
from wirework.core.names import FINAL, sites
from wirework.engine.abstopk_tiles import zero_rest
from wirework.engine.attention import Attended, attend
from wirework.engine.cache import Cache
from wirework.engine.network import Layer, Network
from wirework.engine.pointwise import activate, hold, norm
from wirework.engine.sparse import SparseMatrix, gather, multiply, multiply_tiles
from wirework.engine.tiles import LANES, Floats, count_tiles, to_rows, to_tiles

Replace = Mapping[Site, Callable[[Floats], Floats]]
"""Site -> function of its activation (B, T, d) that gives what the network goes on with."""


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward pass gave.

    `logits` (B, T, O), or (B, O) where only `last` was asked for. `sites`: recorded activations,
    (B, T, d) each. `attention`: layer -> (B, n_head, T query, T key); `sink`: layer -> share of
    attention on the sink, (B, n_head, T), zero without one.
    """

    logits: Floats
    sites: dict[Site, Floats] = field(default_factory=dict)
    attention: dict[int, Floats] = field(default_factory=dict)
    sink: dict[int, Floats] = field(default_factory=dict)


def forward(
    network: Network,
    tokens: NDArray[np.integer[Any]],
    *,
    dtype: DTypeLike = np.float32,
    record: Collection[Site] | bool = False,
    attention: bool = False,
    replace: Replace | None = None,
    last: NDArray[np.integer[Any]] | None = None,
) -> Trace:
    """tokens (B, T) -> logits at every position, in float32 or float64.

    `record`: sites to keep (True: all, and attention); `replace` acts on a site after its AbsTopK
    and gate, before it is recorded. `last` (B): unembed only this position of every prompt.
    Raises `tokens-malformed`, `token-unknown`, `prompt-too-long`, `site-absent`,
    `replacement-malformed`.
    """
    kind = np.dtype(dtype)
    assert kind in (np.float32, np.float64), "float32 or float64"
    check_tokens(network, tokens)
    wanted = sites(len(network.layers)) if record is True else tuple(record or ())
    run = _Run(network, tokens.shape, kind, frozenset(wanted), replace or {})
    run.keep_attention = attention or record is True
    run.check_sites()
    flat = tokens.reshape(-1)
    final = run.final(flat)
    if last is None:
        logits = to_rows(
            multiply_tiles(network.unembedding, final, network.unembedding_bias), len(flat)
        )
    else:
        chosen = np.arange(len(tokens)) * tokens.shape[1] + last
        rows = final[chosen // LANES, :, chosen % LANES]
        flat, logits = flat[chosen], multiply(network.unembedding, rows, network.unembedding_bias)
    if network.bigram is not None:
        logits += network.bigram[flat]
    if last is None:
        logits = logits.reshape(*tokens.shape, logits.shape[1])
    return Trace(logits, run.recorded, run.weights, run.sink)


def extend(network: Network, cache: Cache, tokens: NDArray[np.integer[Any]]) -> Floats:
    """Continue a stream by tokens (T): write their keys and values to its cache.

    Returns what the unembedding reads at the last of them, (1, D). Nothing is checked.
    """
    run = _Run(network, (1, len(tokens)), cache.keys.dtype, frozenset(), {})
    run.cache = cache
    final = run.final(tokens)
    cache.length += len(tokens)
    last = len(tokens) - 1
    return final[last // LANES, :, last % LANES][np.newaxis]


class _Run:
    """One pass. Inside, activations are tiles of B * T positions."""

    def __init__(
        self,
        network: Network,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        record: frozenset[Site],
        replace: Replace,
    ) -> None:
        self.network = network
        self.shape = shape
        self.dtype = dtype
        self.record = record
        self.replace = replace
        self.keep_attention = False
        self.cache: Cache | None = None
        self.recorded: dict[Site, Floats] = {}
        self.weights: dict[int, Floats] = {}
        self.sink: dict[int, Floats] = {}

    def check_sites(self) -> None:
        for site in (*self.record, *self.replace):
            if site not in sites(len(self.network.layers)):
                count = len(self.network.layers)
                raise WireworkError(
                    "site-absent", f"the network has no {site}",
                    expected=f"a layer in 0..{count - 1}", got=str(site),
                )  # fmt: skip

    def final(self, tokens: NDArray[np.integer[Any]]) -> Floats:
        """tokens (B * T) -> what the unembedding reads, the site `final`."""
        net = self.network
        r = gather(net.embedding, tokens, self.dtype)
        if net.position == "add":
            r += self.position_tiles()
        for index, layer in enumerate(net.layers):
            self.add(r, self.attention(index, layer, r), "resid.attn")
            self.add(r, self.mlp(index, layer, r), "resid.mlp")
        compute = partial(self.norm, r, net.final_gain, net.final_norm_bias)
        return self.settle(Site(None, FINAL), compute)

    def norm(self, x: Floats, gain: Floats, bias: Floats | None) -> Floats:
        return norm(x, gain, bias, self.network.eps, self.network.norm)

    def add(self, r: Floats, delta: Floats, place: str) -> None:
        """r <- AbsTopK(activation(r + delta))."""
        r += delta
        activate(r, self.network.residual)
        if place in self.network.topk:
            zero_rest(r, self.network.topk[place])

    def settle(self, site: Site, compute: Callable[[], Floats], *, ranked: bool = False) -> Floats:
        """AbsTopK unless it is already `ranked`, gate, replacement, record; a site that is cut
        whole is never computed."""
        gate = self.network.gates.get(site)
        count = self.shape[0] * self.shape[1]
        if gate is not None and not gate.keep.any():
            x: Floats = np.empty((count_tiles(count), len(gate.keep), LANES), self.dtype)
        else:
            x = compute()
            if site.kind in self.network.topk and not ranked:
                self.hold_before(site, x)
                zero_rest(x, self.network.topk[site.kind])
        if gate is not None:
            hold(x, gate.keep, gate.constant)
        change = self.replace.get(site)
        if change is not None:
            x = to_tiles(self._changed(site, to_rows(x, count), change))
        if site in self.record:
            self.recorded[site] = to_rows(x, count).reshape(*self.shape, x.shape[1])
        return x

    def hold_before(self, site: Site, x: Floats) -> None:
        """In place: what competes at the AbsTopK of a site whose gate stands before it too."""
        gate = self.network.gates.get(site)
        if gate is not None and gate.before:
            hold(x, gate.keep, gate.constant)

    def _changed(self, site: Site, x: Floats, change: Callable[[Floats], Floats]) -> Floats:
        before = x.reshape(*self.shape, x.shape[1])
        after = np.asarray(change(before))
        if after.shape != before.shape:
            raise WireworkError(
                "replacement-malformed", f"the replacement of {site} has another shape",
                expected=str(before.shape), got=str(after.shape),
            )  # fmt: skip
        return np.ascontiguousarray(after, dtype=self.dtype).reshape(x.shape)

    def position_tiles(self) -> Floats:
        """The position vector of every position."""
        assert self.network.positions is not None
        start = 0 if self.cache is None else self.cache.length
        rows = self.network.positions[start : start + self.shape[1]].astype(self.dtype)
        return to_tiles(np.tile(rows, (self.shape[0], 1)))

    def read(
        self, site: Site, r: Floats, gain: Floats, bias: Floats | None,
        position_gain: Floats | None, position_bias: Floats | None,
    ) -> Floats:  # fmt: skip
        """What attention or MLP reads: the normed residual, and normed positions beside it."""
        if position_gain is None:
            return self.settle(site, partial(self.norm, r, gain, bias))
        rows = self.norm(self.position_tiles(), position_gain, position_bias)
        if not self.network.position_in_topk:
            x = self.settle(site, partial(self.norm, r, gain, bias))
            return np.concatenate([x, rows], axis=1)
        both = np.concatenate([self.norm(r, gain, bias), rows], axis=1)
        width = r.shape[1]
        if site.kind in self.network.topk:
            self.hold_before(site, both[:, :width])
            zero_rest(both, self.network.topk[site.kind])
        x = self.settle(site, both[:, :width].copy, ranked=True)
        return np.concatenate([x, both[:, width:]], axis=1)

    def attention(self, index: int, layer: Layer, r: Floats) -> Floats:
        """What attention adds to the residual r."""
        x = self.read(
            Site(index, "attn.in"), r, layer.attn_gain, layer.attn_norm_bias,
            layer.position_gain_attn, layer.position_norm_bias_attn,
        )  # fmt: skip
        q, k, v = (
            self.settle(Site(index, name), partial(multiply_tiles, matrix, x, bias))
            for name, matrix, bias in (
                ("attn.q", layer.q, layer.q_bias),
                ("attn.k", layer.k, layer.k_bias),
                ("attn.v", layer.v, layer.v_bias),
            )
        )
        mix = partial(
            attend, q, k, v, self.shape, self.network.n_head, layer.sink,
            weights=self.keep_attention, cache=self.cache, layer=index,
        )  # fmt: skip
        site = Site(index, "attn.out")
        if not self.keep_attention:
            return self.settle(site, lambda: _write(layer, mix()))
        mixed = mix()
        assert mixed.weights is not None
        self.weights[index] = mixed.weights
        share = to_rows(mixed.share, self.shape[0] * self.shape[1])
        self.sink[index] = 1 - share.reshape(*self.shape, -1).transpose(0, 2, 1)
        return self.settle(site, lambda: _write(layer, mixed))

    def mlp(self, index: int, layer: Layer, r: Floats) -> Floats:
        """What the MLP adds to the residual r."""
        x = self.read(
            Site(index, "mlp.in"), r, layer.mlp_gain, layer.mlp_norm_bias,
            layer.position_gain_mlp, layer.position_norm_bias_mlp,
        )  # fmt: skip
        neurons = self.settle(
            Site(index, "mlp.neuron"),
            lambda: activate(
                multiply_tiles(layer.mlp_in, x, layer.mlp_in_bias), self.network.activation
            ),
        )
        write = partial(multiply_tiles, layer.mlp_out, neurons, layer.mlp_out_bias)
        return self.settle(Site(index, "mlp.out"), write)


def _write(layer: Layer, mixed: Attended) -> Floats:
    out = multiply_tiles(layer.attn_out, mixed.values, layer.attn_out_bias)
    if layer.head_constant is not None:
        # Through the same product as every weight, so that equal rows stay tied.
        out += multiply_tiles(SparseMatrix.from_dense(layer.head_constant), mixed.share)
    return out


def check_tokens(network: Network, tokens: NDArray[np.integer[Any]]) -> None:
    if tokens.ndim != 2 or not np.issubdtype(tokens.dtype, np.integer) or tokens.shape[1] == 0:
        raise WireworkError(
            "tokens-malformed", "these are not rows of tokens",
            expected="integers (prompts, positions)", got=f"{tokens.dtype} {tokens.shape}",
        )  # fmt: skip
    if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < network.vocab_size:
        raise WireworkError(
            "token-unknown", "a token is not in the vocabulary",
            expected=f"0..{network.vocab_size - 1}",
            got=f"{int(tokens.min())}..{int(tokens.max())}",
        )  # fmt: skip
    if network.context is not None and tokens.shape[1] > network.context:
        raise WireworkError(
            "prompt-too-long", f"a prompt has {tokens.shape[1]} tokens",
            expected=f"at most {network.context}, the model's context", got=str(tokens.shape[1]),
        )  # fmt: skip
