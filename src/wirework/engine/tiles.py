"""How activations lie in memory: tiles of LANES positions, channel by channel.

Rows (N, d), one position after the other, become tiles (ceil(N / LANES), d, LANES): what every
channel does at LANES positions lies side by side, so that one instruction serves many positions.
Lanes behind the last position are zero.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""float32 or float64."""

LANES = 64
"""Positions of a tile."""

MANY = 1 << 18
"""Numbers from which on waking other threads pays."""

_STRIP = 16  # channels that are turned at a time, few enough for the first cache


def count_tiles(positions: int) -> int:
    return -(-positions // LANES)


def to_tiles(rows: Floats) -> Floats:
    """Rows (N, d) -> tiles."""
    tiles: Floats = np.zeros((count_tiles(len(rows)), rows.shape[1], LANES), dtype=rows.dtype)
    _to_tiles(np.ascontiguousarray(rows), tiles)
    return tiles


def to_rows(tiles: Floats, positions: int) -> Floats:
    """Tiles of N `positions` -> rows (N, d)."""
    rows: Floats = np.empty((positions, tiles.shape[1]), dtype=tiles.dtype)
    _to_rows(tiles, rows)
    return rows


@numba.njit(cache=True)
def _to_tiles(rows: Any, tiles: Any) -> None:
    count, width = rows.shape
    for n in range(0, count, LANES):
        for strip in range(0, width, _STRIP):
            for lane in range(min(LANES, count - n)):
                for i in range(strip, min(strip + _STRIP, width)):
                    tiles[n // LANES, i, lane] = rows[n + lane, i]


@numba.njit(cache=True)
def _to_rows(tiles: Any, rows: Any) -> None:
    count, width = rows.shape
    for n in range(0, count, LANES):
        for strip in range(0, width, _STRIP):
            for lane in range(min(LANES, count - n)):
                for i in range(strip, min(strip + _STRIP, width)):
                    rows[n + lane, i] = tiles[n // LANES, i, lane]
