"""The floors of the house: which package may import which, and where torch may stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Floor:
    """A package imports only packages on lower floors.

    `torch`: `no` - the package never imports it; `lazily` - only inside functions; `yes` - freely.
    """

    level: int
    torch: Literal["no", "lazily", "yes"]


FLOORS = {
    "core": Floor(0, "no"),
    "data": Floor(1, "no"),
    "engine": Floor(1, "no"),
    "plots": Floor(1, "no"),
    "model": Floor(2, "yes"),
    "circuit": Floor(2, "no"),
    "tasks": Floor(3, "no"),
    "sparsity": Floor(3, "yes"),
    "interop": Floor(3, "lazily"),
    "training": Floor(4, "yes"),
    "ablation": Floor(4, "yes"),
    "discovery": Floor(5, "yes"),
    "probing": Floor(5, "yes"),
    "planted": Floor(5, "yes"),
    "validation": Floor(6, "yes"),
    "explain": Floor(6, "yes"),
    "bridges": Floor(6, "yes"),
    "oversight": Floor(7, "yes"),
    "viewer": Floor(7, "no"),
    "bench": Floor(8, "yes"),
    "cli": Floor(9, "lazily"),
}

ROOF = Floor(10, "lazily")
"""Of the modules directly under `wirework`: they see every package, and no package sees them."""


def package_of(module: str) -> str:
    """`core` for `wirework.core.names`; empty for `wirework` itself and modules without a floor."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOORS else ""


def floor_of(module: str) -> Floor:
    return FLOORS.get(package_of(module), ROOF)
