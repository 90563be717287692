"""Several processes train what one trains: DDP, FSDP2, resumes on another number, failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from launched import Done, InterruptAt, launch, torchrun, torchrun_command
from training_runs import config, content, text_folder, toml
from wirework.core import WireworkError
from wirework.core.arrays import load_arrays
from wirework.model import Checkpoint
from wirework.training import TrainConfig, train
from wirework.training.distributed import choose_device
from wirework.training.execution import ExecutionConfig, largest_divisor


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_folder(tmp_path_factory.mktemp("source") / "text")


def double(text: Path, **changes: Any) -> TrainConfig:
    """Odd widths, so that the rows do not fall equally on two processes."""
    base = config(text, dtype="float64", steps=20, checkpoint_every=20, validate_every=20)
    model = {
        **base.model.plain(),
        "n_layer": 2,
        "d_model": 18,
        "d_mlp": 35,
        "n_head": 3,
        "d_head": 5,
    }
    return base.replace(**{"model": model, **changes})


def job(wanted: TrainConfig, out: Path, **changes: Any) -> dict[str, Any]:
    return {"config": wanted.plain(), "out": str(out), **changes}


def state(run: Path) -> dict[str, NDArray[Any]]:
    return load_arrays(run / "state.safetensors")[0]


def gap(one: Path, other: Path) -> dict[str, float]:
    """How far the weights of two runs are apart, and the share that is zero in one of them only."""
    left, right = state(one), state(other)
    assert left.keys() == right.keys()
    names = [name for name in left if name.startswith("weight/")]
    far = np.concatenate([np.abs(left[n] - right[n]).ravel() for n in names])
    moved = np.concatenate([((left[n] == 0) != (right[n] == 0)).ravel() for n in names])
    return {
        "worst": float(far.max()),
        "median": float(np.median(far)),
        "moved": float(moved.mean()),
    }


def equal(one: Path, other: Path) -> bool:
    """Design §6: the same nonzero pattern, weights to 1e-9."""
    found = gap(one, other)
    return found["worst"] <= 1e-9 and found["moved"] == 0


def test_two_processes_train_what_one_trains_and_go_on_where_it_stopped(
    text: Path, tmp_path: Path
) -> None:
    wanted = double(text)
    whole = train(wanted, tmp_path / "one")
    with pytest.raises(WireworkError, match="interrupted"):
        train(wanted, tmp_path / "grows", start=InterruptAt(9))
    fsdp = {"parallel": "fsdp"}
    done = launch([
        {"projection": 25},
        job(wanted, tmp_path / "ddp"),
        job(wanted, tmp_path / "fsdp", execution={**fsdp, "micro_batch": 1}),
        job(wanted, tmp_path / "grows", execution=fsdp, resume=True),
        job(wanted, tmp_path / "shrinks", execution=fsdp, stop_at=9),
    ])  # fmt: skip
    assert done.returncode == 0, done.stderr
    train(wanted, tmp_path / "shrinks", resume=True)
    for name in ("ddp", "fsdp", "grows", "shrinks"):
        assert equal(tmp_path / "one", tmp_path / name), (
            name,
            gap(tmp_path / "one", tmp_path / name),
        )
    shared = Checkpoint.load(tmp_path / "fsdp/checkpoints/step-0000020")
    assert shared.losses == pytest.approx(whole.losses, abs=1e-6)
    assert shared.record["execution"]["parallel"] == "fsdp"
    assert shared.record["execution"]["processes"] == 2
    assert whole.record["execution"]["processes"] == 1


@pytest.mark.long
def test_every_option_of_the_model_works_on_two_processes(text: Path, tmp_path: Path) -> None:
    base = double(text)
    switches: list[dict[str, Any]] = [
        {"bigram": "learned", "position": "add", "sink": False},
        {"bigram": "none", "position": "concat", "position_table": "sinusoidal", "d_position": 4},
        {"tied": True, "norm": "layer", "residual": "relu", "n_head": 1},
    ]
    runs = [base.replace(steps=10, model={**base.model.plain(), **switch}) for switch in switches]
    runs.append(base.replace(steps=10, sparsity={**base.sparsity.plain(), "biases": "sparse"}))
    jobs = []
    for index, wanted in enumerate(runs):
        train(wanted, tmp_path / f"one{index}")
        spared = {"checkpoint_activations": True, "micro_batch": 1}
        jobs.append(job(wanted, tmp_path / f"ddp{index}", execution=spared))
        sharded = {"parallel": "fsdp", "checkpoint_activations": True}
        jobs.append(job(wanted, tmp_path / f"fsdp{index}", execution=sharded))
    done = launch(jobs)
    assert done.returncode == 0, done.stderr
    for index in range(len(runs)):
        for name in ("ddp", "fsdp"):
            assert equal(tmp_path / f"one{index}", tmp_path / f"{name}{index}"), (name, index)


@pytest.mark.long
def test_projection_over_three_processes_is_that_of_the_whole_matrix() -> None:
    done = launch([{"projection": 300}], processes=3)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_interrupted_on_two_processes_ends_with_the_bytes_of_an_uninterrupted_run(
    text: Path, tmp_path: Path
) -> None:
    jobs = []
    for parallel in ("ddp", "fsdp"):
        execution = {"parallel": parallel}
        whole, broken = tmp_path / f"{parallel}-whole", tmp_path / f"{parallel}-broken"
        jobs.append(job(config(text), whole, execution=execution))
        jobs.append(job(config(text), broken, execution=execution, stop_at=11))
        jobs.append(job(config(text), broken, execution=execution, resume=True))
    done = launch(jobs)
    assert done.returncode == 0, done.stderr
    for parallel in ("ddp", "fsdp"):
        assert content(tmp_path / f"{parallel}-whole") == content(tmp_path / f"{parallel}-broken")


@pytest.mark.long
def test_float32_differs_and_by_how_much_is_reported(text: Path, tmp_path: Path) -> None:
    """Another order of the same sums; design §6 asks for the gap (`pytest -s` shows it)."""
    wanted = double(text, dtype="float32")
    train(wanted, tmp_path / "one")
    done = launch([job(wanted, tmp_path / name, execution={"parallel": name})
                   for name in ("ddp", "fsdp")])  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("ddp", "fsdp"):
        found = gap(tmp_path / "one", tmp_path / name)
        sys.stdout.write(f"float32, 20 steps, {name} on 2 processes against 1: {found}\n")
        assert found["median"] < 1e-3


def one_error(done: Done, code: str) -> str:
    """The text of the single error that all processes together have told."""
    assert done.returncode == 1
    assert done.stderr.count("error[") == 1, done.stderr
    assert f"error[{code}]" in done.stderr, done.stderr
    assert "[rank" not in done.stderr, done.stderr  # no traceback of a worker
    return done.stderr[done.stderr.index("error[") :]


def wirework(*arguments: object) -> tuple[str, ...]:
    return ("-m", "wirework", *(str(argument) for argument in arguments))


@pytest.fixture
def small(text: Path, tmp_path: Path) -> Path:
    """A configuration file for the command line."""
    path = tmp_path / "small.toml"
    path.write_text(toml(double(text, steps=3000, checkpoint_every=5).plain()))
    return path


@pytest.mark.long
def test_what_cannot_work_is_told_once_by_all_processes(small: Path, tmp_path: Path) -> None:
    command = wirework("train", small, "--out", tmp_path / "run")
    error = one_error(torchrun(*command, "--set", "batch=5"), "batch-not-divisible")
    assert "--set batch=4" in error
    one_error(torchrun(*command, "--parallel", "none"), "processes-unused")
    one_error(torchrun(*command, "--micro-batch", "3"), "micro-batch-not-divisible")
    one_error(torchrun(*command, "--set", "batsh=5"), "config-unknown-key")
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_loss_that_is_not_a_number_stops_all_processes(small: Path, tmp_path: Path) -> None:
    wild = ["sparsity.lr=1e30", "sparsity.warmup=0.0", "dtype=float32"]
    settings = [word for setting in wild for word in ("--set", setting)]
    command = wirework("train", small, "--out", tmp_path / "run", "--parallel", "fsdp", *settings)
    done = torchrun(*command)
    assert "embedding.weight" in one_error(done, "loss-not-finite")
    assert (tmp_path / "run/not-finite.safetensors").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("parallel", "sent"),
    [("ddp", signal.SIGINT), ("fsdp", signal.SIGTERM), ("ddp", signal.SIGKILL)],
)
def test_a_launched_run_that_is_stopped_goes_on_with_one_process(
    parallel: str, sent: signal.Signals, small: Path, tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM reach the launcher, SIGKILL one of its workers."""
    run = tmp_path / "run"
    command = torchrun_command(*wirework("train", small, "--out", run, "--parallel", parallel))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as launcher:
        while not (run / "checkpoints/step-0000010").exists():
            assert launcher.poll() is None
            time.sleep(0.05)
        if sent == signal.SIGKILL:
            listing = subprocess.run(
                ["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True
            )
            os.kill(int(listing.stdout.split()[-1]), sent)
        else:
            launcher.send_signal(sent)
        _, errors = launcher.communicate(timeout=120)
    done = subprocess.CompletedProcess(command, launcher.returncode, "", errors)
    one_error(done, "process-lost" if sent == signal.SIGKILL else "interrupted")
    header = load_arrays(run / "state.safetensors")[1]
    wanted = TrainConfig.parse(header["config"])
    with pytest.raises(WireworkError, match=f"after step {header['step'] + 3} of 3000"):
        train(wanted, run, resume=True, start=InterruptAt(3))


def test_devices_are_chosen_or_refused_before_any_work() -> None:
    assert choose_device("auto", 4, gpus=0) == "cpu"
    assert choose_device("auto", 2, gpus=2) == "cuda"
    assert choose_device("cpu", 4, gpus=2) == "cpu"
    with pytest.raises(WireworkError, match=r"device-missing[\s\S]*--device cpu"):
        choose_device("cuda", 1, gpus=0)
    with pytest.raises(WireworkError, match=r"devices-too-few[\s\S]*at most 2"):
        choose_device("auto", 3, gpus=2)


def test_processes_are_asked_for_where_there_are_none(text: Path, tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=r"processes-missing[\s\S]*torchrun"):
        train(config(text), tmp_path / "run", execution=ExecutionConfig(parallel="fsdp"))
    with pytest.raises(WireworkError, match=r"micro-batch-not-divisible[\s\S]*--micro-batch 2"):
        train(config(text), tmp_path / "run", execution=ExecutionConfig(micro_batch=3))
    assert not (tmp_path / "run").exists()


def test_largest_divisor() -> None:
    assert [largest_divisor(12, limit) for limit in (1, 2, 5, 7, 12, 99)] == [1, 2, 4, 6, 12, 12]
