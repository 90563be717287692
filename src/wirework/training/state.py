"""What an interrupted run needs to go on exactly: weights, Adam moments, the step.

The file is the same however the run was executed, so that it can go on with another number of
processes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.sparsity import SparseAdamW
from wirework.training.config import TrainConfig
from wirework.training.distributed import World, fill, whole_tensor


@dataclass(frozen=True)
class State:
    """A saved run after `step` steps: whole tensors, named as `_tensors` names them."""

    path: Path
    arrays: dict[str, NDArray[Any]]
    step: int


def save_state(
    path: Path, optimizer: SparseAdamW, step: int, config: TrainConfig, world: World
) -> None:
    """Written by the first process; all call it. Interrupted, it leaves the state before."""
    arrays: dict[str, NDArray[Any]] = {}
    if world.first or world.parallel == "fsdp":
        for name, tensor in _tensors(optimizer).items():
            whole = whole_tensor(tensor)
            if world.first:
                arrays[name] = whole.cpu().numpy()
    with world.alone() as first:
        if first:
            save_arrays(path, arrays, {"step": step, "config": config.plain()})


def read_state(path: Path, config: TrainConfig) -> State:
    """Raises `file-missing`, `file-damaged`, and `resume-mismatch` for another configuration."""
    arrays, header = load_arrays(path)
    if not isinstance(header["config"], dict):
        raise WireworkError(
            "resume-mismatch",
            f"{path} was written by an earlier version of wirework",
            expected="a state of this version",
            got="a state without its configuration",
            hint="another --out",
        )
    before = _flat(TrainConfig.parse(header["config"], str(path)).plain())
    now = _flat(config.plain())
    other = [key for key in now if before[key] != now[key]]
    if other:
        raise WireworkError(
            "resume-mismatch",
            f"{path.parent} was started with another configuration",
            expected=", ".join(f"{key} = {before[key]}" for key in other),
            got=", ".join(f"{key} = {now[key]}" for key in other),
            hint="the same command with "
            + " ".join(f"--set '{key}={before[key]}'" for key in other)
            + ", or another --out",
        )
    return State(path, arrays, int(header["step"]))


def restore(state: State, optimizer: SparseAdamW) -> int:
    """Put a saved state into the optimizer and its model; returns the number of steps taken.

    Raises `state-mismatch` where the tensors are not those of the model.
    """
    moments: dict[int, dict[str, Tensor]] = {}
    for name, array in state.arrays.items():
        kind, _, rest = name.partition("/")
        index, _, moment = rest.partition("/")
        if kind == "adam" and int(index) < len(optimizer.parameters):
            like = optimizer.parameters[int(index)] if array.ndim else torch.zeros(())
            moments.setdefault(int(index), {})[moment] = torch.zeros_like(like)
    optimizer.load_state({**optimizer.state(), "state": moments})
    tensors = _tensors(optimizer)
    expected = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    found = {name: array.shape for name, array in state.arrays.items()}
    if expected != found:
        wrong = sorted({name for name, _ in expected.items() ^ found.items()})
        raise WireworkError(
            "state-mismatch",
            f"{state.path} holds other tensors than this model",
            expected=", ".join(f"{n} {list(expected.get(n, ()))}" for n in wrong[:4]),
            got=", ".join(f"{n} {list(found[n]) if n in found else 'missing'}" for n in wrong[:4]),
            hint="another --out",
        )
    for name, tensor in tensors.items():
        fill(tensor, torch.from_numpy(state.arrays[name]))
    return state.step


def _tensors(optimizer: SparseAdamW) -> dict[str, Tensor]:
    """Everything that changes: `weight/NAME`, and `adam/INDEX/NAME` of every trained parameter."""
    tensors = {f"weight/{name}": tensor for name, tensor in optimizer.model.stored().items()}
    for index, moments in optimizer.state()["state"].items():
        tensors |= {f"adam/{index}/{name}": tensor for name, tensor in moments.items()}
    return tensors


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat
