"""The program as a person uses it: the whole path on a small run, mistakes, JSON, exit codes."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from wirework.circuit import Circuit
from wirework.cli.app import app
from wirework.core import WireworkError
from wirework.training.runs import checkpoint_folder, load_checkpoint

SMALL = [
    "steps=4", "batch=2", "checkpoint_every=2", "validate_every=2", "validation_batches=1",
    "mean_batches=1", "dtype=float32", "model.vocab_size=400", "model.n_layer=1",
    "model.d_model=16", "model.n_head=2", "model.d_mlp=32", "model.context=120",
    "corpus.vocab_size=400", "sparsity.density=0.4", "sparsity.embedding_density=0.4",
]  # fmt: skip

QUOTE = "python/single_double_quote"
REFERENCE = "reference/v1-sparse-small"

FEW = [
    "draws=3", "pairs=12", "restore_draws=4", "budgets=[1]", "adversary_restarts=1",
    "adversary_steps=1", "adversary_tries=2", "null_steps=10", "matched_draws=2", "attack_pairs=4",
    "test_draws=19", "needed_nodes=4", "edge_tests=4", "edge_draws=9",
    'null_controls=["nonsense"]',
]  # fmt: skip


def wirework(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def settings(text: Path) -> list[str]:
    values = [*SMALL, f"corpus.source={text}", "corpus.validation_share=0.3"]
    return [word for value in values for word in ("--set", value)]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for index in range(8):
        lines = [f'name_{index} = "value {index}"', "def area(w, h):", "    return w * h", ""]
        (folder / f"part{index}.py").write_text("\n".join(lines * 30) + f"x{index} = {index}\n")
    return folder


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    code, _, err = wirework("train", "tiny", "--out", folder, *settings(text))
    assert code == 0, err
    return folder


@pytest.fixture(scope="module")
def circuit(run: Path) -> Path:
    out = run.parent / "quote.circuit"
    code, _, err = wirework(
        "discover", run, "python/single_double_quote", "--out", out, "--unlearned-ok",
        "--set", "steps=3", "--set", "batch=2", "--set", "clean_up=false",
    )  # fmt: skip
    assert code == 0, err
    return out


def test_info_of_a_run_has_density_nonzeros_and_what_stands_beside(run: Path) -> None:
    code, out, _ = wirework("info", run, "--json")
    value = json.loads(out)
    assert code == 0
    assert value["config"]["steps"] == 4
    assert 0 < value["density"] <= 1
    assert set(value["beside"]) >= {"bigram", "biases", "gains"}
    assert sum(entry["nonzeros"] for entry in value["matrices"].values()) == value["nonzeros"]
    assert "val_loss" in value["losses"]
    assert wirework("info", run)[0] == 0


def test_info_of_a_circuit_has_what_is_promised(circuit: Path) -> None:
    code, out, _ = wirework("info", circuit, "--json")
    assert code == 0
    assert set(json.loads(out)) >= {
        "nodes", "edges", "embedding_edges", "unembedding_edges", "shadow_weights", "runs_alone",
        "task", "task_loss", "task_loss_raw", "task_accuracy", "model_hash",
    }  # fmt: skip
    assert wirework("info", circuit)[0] == 0


def test_validate_prints_one_report_and_its_exit_code_says_whether_bars_were_met(
    circuit: Path, run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    code, text, err = wirework(
        "validate", circuit, "--model", run, "--out", out, "--json",
        *(word for value in FEW for word in ("--set", value)),
    )  # fmt: skip
    report = json.loads(text)
    assert report == json.loads(out.read_text())
    assert report["schema"] == 1
    missed = [m for m in report["measures"].values() if m["passed"] is False]
    assert code == (1 if missed else 0), err


def test_a_validation_without_what_decides_is_undecided(circuit: Path, run: Path) -> None:
    code, text, _ = wirework("validate", circuit, "--model", run, "--group", "exactness")
    assert code == 0
    assert text.startswith("validation report: undecided")
    assert "not measured: model_accuracy, task_loss" in text


def test_a_late_failure_loses_no_report(
    circuit: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    code, text, err = wirework(
        "validate", circuit, "--model", run, "--group", "fit", "--out", tmp_path / "report.json"
    )
    assert code == 1
    assert text.startswith("validation report") and "task_loss" in text
    assert "error[disk-full]" in err


def test_view_writes_a_page(circuit: Path, run: Path, tmp_path: Path) -> None:
    page = tmp_path / "quote.html"
    code, _, err = wirework("view", circuit, "--model", run, "--export", page)
    assert code == 0, err
    assert page.read_text().lower().startswith("<!doctype html>")


def test_view_compares_two_and_shows_a_folder(circuit: Path, tmp_path: Path) -> None:
    shutil.copy(circuit, tmp_path / "again.circuit")
    both = tmp_path / "both.html"
    code, _, err = wirework("view", circuit, "--with", tmp_path / "again.circuit", "--export", both)
    assert code == 0 and "again" in both.read_text(), err
    (tmp_path / "bad.circuit").write_text("no circuit")
    page = tmp_path / "gallery.html"
    code, out, err = wirework("view", "--gallery", tmp_path, "--export", page, "--json")
    assert code == 0, err
    value = json.loads(out)
    assert value["circuits"] == 1 and list(value["damaged"]) == ["bad.circuit"]
    assert len(list((tmp_path / "gallery-pages").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "view-what"),
        (["CIRCUIT", "--gallery", "."], "view-what"),
        (["CIRCUIT", "--with", "CIRCUIT", "--model", "RUN"], "view-options"),
        (["--gallery", ".", "--report", "x.json"], "view-options"),
        (["--gallery", ".", "--with", "CIRCUIT"], "view-options"),
        (["--gallery", "RUN"], "gallery-empty"),
        (["CIRCUIT", "--with", "x.circuit"], "file-missing"),
    ],
)
def test_view_tells_what_it_cannot_show(
    circuit: Path, run: Path, words: list[str], code: str
) -> None:
    places = {"CIRCUIT": str(circuit), "RUN": str(run)}
    found, _, err = wirework("view", *(_fill(word, places) for word in words))
    assert found == 1 and f"error[{code}]" in err


@pytest.mark.parametrize("words", [["CIRCUIT", "--model", "RUN"], ["--gallery", "FOLDER"]])
def test_view_serves_until_it_is_interrupted(
    circuit: Path, run: Path, tmp_path: Path, words: list[str]
) -> None:
    shutil.copy(circuit, tmp_path / "a b.circuit")
    places = {"CIRCUIT": str(circuit), "RUN": str(run), "FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "wirework", "view", "--no-open"]
    command += [_fill(word, places) for word in words]
    live = "--model" in words
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        assert p.stdout and p.stderr
        address = p.stdout.readline().split()[0]
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), p.stderr.read()
        page = httpx.get(address)
        assert page.status_code == 200 and page.text.lower().startswith("<!doctype html>")
        headers = {"Origin": address.rstrip("/")}
        answer = httpx.post(address + "ask", json={"prompt": "x = 'a"}, headers=headers, timeout=60)
        assert answer.status_code == (200 if live else 405)
        if live:
            assert len(answer.json()["top"]) == 8
        else:
            (link,) = re.findall(r'"href":"(/circuit/[\w.-]+)"', page.text)
            circuit_page = httpx.get(address.rstrip("/") + link, timeout=60)
            assert circuit_page.status_code == 200 and "a b.circuit" not in circuit_page.text
        p.send_signal(signal.SIGINT)
        assert p.wait(20) == 0
        assert "Traceback" not in p.stderr.read()


def test_tasks_can_be_listed_shown_and_checked(run: Path) -> None:
    code, out, _ = wirework("tasks", "list", "--json")
    names = [item["name"] for item in json.loads(out)]
    assert {"python/bracket_counting", "python/set_or_string"} <= set(names)
    assert wirework("tasks", "list")[0] == 0
    assert wirework("tasks", "show", "python/single_double_quote")[0] == 0
    code, out, err = wirework("tasks", "check", run, "python/single_double_quote", "--json")
    measures = json.loads(out.partition('{\n "error"')[0])["measures"]
    assert code == 0, err
    for name in ("loss", "accuracy"):
        assert f"{name}:python/single_double_quote" in measures


def copied(file: Path, folder: Path) -> Path:
    return Path(shutil.copy(file, folder / file.name))


def edited(file: Path, folder: Path) -> Path:
    copy = copied(file, folder)
    data = bytearray(copy.read_bytes())
    data[-10] ^= 1
    copy.write_bytes(bytes(data))
    return copy


MISTAKES: dict[str, tuple[list[str], str, str]] = {
    "preset": (["train", "tinny", "--out", "OUT"], "preset-unknown", "tiny"),
    "setting": (
        ["train", "tiny", "--out", "OUT", "--set", "step=3"], "config-unknown-key", "steps",
    ),
    "nested setting": (
        ["train", "tiny", "--out", "OUT", "--set", "sparsity.densty=0.1"],
        "config-unknown-key", "sparsity.density",
    ),
    "density under the floor": (
        ["train", "tiny", "--out", "OUT", "--set", "sparsity.density=0.001"],
        "density-too-small", "sparsity.density=",
    ),
    "run that is there": (["train", "tiny", "--out", "RUN"], "run-exists", "--resume"),
    "no run": (["discover", "OUT", QUOTE, "--out", "X"], "run-missing", "wirework train"),
    "task": (
        ["discover", "RUN", "python/single_duoble_quote", "--out", "X"], "task-unknown", QUOTE,
    ),
    "unlearned": (
        ["discover", "RUN", QUOTE, "--out", "X"], "task-unlearned", "--unlearned-ok",
    ),
    "checkpoint": (["info", "RUN@3"], "checkpoint-missing", "@4"),
    "step of a reference": (["info", f"{REFERENCE}@3"], "checkpoint-missing", REFERENCE),
    "no circuit": (["info", "OUT.circuit"], "file-missing", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_a_coded_error_and_a_way_out(name: str, run: Path, tmp_path: Path) -> None:
    words, code, hint = MISTAKES[name]
    places = {"OUT": str(tmp_path / "out"), "RUN": str(run), "X": str(tmp_path / "x.circuit")}
    arguments = [_fill(word, places) for word in words]
    exit_code, _, err = wirework(*arguments)
    assert exit_code == 1
    assert f"error[{code}]" in err
    assert hint in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "corpus").exists()


def _fill(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        if word == name or word.startswith((f"{name}@", f"{name}.")):
            return path + word.removeprefix(name)
    return word


def test_damaged_and_foreign_circuits_are_refused(circuit: Path, run: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "notes.circuit"
    foreign.write_text("hello")
    for file in (edited(circuit, tmp_path), foreign):
        for command in (["info", file], ["view", file], ["validate", file, "--model", run]):
            code, _, err = wirework(*command)
            assert code == 1
            assert "error[circuit-" in err
            assert "Traceback" not in err


def test_a_circuit_of_another_model_is_refused(circuit: Path, text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert wirework("train", "tiny", "--out", other, "--seed", 5, *settings(text))[0] == 0
    code, _, err = wirework("validate", circuit, "--model", other)
    assert code == 1
    assert "error[circuit-model-mismatch]" in err
    assert "--model" not in err, "no model that is known here is the right one"


def test_the_model_that_a_mismatch_names_is_the_right_one(
    circuit: Path, run: Path, tmp_path: Path
) -> None:
    quick = ["--group", "fit"]
    code, _, err = wirework("validate", circuit, "--model", f"{run}@2", *quick)
    assert code == 1
    assert "error[circuit-model-mismatch]" in err and f"--model {run}@4\n" in err
    assert "error[" not in wirework("validate", circuit, "--model", f"{run}@4", *quick)[2]
    small = Circuit.load(circuit)
    own = tmp_path / "own.circuit"
    replace(small, model_hash=load_checkpoint(REFERENCE).hash()).save(own)
    _, _, err = wirework("view", own, "--model", run, "--export", tmp_path / "page.html")
    assert f"--model {REFERENCE}\n" in err


def test_one_checkpoint_has_one_step(run: Path) -> None:
    folder = checkpoint_folder(run)
    assert checkpoint_folder(f"{folder}@4") == folder
    with pytest.raises(WireworkError) as caught:
        checkpoint_folder(f"{folder}@3")
    assert (caught.value.code, caught.value.hint) == ("checkpoint-missing", str(folder))
    step = load_checkpoint(REFERENCE).step
    assert load_checkpoint(f"{REFERENCE}@{step}").step == step


def test_errors_are_json_too(tmp_path: Path) -> None:
    code, out, _ = wirework("info", tmp_path / "nothing", "--json")
    value: dict[str, Any] = json.loads(out)
    assert code == 1
    assert value["error"]["code"] == "run-missing"


def test_wrong_usage_exits_with_two() -> None:
    assert wirework("train")[0] == 2
    assert wirework("discover", "--nonsense")[0] == 2


@pytest.mark.parametrize("command", ["train", "discover", "validate", "view", "info"])
def test_every_help_shows_an_example(command: str) -> None:
    code, out, _ = wirework(command, "--help")
    assert code == 0
    assert f"Example: wirework {command}" in " ".join(out.split())
