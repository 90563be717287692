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
from wirework.engine.attention import Attended, attend
from wirework.engine.network import Layer, Network
from wirework.engine.pointwise import abs_topk, activate, rms_norm
from wirework.engine.sparse import Floats, SparseMatrix, gather, multiply

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
    _check_tokens(network, tokens)
    wanted = sites(len(network.layers)) if record is True else tuple(record or ())
    run = _Run(network, tokens.shape, kind, frozenset(wanted), replace or {})
    run.keep_attention = attention or record is True
    run.check_sites()
    flat = tokens.reshape(-1)
    r = gather(network.embedding, flat, kind)
    if network.position == "add":
        r = r + run.position_rows()
    for index, layer in enumerate(network.layers):
        r = abs_topk(r + run.attention(index, layer, r), network.topk.get("resid.attn"))
        r = abs_topk(r + run.mlp(index, layer, r), network.topk.get("resid.mlp"))
    final = run.settle(Site(None, FINAL), lambda: rms_norm(r, network.final_gain, network.eps))
    if last is not None:
        chosen = np.arange(len(tokens)) * tokens.shape[1] + last
        flat, final = flat[chosen], final[chosen]
    logits = multiply(network.unembedding, final, network.unembedding_bias)
    if network.bigram is not None:
        logits += network.bigram[flat]
    if last is None:
        logits = logits.reshape(*tokens.shape, logits.shape[1])
    return Trace(logits, run.recorded, run.weights, run.sink)


class _Run:
    """One pass. Activations are flat inside, (B * T, d)."""

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

    def settle(self, site: Site, compute: Callable[[], Floats]) -> Floats:
        """AbsTopK, gate, replacement, record; a site that is cut whole is never computed."""
        gate = self.network.gates.get(site)
        if gate is not None and not gate.keep.any():
            row = gate.constant.astype(self.dtype)
            x: Floats = np.tile(row, (self.shape[0] * self.shape[1], 1))
        else:
            x = abs_topk(compute(), self.network.topk.get(site.kind))
            if gate is not None:
                x = np.where(gate.keep, x, gate.constant.astype(self.dtype))
        change = self.replace.get(site)
        if change is not None:
            x = self._changed(site, x, change)
        if site in self.record:
            self.recorded[site] = x.reshape(*self.shape, x.shape[1])
        return x

    def _changed(self, site: Site, x: Floats, change: Callable[[Floats], Floats]) -> Floats:
        before = x.reshape(*self.shape, x.shape[1])
        after = np.asarray(change(before.copy()))
        if after.shape != before.shape:
            raise WireworkError(
                "replacement-malformed", f"the replacement of {site} has another shape",
                expected=str(before.shape), got=str(after.shape),
            )  # fmt: skip
        return np.ascontiguousarray(after, dtype=self.dtype).reshape(x.shape)

    def position_rows(self, gain: Floats | None = None) -> Floats:
        """The position vector of every row; normed by its own gain where it is concatenated."""
        assert self.network.positions is not None
        rows = self.network.positions[: self.shape[1]].astype(self.dtype)
        if gain is not None:
            rows = rms_norm(rows, gain, self.network.eps)
        return np.tile(rows, (self.shape[0], 1))

    def _with_positions(self, x: Floats, gain: Floats | None) -> Floats:
        return x if gain is None else np.concatenate([x, self.position_rows(gain)], axis=1)

    def attention(self, index: int, layer: Layer, r: Floats) -> Floats:
        """What attention adds to the residual r."""
        net = self.network
        x = self.settle(Site(index, "attn.in"), partial(rms_norm, r, layer.attn_gain, net.eps))
        x = self._with_positions(x, layer.position_gain_attn)
        heads: dict[str, Floats] = {}
        for name, matrix, bias in (
            ("attn.q", layer.q, layer.q_bias),
            ("attn.k", layer.k, layer.k_bias),
            ("attn.v", layer.v, layer.v_bias),
        ):
            part = self.settle(Site(index, name), partial(multiply, matrix, x, bias))
            heads[name] = part.reshape(*self.shape, part.shape[1])
        q, k, v = heads.values()
        site = Site(index, "attn.out")
        if not self.keep_attention:
            mix = partial(attend, q, k, v, net.n_head, layer.sink)
            return self.settle(site, lambda: _write(layer, mix()))
        mixed = attend(q, k, v, net.n_head, layer.sink, weights=True)
        assert mixed.weights is not None
        self.weights[index] = mixed.weights
        self.sink[index] = 1 - mixed.share.transpose(0, 2, 1)
        return self.settle(site, lambda: _write(layer, mixed))

    def mlp(self, index: int, layer: Layer, r: Floats) -> Floats:
        """What the MLP adds to the residual r."""
        net = self.network
        x = self.settle(Site(index, "mlp.in"), partial(rms_norm, r, layer.mlp_gain, net.eps))
        x = self._with_positions(x, layer.position_gain_mlp)
        neurons = self.settle(
            Site(index, "mlp.neuron"),
            lambda: activate(multiply(layer.mlp_in, x, layer.mlp_in_bias), net.activation),
        )
        write = partial(multiply, layer.mlp_out, neurons, layer.mlp_out_bias)
        return self.settle(Site(index, "mlp.out"), write)


def _write(layer: Layer, mixed: Attended) -> Floats:
    values, share = mixed.values, mixed.share
    out = multiply(layer.attn_out, values.reshape(-1, values.shape[2]), layer.attn_out_bias)
    if layer.head_constant is not None:
        # Through the same product as every weight, so that equal rows stay tied.
        constant = SparseMatrix.from_dense(layer.head_constant)
        out += multiply(constant, share.reshape(-1, share.shape[2]))
    return out


def _check_tokens(network: Network, tokens: NDArray[np.integer[Any]]) -> None:
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
