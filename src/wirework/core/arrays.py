"""Named arrays and a JSON header in one checked safetensors file, read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from wirework.core.errors import WireworkError
from wirework.core.files import write_bytes


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], header: Any) -> None:
    """Write atomically; equal content gives equal bytes. `header` is any JSON value."""
    # Not `ascontiguousarray`, which turns a single number into a row of one.
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(header, sort_keys=True)
    # A single entry: safetensors does not fix the order of several.
    metadata = {"wirework": json.dumps({"header": text, "sha256": _digest(plain, text)})}
    write_bytes(path, save(plain, metadata))


def load_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], Any]:
    """Inverse of `save_arrays`. Raises `file-missing` or `file-damaged`."""
    if not path.is_file():
        raise WireworkError("file-missing", f"there is no file {path}", got=str(path))
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {})["wirework"])
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
        text, digest = metadata["header"], metadata["sha256"]
        if not isinstance(text, str) or _digest(arrays, text) != digest:
            raise ValueError("the checksum does not match")
        return arrays, json.loads(text)
    except (
        SafetensorError,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise WireworkError(
            "file-damaged",
            f"{path} is truncated, edited or not a wirework file",
            expected="the file as it was written",
            got=str(error)[:200],
        ) from None


def _digest(arrays: Mapping[str, NDArray[Any]], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        digest.update(f"{name}|{arrays[name].dtype}|{arrays[name].shape}|".encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
