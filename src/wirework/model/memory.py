"""A tensor's memory as numba sees it, bfloat16 included."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def memory_of(x: Tensor) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """The memory of `x` (A, B, C) as bits (bfloat16, seen as uint16) or as floats, and which.

    The other array is empty; its dtype says in what precision to compute.
    """
    if x.dtype == torch.bfloat16:
        bits = x.detach().view(torch.int16).numpy().view(np.uint16)
        return bits, np.empty((0, 0, 0), dtype=np.float32), True
    return np.empty((0, 0, 0), dtype=np.uint16), x.detach().numpy(), False


def parameter_memory(x: Tensor) -> NDArray[Any]:
    """The memory of a parameter in float32 or float64, to be read.

    Not through `x.numpy()`: that fixes the size of the memory, which FSDP2 frees after use.
    """
    return np.from_dlpack(x.detach())


def sum_dtype(x: Tensor) -> torch.dtype:
    """The dtype in which entries of `x` are added up."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
