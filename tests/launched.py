"""What tests start as several processes: jobs, one after the other, told as JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import distributed as dist

from wirework.core import WireworkError
from wirework.core.progress import silent
from wirework.sparsity import projection_factor
from wirework.sparsity.sharded import Shard, sharded_factors
from wirework.training import TrainConfig, train
from wirework.training.execution import ExecutionConfig

Done = subprocess.CompletedProcess[str]


def launch(jobs: list[dict[str, Any]], processes: int = 2) -> Done:
    """Run the jobs in processes that torchrun starts."""
    return torchrun(str(Path(__file__)), json.dumps(jobs), processes=processes)


def torchrun(*program: str, processes: int = 2) -> Done:
    command = torchrun_command(*program, processes=processes)
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


def torchrun_command(*program: str, processes: int = 2) -> list[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, f"--nproc-per-node={processes}", *program]


class InterruptAt:
    """A progress bar that presses Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.label = ""

    def __call__(self, label: str, total: int, done: int = 0) -> InterruptAt:
        self.label = label
        return self

    def __enter__(self) -> InterruptAt:
        return self

    def __exit__(self, *ignored: object) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        if self.label == "train":
            self.left -= steps
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)


def run_job(job: dict[str, Any]) -> None:
    """A number of examples for `projection`, or a training run, perhaps stopped at a step."""
    if "projection" in job:
        dist.init_process_group("gloo")
        check_projection(job["projection"])
        dist.destroy_process_group()
        return
    stop_at = job.get("stop_at")
    try:
        train(
            TrainConfig.parse(job["config"]),
            Path(job["out"]),
            resume=job.get("resume", False),
            start=InterruptAt(stop_at) if stop_at else silent,
            execution=ExecutionConfig.parse(job.get("execution", {})),
        )
    except WireworkError as error:
        if error.code != "interrupted" or not stop_at:
            raise
    except SystemExit:
        if not stop_at:
            raise


def check_projection(examples: int) -> None:
    """Shards of matrices project as the whole does, however the rows are spread."""
    rank, size, group = dist.get_rank(), dist.get_world_size(), dist.group.WORLD
    assert group is not None

    # The same examples on every process, so that they exchange the same things.
    @settings(max_examples=examples, derandomize=True, database=None, deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
        shards, wanted = [], []
        for _ in range(data.draw(st.integers(1, 3))):
            rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
            entries = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e3, 1e3, width=32))
            drawn = data.draw(arrays(np.float64, (rows, columns), elements=entries))
            weight = torch.from_numpy(drawn).to(dtype)
            inner = data.draw(st.lists(st.integers(0, rows), min_size=size - 1, max_size=size - 1))
            cuts = [0, *sorted(inner), rows]
            mine = slice(cuts[rank], cuts[rank + 1])
            k, floor = data.draw(st.integers(1, weight.numel())), data.draw(st.integers(0, 3))
            axis = data.draw(st.sampled_from([None, 0, 1]))
            shards.append(Shard(weight[mine].clone(), k, floor, axis))
            wanted.append(projection_factor(weight, k, floor, axis)[mine])
        found = sharded_factors(shards, group)
        right = all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
        everywhere = torch.tensor(int(right))
        dist.all_reduce(everywhere, op=dist.ReduceOp.MIN)
        assert everywhere == 1, (shards, found, wanted)

    check()


if __name__ == "__main__":
    for wanted_job in json.loads(sys.argv[1]):
        run_job(wanted_job)
