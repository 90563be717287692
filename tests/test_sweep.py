"""Sweeps of planted models: results, resumes, interruptions, failures, halving, the command."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from planted_sweeps import QUICK, quick, save_model, save_task
from wirework.cli.app import app
from wirework.core import Report, WireworkError
from wirework.core.files import sha256_file
from wirework.core.progress import Progress
from wirework.discovery import discover
from wirework.discovery.sweep import sweep
from wirework.discovery.sweep_config import SweepConfig, SweepExecution
from wirework.discovery.sweep_result import Sweep
from wirework.discovery.sweep_tasks import standing
from wirework.planted import close_quote
from wirework.tasks import load_task
from wirework.training import load_checkpoint

HERE = SweepExecution(jobs=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A model; its task; a second task with equal prompts; one that no model has learned."""
    space = tmp_path_factory.mktemp("planted")
    planted = close_quote()
    task = planted.task
    return {
        "model": save_model(planted, space / "model"),
        "quote": save_task(task, space / "quote.jsonl", name="quote"),
        "local": save_task(task, space / "local.jsonl", name="nearby", local=True),
        "flipped": save_task(task, space / "flipped.jsonl", name="flipped", flipped=True),
    }


@pytest.fixture(scope="module")
def done(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    config = quick(files["quote"], files["flipped"], files["local"], seeds=[0, 1])
    return sweep(files["model"], config, tmp_path_factory.mktemp("sweep") / "out", execution=HERE)


def content(folder: Path) -> dict[str, str]:
    """Hashes of everything that equal sweeps have in common: all but times."""
    names = [path for path in folder.rglob("*") if path.is_file() and path.name != "seconds.json"]
    return {str(path.relative_to(folder)): sha256_file(path) for path in names}


def test_every_run_has_a_line_and_every_circuit_a_file(done: Sweep) -> None:
    lines = [json.loads(line) for line in (done.folder / "results.jsonl").read_text().splitlines()]
    plan = json.loads((done.folder / "plan.json").read_text())
    assert [line["id"] for line in lines] == [run["id"] for run in plan["runs"]]
    assert len(lines) == 3 * 2
    circuits = {path.stem for path in (done.folder / "circuits").iterdir()}
    assert circuits == {line["id"] for line in lines if line["sizes"]}
    assert list(done.folder.glob("states/*")) == []
    seconds = json.loads((done.folder / "seconds.json").read_text())
    assert set(seconds) == {line["id"] for line in lines}


def test_a_run_is_what_discover_gives(done: Sweep, files: dict[str, str], tmp_path: Path) -> None:
    found = done.runs("quote")[-1]
    assert (found.seed, found.coefficient, found.threads) == (1, 3e-2, 1)
    alone = discover(
        load_checkpoint(files["model"]), load_task(files["quote"]),
        config=QUICK.replace(coefficient=3e-2), seed=1,
    )  # fmt: skip
    again = done.circuit(found)
    assert again.nodes == alone.nodes
    assert dict(again.losses) == dict(alone.losses) == found.losses
    assert found.edges == alone.n_edges


def test_an_unlearned_task_is_a_result_and_stops_no_other(done: Sweep) -> None:
    assert {result.status for result in done.runs("flipped")} == {"unlearned"}
    assert "task-unlearned" in {r.error["code"] for r in done.runs("flipped")}
    assert {result.status for result in done.runs("quote")} == {"found"}
    assert list(done.unsolved()) == ["flipped"]
    assert "loss" in done.unsolved()["flipped"]


def test_the_report_has_medians_over_seeds_and_a_mean_without_local_tasks(done: Sweep) -> None:
    report = Report.load(done.folder / "report.json")
    assert report.kind == "sweep"
    for what in ("edges", "nodes", "task_loss"):
        measure = report[f"{what}:quote"]
        assert measure.n == 2
        assert measure.low is not None and measure.high is not None
        assert measure.low <= measure.value <= measure.high
        assert f"{what}:flipped" not in report.measures
    best = [min(r.edges for r in done.runs("quote") if r.seed == seed) for seed in (0, 1)]
    assert report["edges:quote"].value == np.median(best)
    assert report["edges_geomean"].n == 1
    assert report["edges_geomean"].value == pytest.approx(np.median(best) + 1)
    assert report.provenance["local"] == ["nearby"]
    assert "flipped" in report.provenance["unsolved"]


def test_a_circuit_that_misses_the_target_stands_in_no_mean(
    files: dict[str, str], tmp_path: Path
) -> None:
    config = quick(files["flipped"], files["quote"], seeds=[0]).replace(unlearned_ok=True)
    found = sweep(files["model"], config, tmp_path / "out", execution=HERE)
    assert {result.status for result in found.runs("flipped")} == {"missed"}
    report = found.report()
    assert report["edges:flipped"].n == report["edges_geomean"].n == 1
    assert report["edges_geomean"].value == pytest.approx(report["edges:quote"].value + 1)


def test_equal_circuits_overlap_wholly(done: Sweep) -> None:
    names, shares = done.overlap()
    assert names == ["quote", "nearby"]
    np.testing.assert_array_equal(shares, np.ones((2, 2)))


def test_pictures_lie_beside_the_report(done: Sweep) -> None:
    for name in ("size_loss.svg", "edges.svg", "overlap.svg"):
        assert "quote" in (done.folder / name).read_text()


def test_the_curve_falls_and_reaches_the_target(done: Sweep) -> None:
    curve = done.curve("quote")
    losses = [loss for _, _, loss in curve]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] <= QUICK.target_loss


