"""Several processes that train one model: who is who, what they agree on, one voice for errors."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Literal

import torch
from torch import Tensor
from torch import distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from wirework.core import WireworkError
from wirework.core.interrupt import Interruptible
from wirework.sparsity.sharded import as_sharded, local_part

Parallel = Literal["none", "ddp", "fsdp"]
WantedParallel = Literal["auto", "none", "ddp", "fsdp"]
WantedDevice = Literal["auto", "cpu", "cuda"]

_PATIENCE_DAYS = 1
"""The others wait while the first prepares a corpus. The launcher ends them all where one dies."""

_TELLING = 1.0
"""Seconds that a silent process leaves to the one that tells what went wrong, before it ends."""


@dataclass(frozen=True)
class World:
    """The processes of one run. `rank`: which one this is; the first, 0, writes all files."""

    rank: int
    size: int
    device: torch.device
    parallel: Parallel

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, value: float) -> float:
        """Mean of a number over all processes, the same on each of them."""
        if self.parallel == "none":
            return value
        total = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(total)
        return float(total) / self.size

    def any(self, flag: bool) -> bool:
        """Whether the flag is raised on any process."""
        return self.mean(float(flag)) > 0

    def from_first(self, text: str) -> str:
        """The text that the first process has."""
        if self.parallel == "none":
            return text
        data = text.encode()
        length = torch.tensor(len(data))
        dist.broadcast(length, 0)
        letters = torch.zeros(int(length), dtype=torch.uint8)
        if self.first:
            letters = torch.tensor(list(data), dtype=torch.uint8)
        dist.broadcast(letters, 0)
        return bytes(letters.tolist()).decode()

    @contextlib.contextmanager
    def alone(self, waiting: bool = True) -> Iterator[bool]:
        """True on the first process, whose block it is; the others wait until it is done.

        Where it raises, all processes end. Without `waiting` nobody does anything.
        """
        if self.parallel == "none" or not waiting:
            yield self.first
            return
        done = torch.zeros(1)
        try:
            yield self.first
            done += 1
        finally:
            dist.broadcast(done, 0)
        if not done:
            raise _ToldElsewhereError

    def interruptible(self) -> Interruptible:
        return Interruptible() if self.parallel == "none" else _Patient()


class _Patient(Interruptible):
    """Never stops at once: a launcher passes on the Ctrl-C that the terminal sent already."""

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


class _ToldElsewhereError(Exception):
    """Another process fails and says why."""


def launched() -> bool:
    """Whether a launcher such as `torchrun` started this process as one of a run."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Whether this process speaks for the run."""
    return not launched() or os.environ["RANK"] == "0"


@contextlib.contextmanager
def joined(parallel: WantedParallel, device: WantedDevice) -> Iterator[World]:
    """Join the processes of this run for the time of the block.

    `auto` is DDP where a launcher started several processes. Raises `processes-missing`,
    `processes-unused`, `processes-unreachable`, `device-missing`, `devices-too-few`,
    `process-lost`. One process alone tells what went wrong (`one_voice`).
    """
    with one_voice():
        world = _world(parallel, device)
        if world.device.type == "cuda":
            torch.cuda.set_device(world.device)
        if world.parallel == "none":
            yield world
            return
        store = _store()
        joins = store.add(f"joins/{world.rank}", 1)  # every block is a group of its own
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if world.device.type == "cuda" else "gloo",
            store=PrefixStore(f"group/{joins}", store),
            rank=world.rank,
            world_size=world.size,
            timeout=timedelta(days=_PATIENCE_DAYS),
        )
        leave = True
        try:
            yield world
        except BaseException as error:
            # Now, not when the group is gone: the others take that for the failure itself.
            _is_mine_to_tell(error, store)
            leave = world.device.type == "cpu"  # NCCL would wait for what never comes
            if isinstance(error, RuntimeError) and _is_of_the_network(error):
                raise _lost(error) from error
            raise
        finally:
            if leave:
                dist.destroy_process_group()


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """One process of a run tells what went wrong; the others end with exit code 1 (SystemExit).

    May be nested. Does nothing where no launcher started this process.
    """
    if not launched():
        yield
        return
    store = _store()
    try:
        yield
    except SystemExit:
        raise
    except BaseException as error:
        if _is_mine_to_tell(error, store):
            raise
        with contextlib.suppress(RuntimeError):  # of a store that is gone with its process
            store.wait(["teller"], timedelta(days=_PATIENCE_DAYS))
        time.sleep(_TELLING)
        raise SystemExit(1) from None


