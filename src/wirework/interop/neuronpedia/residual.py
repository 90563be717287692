"""What stands in the residual stream where it is read, taken apart by who wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wirework.core import Site
from wirework.core.names import FINAL
from wirework.engine import Network, Trace, keep_largest
from wirework.engine.sparse import Floats


@dataclass(frozen=True, eq=False)
class Parts:
    """A residual (T, D) as a sum: `token`, the embedding of the token at that position; `writes`,
    by site, what its kept channels wrote; `constant`, positions that were added and what cut
    channels, held at constants, wrote."""

    total: Floats
    token: Floats
    writes: dict[Site, Floats]
    constant: Floats

    def times(self, factor: NDArray[np.bool_]) -> Parts:
        """Everything times a mask (T, D) that leaves what an AbsTopK or a ReLU let pass."""
        writes = {site: part * factor for site, part in self.writes.items()}
        return replace(
            self, total=self.total * factor, token=self.token * factor, writes=writes,
            constant=self.constant * factor,
        )  # fmt: skip

    def plus(self, site: Site, written: Floats, kept: NDArray[np.bool_]) -> Parts:
        """After site `site` has written (T, D)."""
        return replace(
            self,
            total=self.total + written,
            writes={**self.writes, site: np.where(kept, written, 0.0)},
            constant=self.constant + np.where(kept, 0.0, written),
        )


@dataclass(frozen=True, eq=False)
class Read:
    """A read site before its AbsTopK: x = (residual - mean) * scale + shift, (T, D).

    `mean` (T, 1) is 0 for a norm that takes none away; `scale` (T, D): the norm and its gain;
    `shift` (D).
    """

    site: Site
    parts: Parts
    mean: Floats
    scale: Floats
    shift: Floats

    @property
    def constant(self) -> Floats:
        """What no token and no kept write gives, (T, D)."""
        held: Floats = (self.parts.constant - self.mean) * self.scale + self.shift
        return held

    @property
    def value(self) -> Floats:
        whole: Floats = (self.parts.total - self.mean) * self.scale + self.shift
        return whole


def reads(network: Network, tokens: NDArray[np.int64], trace: Trace) -> Iterator[Read]:
    """Every read site in order of computation, for one prompt `tokens` (T) and its trace (B = 1).

    All in float64. Norms and AbsTopK stand where the prompt puts them.
    """
    parts = _start(network, tokens)
    for index, layer in enumerate(network.layers):
        site = Site(index, "attn.in")
        yield _read(network, site, parts, layer.attn_gain, layer.attn_norm_bias)
        parts = _after(network, parts, Site(index, "attn.out"), trace, "resid.attn")
        site = Site(index, "mlp.in")
        yield _read(network, site, parts, layer.mlp_gain, layer.mlp_norm_bias)
        parts = _after(network, parts, Site(index, "mlp.out"), trace, "resid.mlp")
    yield _read(network, Site(None, FINAL), parts, network.final_gain, network.final_norm_bias)


def _start(network: Network, tokens: NDArray[np.int64]) -> Parts:
    token = network.embedding.take_rows(tokens).to_dense().astype(np.float64)
    constant = np.zeros_like(token)
    if network.position == "add":
        assert network.positions is not None
        constant += network.positions[: len(tokens)]
    return Parts(token + constant, token, {}, constant)


def _after(network: Network, parts: Parts, site: Site, trace: Trace, place: str) -> Parts:
    parts = parts.plus(site, trace.sites[site][0], network.kept(site))
    if network.residual == "relu":
        parts = parts.times(parts.total > 0)
    if place in network.topk:
        parts = parts.times(keep_largest(parts.total, network.topk[place]))
    return parts


def _read(network: Network, site: Site, parts: Parts, gain: Floats, bias: Floats | None) -> Read:
    mean, inverse = norm_terms(network, parts.total)
    shift = np.zeros(len(gain)) if bias is None else bias.astype(np.float64)
    return Read(site, parts, mean, inverse * gain, shift)


def norm_terms(network: Network, x: Floats) -> tuple[Floats, Floats]:
    """What the network's norm takes away from x (T, D) and multiplies it by, (T, 1) each."""
    mean = x.mean(1, keepdims=True) if network.norm == "layer" else np.zeros((len(x), 1))
    centred = x - mean
    inverse: Floats = 1 / np.sqrt((centred * centred).mean(1, keepdims=True) + network.eps)
    return mean, inverse
