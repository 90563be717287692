"""How a run is executed, on which device and how many processes: nothing of it decides weights."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from wirework.core import Config, WireworkError
from wirework.model import Transformer
from wirework.model.precision import autocast, resolve_dtype
from wirework.training.config import TrainConfig
from wirework.training.distributed import (
    WantedDevice,
    WantedParallel,
    World,
    fill,
    whole_tensor,
)
from wirework.training.loss import next_token_loss

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


Batch = NDArray[np.int64]


class ExecutionConfig(Config):
    """How the steps of a run are computed.

    `parallel`: `ddp` gives every process the whole model, `fsdp` a share of its rows (FSDP2);
    `auto` is `ddp` where a launcher started several processes. `micro_batch`: windows per forward
    pass of one process, all of its share at once where None; gradients add up over the passes.
    `checkpoint_activations`: compute each layer's activations twice instead of keeping them.
    `compile`: through `torch.compile`.
    """

    parallel: WantedParallel = "auto"
    micro_batch: int | None = Field(None, ge=1)
    checkpoint_activations: bool = False
    device: WantedDevice = "auto"
    compile: bool = False


def check_shares(config: TrainConfig, execution: ExecutionConfig, world: World) -> None:
    """Raise `batch-not-divisible` or `micro-batch-not-divisible`."""
    if config.batch % world.size:
        near = world.size * max(1, round(config.batch / world.size))
        raise WireworkError(
            "batch-not-divisible",
            f"{world.size} processes cannot share a batch of {config.batch} windows equally",
            expected=f"a batch that is a multiple of {world.size}",
            got=f"batch = {config.batch}",
            hint=f"--set batch={near}",
        )
    rows = config.batch // world.size
    size = execution.micro_batch
    if size is not None and rows % size:
        near = largest_divisor(rows, size)
        raise WireworkError(
            "micro-batch-not-divisible",
            f"{rows} windows of a process cannot be cut into passes of {size}",
            expected=f"a divisor of {rows}",
            got=f"micro_batch = {size}",
            hint=f"--micro-batch {near}",
        )


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` >= 1 that is at most `limit` >= 1."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


class Executor:
    """The model as this process runs it: on its device, perhaps compiled, shared or sharded.

    Makes `model` its own. A batch of a step is cut by rows: first over the processes, then into
    micro-batches; the gradients are its mean, however it was cut.
    """

    def __init__(
        self, model: Transformer, config: TrainConfig, execution: ExecutionConfig, world: World
    ) -> None:
        check_shares(config, execution, world)
        self.model = model
        self.world = world
        self.rows = config.batch // world.size
        self.micro_batch = execution.micro_batch or self.rows
        self.dtype = resolve_dtype(config.dtype, world.device.type)
        placed = {"parallel": world.parallel, "processes": world.size, "device": world.device.type}
        self.record = {**execution.plain(), **placed}
        model.recompute = execution.checkpoint_activations
        if self.dtype == torch.float64:
            model.double()
        if execution.compile:
            for layer in model.layers:
                layer.compile()
        self._forward: nn.Module = model
        self._fsdp = _shard(model, world) if world.parallel == "fsdp" else None
        model.to(world.device)
        if world.parallel == "ddp":
            ids = None if world.device.index is None else [world.device.index]
            self._forward = DistributedDataParallel(
                model, device_ids=ids, forward_sync_buffers=False, gradient_as_bucket_view=True
            )

    def share(self, batch: Batch) -> Tensor:
        """The rows of a whole batch (B, T+1) that are this process's, on its device."""
        first = self.world.rank * self.rows
        return torch.from_numpy(batch[first : first + self.rows]).to(self.world.device)

    def backward(self, windows: Tensor, *, alone: bool = False) -> float:
        """Gradients of the mean loss over the rows of all processes; returns that loss.

        `windows` (rows, T+1): this process's. Adds to the gradients that are there. `alone`: of
        these rows only, without the other processes.
        """
        parts = torch.split(windows, self.micro_batch)
        losses = []
        for index, part in enumerate(parts):
            # Gradients travel between the processes in the last pass of a step.
            with self._exchange(index == len(parts) - 1 and not alone):
                with autocast(self.dtype, self.world.device.type):
                    loss = next_token_loss(self._forward, part)
                if len(parts) > 1:
                    loss = loss / len(parts)
                loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        total = float(torch.stack(losses).sum())
        return total if alone else self.world.mean(total)

    def _exchange(self, wanted: bool) -> AbstractContextManager[None]:
        if self._fsdp is not None:
            self._fsdp.set_requires_gradient_sync(wanted)
        elif isinstance(self._forward, DistributedDataParallel) and not wanted:
            quiet: AbstractContextManager[None] = self._forward.no_sync()
            return quiet
        return contextlib.nullcontext()

    def whole(self) -> Transformer | None:
        """The whole model on the first process, None on the others; all call it together."""
        if self.world.parallel != "fsdp":
            return self.model if self.world.first else None
        found = None
        if self.world.first:
            like = next(iter(self.model.parameters()))
            found = Transformer(self.model.config).to(like.device, like.dtype)
        targets = {} if found is None else found.stored()
        for name, tensor in self.model.stored().items():
            values = whole_tensor(tensor)
            if found is not None:
                fill(targets[name], values)
        return found


def _shard(model: Transformer, world: World) -> FSDPModule:
    """FSDP2: every parameter becomes a `DTensor` cut by rows, gathered a layer at a time."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(world.device.type, (world.size,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)
