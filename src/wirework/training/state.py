"""What an interrupted run needs to go on exactly: weights, Adam moments, the step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.sparsity import SparseAdamW
from wirework.training.config import TrainConfig


def save_state(path: Path, optimizer: SparseAdamW, step: int, config: TrainConfig) -> None:
    """Atomic: an interruption while writing leaves the state before."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, tensor in optimizer.model.state_dict().items():
        arrays[f"weight/{name}"] = tensor.cpu().numpy()
    for index, moments in optimizer.state()["state"].items():
        for name, tensor in moments.items():
            arrays[f"adam/{index}/{name}"] = tensor.cpu().numpy()
    save_arrays(path, arrays, {"step": step, "config": config.hash()})


def load_state(path: Path, optimizer: SparseAdamW, config: TrainConfig) -> int:
    """Put the saved state back; returns the number of steps already taken.

    Raises `file-missing`, `file-damaged`, and `resume-mismatch` for another configuration.
    """
    arrays, header = load_arrays(path)
    if header["config"] != config.hash():
        raise WireworkError(
            "resume-mismatch",
            f"{path.parent} was started with another configuration",
            expected=f"configuration {header['config'][:12]}",
            got=f"configuration {config.hash()[:12]}",
            hint="resume with the same preset and --set values, or choose another --out",
        )
    weights = {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith("weight/")}
    optimizer.model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        if key.startswith("adam/"):
            _, index, name = key.split("/")
            moments.setdefault(int(index), {})[name] = torch.from_numpy(array)
    state = optimizer.state()
    optimizer.load_state({**state, "state": moments})
    return int(header["step"])
