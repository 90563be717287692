"""Names of nodes in an attribution graph: rows of sites, Cantor numbers, node ids.

Format: circuit_tools.md §4.1. A fixed table of rows takes the place of their layers: row
8 * layer + place, with place 1 for `attn.in` up to 8 for `mlp.out`; `final` stands on the next row
and the logits on the one after it, alone. So ids are those of circuit-tracer, and no two collide.
"""

from __future__ import annotations

import math

from wirework.core import Node, Site, WireworkError
from wirework.core.names import FINAL, LAYER_SITES

LARGEST = 40_000_000
"""Row plus index: beyond it the page's square root in doubles gives wrong answers (rule 5)."""

TOKEN_ROW = "E"
_PLACES = len(LAYER_SITES)


def row_of(site: Site, n_layer: int) -> int:
    """The row of a site in a model of `n_layer` layers, from 1; 0 is never used (rule 2)."""
    if site.layer is None:
        return _PLACES * n_layer + 1
    return _PLACES * site.layer + LAYER_SITES.index(site.kind) + 1


def site_of(row: int, n_layer: int) -> Site | None:
    """Inverse of `row_of`; None for rows on which no node of a circuit stands."""
    if row == _PLACES * n_layer + 1:
        return Site(None, FINAL)
    if not 1 <= row <= _PLACES * n_layer:
        return None
    return Site((row - 1) // _PLACES, LAYER_SITES[(row - 1) % _PLACES])


def logit_row(n_layer: int) -> int:
    return _PLACES * n_layer + 2


def rows(n_layer: int) -> dict[str, str]:
    """Row -> site, as the exported file says it; the last one is `logit`."""
    last = logit_row(n_layer)
    return {str(row): str(site_of(row, n_layer) or "logit") for row in range(1, last + 1)}


def cantor(row: int, index: int) -> int:
    """Cantor's pairing: one number for two. Raises `graph-node-too-large`."""
    if row + index >= LARGEST:
        raise WireworkError(
            "graph-node-too-large", "the viewers cannot tell so large a feature number apart",
            expected=f"row + index below {LARGEST:,}", got=f"row {row}, index {index}",
        )  # fmt: skip
    return (row + index) * (row + index + 1) // 2 + index


def cantor_inverse(number: int) -> tuple[int, int]:
    """The row and the index that `cantor` was given."""
    total = (math.isqrt(8 * number + 1) - 1) // 2
    index = number - total * (total + 1) // 2
    return total - index, index


def feature_id(node: Node, position: int, n_layer: int) -> str:
    return f"{row_of(node.site, n_layer)}_{node.index}_{position}"


def token_id(token: int, position: int) -> str:
    return f"{TOKEN_ROW}_{token}_{position}"


def logit_id(token: int, position: int, n_layer: int) -> str:
    return f"{logit_row(n_layer)}_{token}_{position}"


def parse_feature_id(text: str, n_layer: int) -> tuple[Node, int] | None:
    """Node and position of an id of `feature_id`; None for tokens, logits and anything else."""
    parts = text.split("_")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    row, index, position = (int(part) for part in parts)
    site = site_of(row, n_layer)
    return None if site is None else (Node(site, index), position)
