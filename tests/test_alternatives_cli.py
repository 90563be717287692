"""`wirework alternatives` on planted models with redundant units."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planted_sweeps import save_model
from wirework.circuit import Circuit
from wirework.cli.app import app
from wirework.core.files import sha256_file
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.alternatives import nodes_of
from wirework.planted import (
    Planted,
    backup_unit,
    either_unit,
    minimal_circuits,
    quote_with_decoys,
    twin_values,
)

QUICK = DiscoveryConfig(
    steps=60, batch=8, coefficient=3e-3, lr=1e-2, dtype="float32", look_every=10, retries=0,
    calibration_pairs=16, price_pairs=8, faithfulness=0, attention=1,
)  # fmt: skip


def wirework(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    words = ["alternatives", *(str(argument) for argument in arguments)]
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def plain(*arguments: object) -> dict[str, Any]:
    code, out, err = wirework(*arguments, "--json")
    assert code == 0, err
    value: dict[str, Any] = json.loads(out)
    return value


def searched(planted: Planted, folder: Path) -> tuple[Path, str]:
    """A circuit of the model, as a search with seed 2 finds it, and the model, as files."""
    circuit = discover(planted.checkpoint, planted.task, config=QUICK, seed=2)
    circuit.save(folder / "first.circuit")
    return folder / "first.circuit", save_model(planted, folder / "model")


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return searched(twin_values(), tmp_path_factory.mktemp("twins"))


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


@pytest.mark.long
@pytest.mark.parametrize("build", [twin_values, either_unit, backup_unit])
def test_all_minimal_circuits_of_a_redundant_model_come_out_and_no_others(
    build: Callable[[], Planted], tmp_path: Path
) -> None:
    planted = build()
    truth = minimal_circuits(planted, QUICK.target_loss)
    first, model = searched(planted, tmp_path)
    value = plain(first, "--model", model)
    places = [Path(row["circuit"]) for row in value["circuits"]]
    folder = tmp_path / "first.alternatives"
    assert value["folder"] == str(folder)
    others = [folder / f"alternative-{number}.circuit" for number in range(1, len(truth))]
    assert places == [first, *others]
    found = [Circuit.load(place) for place in places]
    assert len(truth) > 1
    assert {nodes_of(circuit) for circuit in found} == set(truth)
    assert all(c.recipe["discovery"] == found[0].recipe["discovery"] for c in found)
    assert all(circuit.recipe["seed"] == 2 for circuit in found)
    assert value["complete"] and not value["unique"] and value["left"] == 0
    assert value["needed"] == [str(node) for node in sorted(frozenset.intersection(*truth))]
    assert value["unasked"] == []
    log = json.loads((folder / "searches.json").read_text())["searches"]
    assert len(log) == value["searches"]
    asked = [set(one["forbidden"]) for one in log]
    barren = [set(one["forbidden"]) for one in log if one["circuit"] is None]
    assert not any(less < more for less in barren for more in asked), "nothing can come of it"
    for row, circuit in zip(value["circuits"], found, strict=True):
        both = nodes_of(circuit) & nodes_of(found[0])
        either = nodes_of(circuit) | nodes_of(found[0])
        assert row["shared_nodes"] == pytest.approx(len(both) / len(either))
        assert (row["nodes"], row["edges"]) == (circuit.n_nodes, circuit.n_edges)
        assert row["select_loss"] == circuit.losses["select_loss"] <= QUICK.target_loss


@pytest.mark.long
def test_one_circuit_without_another_is_told_so(tmp_path: Path) -> None:
    first, model = searched(quote_with_decoys(), tmp_path)
    out = tmp_path / "others"
    code, text, err = wirework(first, "--model", model, "--out", out)
    assert code == 0, err
    assert "complete: no search found another circuit" in text
    for node in nodes_of(Circuit.load(first)):
        assert str(node) in text
    assert "alternatives" in err, "progress is told"
    assert list(hashes(out)) == ["searches.json"]


def test_what_was_not_asked_is_told_and_asked_by_going_on(
    twins: tuple[Path, str], tmp_path: Path
) -> None:
    first, model = twins
    asked = (first, "--model", model, "--out")
    value = plain(*asked, tmp_path / "a", "--most", 1)
    assert value["searches"] == 1
    assert value["left"] >= 1 and not value["complete"]
    told = [*value["needed"], *value["unasked"]]
    assert len(value["circuits"]) > 1 or len(told) == value["circuits"][0]["nodes"]
    more = plain(*asked, tmp_path / "a", "--most", 2, "--resume")
    at_once = plain(*asked, tmp_path / "b", "--most", 2)
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    for name in ("folder", "circuits"):
        assert json.dumps(more.pop(name)).replace("/a", "/b") == json.dumps(at_once.pop(name))
    assert more == at_once
    code, text, _ = wirework(*asked, tmp_path / "b", "--most", 2, "--resume")
    assert code == 0
    assert "2 searches; at least" in text and "not forbidden yet" in text


def test_ctrl_c_in_a_search_loses_nothing(twins: tuple[Path, str], tmp_path: Path) -> None:
    first, model = twins
    out = tmp_path / "stopped"
    asked = (first, "--model", model, "--most", 2, "--out")

    def press() -> None:
        while not (out / ".state").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press, daemon=True)
    presser.start()
    code, _, err = wirework(*asked, out)
    presser.join(10)
    assert code == 1 and "error[interrupted]" in err
    assert json.loads((out / "searches.json").read_text())["searches"] == []
    plain(*asked, out, "--resume")
    plain(*asked, tmp_path / "whole")
    assert hashes(out) == hashes(tmp_path / "whole")


@pytest.mark.long
def test_a_circuit_that_was_lost_is_searched_for_again(
    twins: tuple[Path, str], tmp_path: Path
) -> None:
    first, model = twins
    asked = (first, "--model", model, "--out", tmp_path / "a")
    plain(*asked)
    before = hashes(tmp_path / "a")
    (tmp_path / "a" / "alternative-1.circuit").unlink()
    plain(*asked, "--resume")
    assert hashes(tmp_path / "a") == before


def test_mistakes_are_told_before_anything_is_searched(
    twins: tuple[Path, str], tmp_path: Path
) -> None:
    first, model = twins
    other = save_model(either_unit(), tmp_path / "other")
    circuit = Circuit.load(first)
    hard = {**circuit.recipe["discovery"], "target_loss": 1e-9}
    unlearned, again = tmp_path / "unlearned.circuit", tmp_path / "again.circuit"
    replace(circuit, recipe={**circuit.recipe, "discovery": hard}).save(unlearned)
    replace(circuit, recipe={**circuit.recipe, "seed": 3}).save(again)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "begun").mkdir()
    log = {"identity": "another", "version": 1, "searches": []}
    (tmp_path / "begun" / "searches.json").write_text(json.dumps(log))
    out = ("--out", tmp_path / "new")
    cases: list[tuple[str, tuple[object, ...]]] = [
        ("file-missing", (tmp_path / "none.circuit", "--model", model, *out)),
        ("circuit-model-mismatch", (first, "--model", other, *out)),
        ("task-unlearned", (unlearned, "--model", model, *out)),
        ("path-occupied", (first, "--model", model, "--out", tmp_path / "full")),
        ("path-occupied", (first, "--model", model, "--out", unlearned)),
        ("alternatives-exist", (first, "--model", model, "--out", tmp_path / "begun")),
        ("resume-mismatch", (again, "--model", model, "--out", tmp_path / "begun", "--resume")),
    ]
    for code, words in cases:
        exit_code, text, _ = wirework(*words, "--json")
        assert exit_code == 1
        assert json.loads(text)["error"]["code"] == code
    assert not (tmp_path / "new").exists()
    assert hashes(tmp_path / "full").keys() == {"notes.txt"}