class PressCtrlC:
    """A progress bar that presses Ctrl-C when so many runs have ended."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.totals: list[int] = []

    def __call__(self, label: str, total: int, done: int = 0) -> Progress:
        self.totals.append(total)
        return self

    def __enter__(self) -> PressCtrlC:
        return self

    def __exit__(self, *ignored: object) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        self.left -= steps
        if steps and self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_resumed_sweep_ends_with_the_same_bytes(
    done: Sweep, files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(WireworkError, match=r"interrupted[\s\S]*--resume") as caught:
        sweep(files["model"], done.plan.config, out, execution=HERE, start=PressCtrlC(3))
    assert "3 of 6 runs" in caught.value.message
    assert len((out / "results.jsonl").read_text().splitlines()) == 3
    stamps = {path: path.stat().st_mtime_ns for path in (out / "circuits").iterdir()}
    with pytest.raises(WireworkError, match="sweep-exists"):
        sweep(files["model"], done.plan.config, out, execution=HERE)
    sweep(files["model"], done.plan.config, out, resume=True, execution=HERE)
    assert content(out) == content(done.folder)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "done runs ran again"


def test_a_sweep_can_be_extended_but_not_to_another_model(
    files: dict[str, str], tmp_path: Path
) -> None:
    first = sweep(files["model"], quick(files["quote"]), tmp_path / "out",
                  execution=HERE)  # fmt: skip
    (known,) = first.results
    stamp = (tmp_path / f"out/circuits/{known}.circuit").stat().st_mtime_ns
    wider = quick(files["quote"], ablations=["mean-pretraining", "mean-task"])
    second = sweep(files["model"], wider, tmp_path / "out", resume=True, execution=HERE)
    assert len(second.results) == 2
    assert (tmp_path / f"out/circuits/{known}.circuit").stat().st_mtime_ns == stamp
    assert {"edges:quote:mean-pretraining", "edges:quote:mean-task"} <= set(
        second.report().measures
    )
    other = save_model(close_quote(size=24), tmp_path / "other")
    with pytest.raises(WireworkError, match="resume-mismatch"):
        sweep(other, wider, tmp_path / "out", resume=True, execution=HERE)


def test_a_failure_of_the_disk_is_tried_again(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = quick(files["quote"])
    blocked = sweep(files["model"], config, out, execution=HERE)
    (run,) = blocked.plan.runs
    # A folder stands where the circuit should go.
    (out / "circuits" / f"{run.id}.circuit").unlink()
    (out / "circuits" / f"{run.id}.circuit").mkdir()
    (out / "results.jsonl").unlink()
    failed = sweep(files["model"], config, out, resume=True, execution=HERE)
    assert failed.results[run.id].status == "failed"
    assert failed.results[run.id].error["code"] == "path-not-writable"
    (out / "circuits" / f"{run.id}.circuit").rmdir()
    assert sweep(files["model"], config, out, resume=True, execution=HERE).unsolved() == {}


@pytest.mark.long
def test_halving_searches_only_the_better_half_in_full(
    files: dict[str, str], tmp_path: Path
) -> None:
    config = quick(
        files["quote"], coefficients=[1e-2, 3e-2, 1e-1], seeds=[0, 1], halving=True, first_rung=0.25
    )  # fmt: skip
    bar = PressCtrlC(0)
    done = sweep(files["model"], config, tmp_path / "a", execution=HERE, start=bar)
    runs = done.plan.runs
    assert bar.totals == [len(runs)] == [3 + 2 + 2]
    assert [run.discovery.steps for run in runs] == [10] * 3 + [20] * 2 + [40] * 2
    assert {run.seed for run in runs if run.trial} == {0}
    trials = [done.results[run.id] for run in runs[:3]]
    going = {run.candidate for run in runs[3:5]}
    assert going == {r.candidate for r in sorted(trials, key=lambda r: r.rank)[:2]}
    assert {path.stem for path in (tmp_path / "a/circuits").iterdir()} == {
        run.id for run in runs[5:]
    }
    with pytest.raises(WireworkError, match="interrupted"):
        sweep(files["model"], config, tmp_path / "b", execution=HERE, start=PressCtrlC(4))
    sweep(files["model"], config, tmp_path / "b", resume=True, execution=HERE)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_only_tasks_that_are_learned_and_not_local_stand(files: dict[str, str]) -> None:
    model = load_checkpoint(files["model"])
    said = {name: standing(model, load_task(files[name]), QUICK, {})
            for name in ("quote", "flipped", "local")}  # fmt: skip
    assert said["quote"] == ""
    assert said["flipped"].startswith("task-unlearned: loss ")
    assert said["local"].startswith("local: ")


@pytest.mark.long
def test_tasks_of_the_catalog_that_are_not_learned_are_listed(
    files: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(WireworkError, match="sweep-without-tasks") as caught:
        sweep(files["model"], SweepConfig(), tmp_path / "out", execution=HERE)
    assert "python/single_double_quote" in caught.value.got


def test_two_tasks_of_one_name_are_refused(files: dict[str, str], tmp_path: Path) -> None:
    config = quick(files["quote"], files["quote"])
    with pytest.raises(WireworkError, match="task-name-twice"):
        sweep(files["model"], config, tmp_path / "out", execution=HERE)


def test_a_folder_with_something_else_is_left_alone(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WireworkError, match="path-occupied"):
        sweep(files["model"], quick(files["quote"]), tmp_path, execution=HERE)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "name, text, code",
    [
        ("plan.json", "{}", "sweep-foreign"),
        ("plan.json", "[1", "file-damaged"),
        ("results.jsonl", "nothing\n", "file-damaged"),
        ("results.jsonl", "[]\n", "file-damaged"),
        ("results.jsonl", '{"id": 3}\n', "config-invalid"),
    ],
)
def test_damaged_files_are_named(
    name: str, text: str, code: str, files: dict[str, str], done: Sweep, tmp_path: Path
) -> None:
    for kept in ("plan.json", "results.jsonl"):
        (tmp_path / kept).write_bytes((done.folder / kept).read_bytes())
    (tmp_path / name).write_text(text)
    with pytest.raises(WireworkError, match=f"{code}[\\s\\S]*{name}"):
        Sweep.open(tmp_path)


def wirework(*arguments: object) -> tuple[int, str, str]:
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran.exit_code, ran.stdout, ran.stderr


SETTINGS = [word for key, value in (("steps", 30), ("batch", 8), ("clean_up", "false"))
            for word in ("--set", f"{key}={value}")]  # fmt: skip


def test_the_command_prints_the_report(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: list[Any] = ["sweep", files["model"], files["quote"], "--out", out, "--jobs", 1,
                        "--coefficient", "3e-2", *SETTINGS]  # fmt: skip
    code, text, err = wirework(*words, "--json")
    assert code == 0, err
    report = json.loads(text)
    assert report == json.loads((out / "report.json").read_text())
    assert {"edges:quote", "nodes:quote", "task_loss:quote", "edges_geomean"} == set(
        report["measures"]
    )
    code, _, err = wirework(*words)
    assert code == 1
    assert "error[sweep-exists]" in err
    code, text, err = wirework(*words, "--resume")
    assert code == 0, err
    assert "edges_geomean" in text


def test_the_command_says_what_is_missing(files: dict[str, str], tmp_path: Path) -> None:
    code, _, err = wirework(
        "sweep", files["model"], files["flipped"], "--out", tmp_path / "out", "--jobs", 1, *SETTINGS
    )
    assert code == 1
    assert "no circuit: flipped: seed 0: unlearned (loss " in err
    assert "Example: wirework sweep" in " ".join(wirework("sweep", "--help")[1].split())
