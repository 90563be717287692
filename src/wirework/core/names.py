"""Names of places in a model: Site (a vector), Node (one channel of it), Edge (one weight).

One spelling everywhere, in code, files, command line and viewer: `3.mlp.neuron:817`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import total_ordering

from wirework.core.errors import WireworkError

LAYER_SITES = (
    "attn.in",
    "attn.q",
    "attn.k",
    "attn.v",
    "attn.out",
    "mlp.in",
    "mlp.neuron",
    "mlp.out",
)
"""The eight places of one layer, in the order in which they are computed."""

FINAL = "final"
"""The residual read channels of the unembedding."""

READ_SITES = ("attn.in", "mlp.in", FINAL)
WRITE_SITES = ("attn.out", "mlp.out")

EDGE_BLOCKS = (
    ("attn.in", "attn.q"),
    ("attn.in", "attn.k"),
    ("attn.in", "attn.v"),
    ("attn.v", "attn.out"),
    ("mlp.in", "mlp.neuron"),
    ("mlp.neuron", "mlp.out"),
)
"""Pairs of places of one layer that a weight matrix joins, (source, target)."""

_NODE = re.compile(r"^(?P<site>[^:\s]+):(?P<index>\d+)$")


@total_ordering
@dataclass(frozen=True)
class Site:
    """A named vector of a model.

    `layer` counts from 0 and is None for `final`; `kind` is one of `LAYER_SITES` or `final`.
    Sites order as they are computed, `final` last.
    """

    layer: int | None
    kind: str

    def __post_init__(self) -> None:
        if self.kind == FINAL:
            valid = self.layer is None
        else:
            valid = self.kind in LAYER_SITES and self.layer is not None and self.layer >= 0
        if not valid:
            raise _unknown_site(f"{self.layer}.{self.kind}")

    def __str__(self) -> str:
        return self.kind if self.layer is None else f"{self.layer}.{self.kind}"

    def __lt__(self, other: Site) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[float, int]:
        if self.layer is None:
            return (float("inf"), 0)
        return (self.layer, LAYER_SITES.index(self.kind))

    @classmethod
    def parse(cls, text: str) -> Site:
        """Inverse of `str`. Raises `site-unknown`, naming the nearest right spelling."""
        if text == FINAL:
            return cls(None, FINAL)
        layer, _, kind = text.partition(".")
        if not layer.isdecimal() or kind not in LAYER_SITES:
            raise _unknown_site(text)
        return cls(int(layer), kind)


def _unknown_site(text: str) -> WireworkError:
    layer = text.partition(".")[0]
    prefix = f"{layer}." if layer.isdecimal() else "0."
    candidates = [prefix + name for name in LAYER_SITES] + [FINAL]
    near = difflib.get_close_matches(text, candidates, n=1, cutoff=0.4)
    return WireworkError(
        "site-unknown",
        f"no place in a model is called {text!r}",
        expected=f"LAYER.PLACE with PLACE one of {', '.join(LAYER_SITES)}; or {FINAL}",
        got=text,
        hint=f"{near[0]}" if near else "3.mlp.neuron",
    )


@dataclass(frozen=True, order=True)
class Node:
    """One channel of a site, written `3.mlp.neuron:817`."""

    site: Site
    index: int

    def __str__(self) -> str:
        return f"{self.site}:{self.index}"

    @classmethod
    def parse(cls, text: str) -> Node:
        """Inverse of `str`. Raises `node-malformed` or `site-unknown`."""
        match = _NODE.match(text)
        if match is None:
            raise WireworkError(
                "node-malformed",
                f"{text!r} is not the name of a node",
                expected="SITE:INDEX",
                got=text,
                hint="3.mlp.neuron:817",
            )
        return cls(Site.parse(match["site"]), int(match["index"]))


@dataclass(frozen=True, order=True)
class Edge:
    """One nonzero weight between two nodes, written `3.mlp.neuron:817 -> 3.mlp.out:40`."""

    source: Node
    target: Node

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"

    @classmethod
    def parse(cls, text: str) -> Edge:
        """Inverse of `str`. Raises `edge-malformed`, `node-malformed` or `site-unknown`."""
        source, arrow, target = text.partition(" -> ")
        if not arrow:
            raise WireworkError(
                "edge-malformed",
                f"{text!r} is not the name of an edge",
                expected="NODE -> NODE",
                got=text,
                hint="3.mlp.neuron:817 -> 3.mlp.out:40",
            )
        return cls(Node.parse(source), Node.parse(target))


def sites(n_layer: int) -> tuple[Site, ...]:
    """Every site of a model with `n_layer` layers, in the order of computation."""
    layers = [Site(layer, kind) for layer in range(n_layer) for kind in LAYER_SITES]
    return (*layers, Site(None, FINAL))
