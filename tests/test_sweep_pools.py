"""Where sweeps run: processes and a local Ray give what one process gives; kills and Ctrl-C."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from planted_sweeps import quick, save_model, save_task
from wirework.core import WireworkError
from wirework.core.files import sha256_file
from wirework.core.progress import Progress
from wirework.discovery.sweep import sweep
from wirework.discovery.sweep_config import SweepExecution
from wirework.planted import close_quote

RAY = ["ray"] if find_spec("ray") else []
SETTINGS = ["--set", "batch=8", "--set", "clean_up=false", "--set", "dtype=float32"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    space = tmp_path_factory.mktemp("planted")
    planted = close_quote()
    return {
        "model": save_model(planted, space / "model"),
        "quote": save_task(planted.task, space / "quote.jsonl", name="quote"),
        "flipped": save_task(planted.task, space / "flipped.jsonl", name="flipped", flipped=True),
    }


def content(folder: Path) -> dict[str, str]:
    """Hashes of plan, results, circuits and report."""
    names = [path for path in folder.rglob("*") if path.is_file() and path.name != "seconds.json"]
    return {str(path.relative_to(folder)): sha256_file(path) for path in names}


def command(files: dict[str, str], out: Path, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "wirework", "sweep", files["model"], files["quote"], "--out",
        str(out), "--coefficient", "3e-2", "--seeds", "2", *SETTINGS, *options,
    ]  # fmt: skip


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.long
def test_processes_give_what_one_process_gives(files: dict[str, str], tmp_path: Path) -> None:
    config = quick(files["quote"], files["flipped"], seeds=[0, 1])
    sweep(files["model"], config, tmp_path / "one", execution=SweepExecution(jobs=1))
    sweep(files["model"], config, tmp_path / "two", execution=SweepExecution(jobs=2))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert mp.active_children() == []


class KillAWorker:
    """A progress bar that kills a worker once the first run has ended."""

    def __call__(self, label: str, total: int, done: int = 0) -> Progress:
        return self

    def __enter__(self) -> KillAWorker:
        return self

    def __exit__(self, *ignored: object) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        if steps:
            for worker in mp.active_children():
                worker.kill()


@pytest.mark.long
def test_a_killed_worker_is_an_error_with_a_way_out(files: dict[str, str], tmp_path: Path) -> None:
    config = quick(files["quote"], seeds=[0, 1, 2, 3])
    two = SweepExecution(jobs=2)
    with pytest.raises(WireworkError, match=r"worker-lost[\s\S]*--resume --jobs 1"):
        sweep(files["model"], config, tmp_path / "a", execution=two, start=KillAWorker())
    sweep(files["model"], config, tmp_path / "a", resume=True, execution=two)
    sweep(files["model"], config, tmp_path / "b", execution=SweepExecution(jobs=1))
    assert content(tmp_path / "a") == content(tmp_path / "b")


def begin(words: list[str], out: Path) -> subprocess.Popen[str]:
    """Start a sweep in a process group of its own and wait until gates are being trained."""
    child = subprocess.Popen(
        words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    while child.poll() is None and not list((out / "states").glob("*")):
        time.sleep(0.02)
    assert child.poll() is None, child.communicate()
    return child


@pytest.mark.long
def test_ctrl_c_stores_what_is_under_way_and_resume_ends_alike(
    files: dict[str, str], tmp_path: Path
) -> None:
    steps = ["--jobs", "2", "--set", "steps=400"]
    words = command(files, tmp_path / "a", *steps)
    child = begin(words, tmp_path / "a")
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "error[interrupted]" in err
    assert "Traceback" not in err
    assert list((tmp_path / "a/states").glob("*"))
    assert run([*words, "--resume"]).returncode == 0
    assert run(command(files, tmp_path / "b", *steps)).returncode == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.long
def test_no_worker_outlives_a_killed_sweep(files: dict[str, str], tmp_path: Path) -> None:
    child = begin(command(files, tmp_path / "a", "--jobs", "2", "--set", "steps=4000"),
                  tmp_path / "a")  # fmt: skip
    family = processes()
    workers = {pid for pid, parent in family.items() if parent == child.pid}
    assert len(workers) >= 2
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 60
    while workers & set(processes()):
        assert time.monotonic() < deadline, "workers are left behind"
        time.sleep(0.1)


def processes() -> dict[int, int]:
    """Every process with its parent."""
    text = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True).stdout
    return {int(pid): int(parent) for pid, parent in map(str.split, text.splitlines())}


def test_without_ray_the_error_says_how_to_get_it(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WireworkError, match=r"cluster-missing[\s\S]*pip install .*cluster"):
        sweep(files["model"], quick(files["quote"]), tmp_path / "out",
              execution=SweepExecution(cluster="ray"))  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.parametrize("cluster", RAY)
def test_a_local_ray_gives_what_one_process_gives(
    cluster: str, files: dict[str, str], tmp_path: Path
) -> None:
    words = ["--set", "steps=40"]
    done = run(command(files, tmp_path / "ray", *words, "--cluster", cluster, "--json"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["measures"]["edges:quote"]["n"] == 2
    assert run(command(files, tmp_path / "one", *words, "--jobs", "1")).returncode == 0
    assert content(tmp_path / "ray") == content(tmp_path / "one")
