"""What an interrupted gate training needs to go on exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    marks: Mapping[str, Sequence[Tensor]],
    optimizer: torch.optim.Optimizer,
    patience: Patience,
    step: int,
    identity: str,
) -> None:
    """Write everything, atomically; `marks` is what is kept of every row of gates beside it."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, parameter in learned.named_parameters():
        arrays[f"learned/{name}"] = parameter.detach().numpy()
        for key, tensor in optimizer.state[parameter].items():
            arrays[f"adam/{name}/{key}"] = tensor.numpy()
    for mark, rows in marks.items():
        for index, row in enumerate(rows):
            arrays[f"{mark}/{index}"] = row.numpy()
    header = {"step": step, "identity": identity, "patience": asdict(patience)}
    save_arrays(path, arrays, header)


def load_gates(
    path: Path | None,
    learned: nn.Module,
    marks: Mapping[str, Sequence[Tensor]],
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
    with torch.no_grad():
        for name, parameter in learned.named_parameters():
            parameter.copy_(torch.from_numpy(arrays[f"learned/{name}"]))
            prefix = f"adam/{name}/"
            optimizer.state[parameter] = {
                key.removeprefix(prefix): torch.from_numpy(array)
                for key, array in arrays.items()
                if key.startswith(prefix)
            }
        for mark, rows in marks.items():
            for index, row in enumerate(rows):
                row.copy_(torch.from_numpy(arrays[f"{mark}/{index}"]))
    for key, value in header["patience"].items():
        setattr(patience, key, value)
    return int(header["step"])
