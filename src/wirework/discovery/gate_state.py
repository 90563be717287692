"""What an interrupted gate training needs to go on exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.discovery.patience import Patience


def save_gates(
    path: Path,
    learned: nn.Module,
    optimizer: torch.optim.Optimizer,
    patience: Patience,
    step: int,
    identity: str,
) -> None:
    """Write everything, atomically."""
    arrays: dict[str, NDArray[Any]] = {
        f"learned/{name}": tensor.numpy() for name, tensor in learned.state_dict().items()
    }
    for name, parameter in learned.named_parameters():
        for key, tensor in optimizer.state[parameter].items():
            arrays[f"adam/{name}/{key}"] = tensor.numpy()
    header = {"step": step, "identity": identity, "patience": asdict(patience)}
    save_arrays(path, arrays, header)


def load_gates(
    path: Path | None,
    learned: nn.Module,
    optimizer: torch.optim.Optimizer,
    patience: Patience,
    identity: str,
) -> int:
    """Read it back into what it was; the number of steps done, 0 without a file.

    Raises `resume-mismatch` where the file belongs to another search.
    """
    if path is None or not path.exists():
        return 0
    arrays, header = load_arrays(path)
    if header["identity"] != identity:
        raise WireworkError(
            "resume-mismatch",
            f"{path} belongs to another search",
            expected="the same model, task, settings and seed",
            got=f"a state of search {header['identity'][:12]}",
            hint="leave --resume away to start anew",
        )
    learned.load_state_dict(_under("learned/", arrays))
    for name, parameter in learned.named_parameters():
        optimizer.state[parameter] = _under(f"adam/{name}/", arrays)
    for key, value in header["patience"].items():
        setattr(patience, key, value)
    return int(header["step"])


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): torch.from_numpy(array)
        for key, array in arrays.items()
        if key.startswith(prefix)
    }
