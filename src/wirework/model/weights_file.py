"""The weights of a checkpoint as the arrays of its model.safetensors, and back.

A dense array stands under its name, or as `NAME/half` where bfloat16 holds it exactly. A sparse
matrix is `NAME/values`, `NAME/gaps`, `NAME/shape`; a compact bigram table is `bigram/row` and what
`packing.pack_bigram` gives beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.model.packing import Parts, halve, pack, pack_bigram, unpack, unpack_bigram, widen

Weights = dict[str, NDArray[np.float32]]

_SPARSE = {"values", "gaps", "shape"}
_BIGRAM = {"row", "column", "step", "codes", "gaps", "shape"}


def pack_weights(weights: Mapping[str, NDArray[np.float32]], sparse: Collection[str]) -> Parts:
    """Every weight in the smallest form that gives it back bit for bit.

    `sparse`: names of the projected matrices.
    """
    arrays: Parts = {}
    for name, value in weights.items():
        if name in sparse and np.count_nonzero(value) < value.size / 2:
            arrays.update({f"{name}/{part}": array for part, array in pack(value).items()})
        else:
            half = halve(value)
            arrays[name if half is value else f"{name}/half"] = half
    return arrays


def pack_rounded(weights: Mapping[str, NDArray[np.float32]], sparse: Collection[str]) -> Parts:
    """Rounded to bfloat16, and the bigram table to 8 bits: `unpack_weights` gives other numbers."""
    rounded = {n: _round(value) for n, value in weights.items() if n != "bigram"}
    arrays = pack_weights(rounded, sparse)
    if "bigram" in weights:
        parts = pack_bigram(weights["bigram"])
        arrays.update({f"bigram/{part}": array for part, array in parts.items()})
    return arrays


def unpack_weights(arrays: Mapping[str, NDArray[Any]]) -> Weights:
    """Inverse of `pack_weights`. Raises `checkpoint-damaged`."""
    weights: Weights = {}
    packed: dict[str, Parts] = {}
    for key, array in arrays.items():
        name, slash, part = key.partition("/")
        if slash:
            packed.setdefault(name, {})[part] = array
        else:
            weights[name] = array
    for name, parts in packed.items():
        weights[name] = _unpack(name, parts)
    return weights


def _unpack(name: str, parts: Parts) -> NDArray[np.float32]:
    if set(parts) == _SPARSE:
        return unpack(parts, name)
    if set(parts) == _BIGRAM:
        return unpack_bigram(parts, name)
    whole = widen(parts["half"]) if set(parts) == {"half"} else None
    if whole is None:
        raise WireworkError("checkpoint-damaged", f"the parts of {name} are incomplete")
    return whole


def _round(value: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = torch.from_numpy(value).bfloat16().float().numpy()
    return rounded
