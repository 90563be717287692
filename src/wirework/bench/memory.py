"""How much memory the engine takes to generate, counted and seen, in a process of its own."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.bench.random_network import random_network
from wirework.engine import generate
from wirework.model import ModelConfig


@dataclass(frozen=True)
class Memory:
    """Bytes. `weights` of the network; `rest`: the largest sum of arrays that `generate` holds at
    once, caches and work buffers. `resident`: how much the process grew, at its largest, for both;
    None where the system does not tell. What imports and compiled code take is in neither."""

    weights: int
    rest: int
    resident: int | None

    @property
    def counted(self) -> int:
        return self.weights + self.rest


def memory_to_generate(
    config: ModelConfig, density: float, seed: int, prompt: NDArray[np.int64], tokens: int
) -> Memory:
    """Of the random network with this shape and seed: prompt (1, T) read, `tokens` decoded."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, config.plain(), density, seed, prompt, tokens).result()


def _measure(
    shape: dict[str, Any], density: float, seed: int, prompt: NDArray[np.int64], tokens: int
) -> Memory:
    config = ModelConfig.parse(shape)
    # Compiles every kernel that the measured run will use.
    generate(random_network(config, density, seed), [prompt[0]], tokens=2)
    _settle()
    before = process_status("VmRSS")
    network = random_network(config, density, seed)
    _settle()
    told = _forget_peak()
    generate(network, [prompt[0]], tokens=1 + tokens)
    after = process_status("VmHWM") if told else None
    tracemalloc.start()
    generate(network, [prompt[0]], tokens=1 + tokens)
    rest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    resident = None if before is None or after is None else after - before
    return Memory(bytes_in(network), rest, resident)


def bytes_in(value: object) -> int:
    """Bytes of all arrays in a network, or in a part of it."""
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, tuple):
        return sum(bytes_in(one) for one in value)
    if isinstance(value, Mapping):
        return bytes_in(tuple(value.values()))
    if is_dataclass(value):
        return sum(bytes_in(getattr(value, field.name)) for field in fields(value))
    return 0


def _settle() -> None:
    """Give back to the system what is free."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except OSError:
        return  # another C library, which does so by itself or not at all


def process_status(name: str) -> int | None:
    """Bytes that the system counts for this process under a name such as `VmHWM`, its largest size
    in memory; None where it does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0]) if found else None


def _forget_peak() -> bool:
    """Let the largest size of the process be counted from now on; False where that cannot be."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True
