"""Keys and values of the positions that one stream of tokens has behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wirework.engine.network import Network
from wirework.engine.tiles import Floats


@dataclass(eq=False)
class Cache:
    """`keys` (layers, n_head * d_head, capacity) and `values` (layers, capacity, d_head, n_head),
    as their readers walk them; zero where nothing was written. `length`: positions written."""

    keys: Floats
    values: Floats
    length: int = 0

    @classmethod
    def allocate(cls, network: Network, length: int, dtype: np.dtype[Any]) -> Cache:
        """Room for `length` positions, taken once."""
        keys, values = cache_shapes(network, length)
        return cls(np.zeros(keys, dtype), np.zeros(values, dtype))


def cache_shapes(network: Network, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of keys and values for a number of positions."""
    layers, heads, width = len(network.layers), network.n_head, network.d_head
    return (layers, heads * width, length), (layers, length, width, heads)
