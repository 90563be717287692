"""How many threads torch and the compiled kernels use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numba
import torch


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """torch and the compiled kernels use `count` threads inside, the kernels at most as many as
    before."""
    before, kernels = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, kernels))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(kernels)
