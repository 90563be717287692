"""What `generate` takes in memory, told beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from math import prod
from typing import Any

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.engine.cache import cache_shapes
from wirework.engine.decode import CHUNK
from wirework.engine.network import Network
from wirework.engine.plan import plan_bytes
from wirework.engine.step import work_shapes
from wirework.engine.tiles import LANES, count_tiles


@dataclass(frozen=True)
class Memory:
    """Bytes. `network`: the weights as `forward` reads them; `plan`: laid out again by columns,
    for one token at a time; `cache`: keys and values; `work`: buffers."""

    network: int
    plan: int
    cache: int
    work: int

    @property
    def total(self) -> int:
        return self.network + self.plan + self.cache + self.work


def memory(
    network: Network, *, length: int, batch: int = 1, dtype: DTypeLike = np.float32
) -> Memory:
    """For `batch` streams of `length` tokens each, prompt and text together."""
    kind = np.dtype(dtype)
    arrays = {id(array): array.nbytes for array in _arrays(network)}
    cache = sum(prod(shape) for shape in cache_shapes(network, length))
    floats, indices = work_shapes(network, length)
    stream = sum(map(prod, floats)) * kind.itemsize + 4 * indices
    return Memory(
        network=sum(arrays.values()),
        plan=plan_bytes(network, kind),
        cache=batch * cache * kind.itemsize,
        work=batch * stream + _prefill(network, length, kind),
    )


def _arrays(part: Any) -> Iterator[NDArray[Any]]:
    """Every array in nested dataclasses, tuples and mappings."""
    if isinstance(part, np.ndarray):
        yield part
    elif is_dataclass(part):
        for field in fields(part):
            yield from _arrays(getattr(part, field.name))
    elif isinstance(part, Mapping):
        yield from _arrays(tuple(part.values()))
    elif isinstance(part, tuple):
        for item in part:
            yield from _arrays(item)


def _prefill(network: Network, length: int, kind: np.dtype[Any]) -> int:
    """At its peak one chunk of the prompt holds the residual, what is read, and then either heads,
    mixed values and the write, or neurons and the write; every thread has scores of its own."""
    d, flat = network.d_model, network.n_head * network.d_head
    read = max((layer.q.shape[1] for layer in network.layers), default=d)
    neurons = max((layer.mlp_in.shape[0] for layer in network.layers), default=0)
    channels = d + read + max(4 * flat + network.n_head, neurons) + d
    tiles = count_tiles(min(length, CHUNK)) * LANES * channels * kind.itemsize
    per_key = LANES * kind.itemsize + (network.d_head + 1) * (2 * kind.itemsize + 16)
    return tiles + numba.get_num_threads() * length * per_key