def _is_mine_to_tell(error: BaseException, store: Store) -> bool:
    """The process that asks first tells what went wrong, whatever happens to the others then."""
    if isinstance(error, _ToldElsewhereError):
        return False
    me = os.environ["RANK"]
    try:
        teller: bytes = store.compare_set("teller", "", me)
    except RuntimeError:
        return True  # the store is gone with its process: better told twice than never
    return teller.decode() == me


def _store() -> Store:
    """Where the processes find each other, and leave each other word."""
    try:
        store, _, _ = next(rendezvous("env://"))
    except (ValueError, RuntimeError) as error:
        raise WireworkError(
            "processes-unreachable",
            "this process cannot reach the others of its run",
            expected="RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT as torchrun sets them",
            got=str(error).splitlines()[0],
            hint="torchrun --nproc-per-node 2 -m wirework train ...",
        ) from error
    return PrefixStore("wirework", store)


def _world(wanted: WantedParallel, device: WantedDevice) -> World:
    size = int(os.environ["WORLD_SIZE"]) if launched() else 1
    parallel: Parallel = "ddp" if size > 1 else "none"
    if wanted != "auto":
        parallel = wanted
    if parallel != "none" and not launched():
        raise WireworkError(
            "processes-missing",
            f"parallel {parallel} needs processes that a launcher has started",
            expected="several processes, or --parallel none",
            got="one process",
            hint=f"torchrun --nproc-per-node 2 -m wirework train ... --parallel {parallel}",
        )
    if parallel == "none" and size > 1:
        raise WireworkError(
            "processes-unused",
            f"{size} processes were started to do the work of one",
            expected="--parallel ddp or --parallel fsdp, or one process",
            got="--parallel none",
            hint="--parallel ddp",
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    place = choose_device(device, here, torch.cuda.device_count())
    if place == "cuda":
        place = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    rank = int(os.environ["RANK"]) if launched() else 0
    return World(rank, size, torch.device(place), parallel)


def choose_device(wanted: WantedDevice, processes: int, gpus: int) -> str:
    """`cpu` or `cuda` for the processes of one machine that has so many GPUs.

    Raises `device-missing`, `devices-too-few`.
    """
    if wanted == "cpu" or (wanted == "auto" and gpus == 0):
        return "cpu"
    if gpus == 0:
        raise WireworkError(
            "device-missing",
            "there is no GPU that this PyTorch can use",
            expected="a CUDA device and a CUDA build of PyTorch",
            got=f"torch {torch.__version__}",
            hint="--device cpu",
        )
    if processes > gpus:
        raise WireworkError(
            "devices-too-few",
            f"{processes} processes were started on a machine with fewer GPUs",
            expected=f"at most {gpus}, one for each GPU",
            got=str(processes),
            hint=f"torchrun --nproc-per-node {gpus} ..., or --device cpu",
        )
    return "cuda"


def _is_of_the_network(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error)


def _lost(error: RuntimeError) -> WireworkError:
    what = str(error).partition("] ")[2].partition(". ")[0]  # of gloo: where, what, advice
    return WireworkError(
        "process-lost",
        "another process of this run has ended, and this one cannot go on without it",
        expected="all processes until the end; the last saved state is unchanged",
        got=what or str(error)[:160],
        hint="the same command with --resume",
    )


@torch.no_grad()
def whole_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor on every process: a collective where it is sharded, else the tensor."""
    sharded = as_sharded(tensor)
    return tensor.detach() if sharded is None else sharded.full_tensor()


@torch.no_grad()
def fill(tensor: Tensor, values: Tensor) -> None:
    """Write `values`, the whole, into a tensor that may be sharded."""
    sharded = as_sharded(tensor)
    if sharded is not None:
        from torch.distributed.tensor import distribute_tensor

        mesh, cuts = sharded.device_mesh, sharded.placements
        values = distribute_tensor(values.to(tensor.device), mesh, cuts, src_data_rank=None)
    local_part(tensor).copy_(local_part(values))
