"""`wirework explain` on a planted circuit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from planted_circuits import circuit_of
from wirework.circuit import Circuit
from wirework.cli.app import app
from wirework.core import Edge, Node
from wirework.explain import Evidence, NodeLabel, WeightPredicate, evidence_path
from wirework.planted import Planted, quote_with_decoys
from wirework.tasks import SPLITS


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def circuit(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("circuits") / "quote.circuit"
    circuit_of(planted, planted.active).save(path)
    return path


def wirework(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["explain", *(str(argument) for argument in arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def plain(*arguments: object) -> dict[str, Any]:
    code, out = wirework(*arguments, "--json")
    assert code == 0, out
    value: dict[str, Any] = json.loads(out)
    return value


def test_both_parts_are_told_unless_one_is_asked_for(circuit: Path) -> None:
    assert set(plain(circuit, "--pairs", 8)) == {"circuit", "pairs", "edges", "heads"}
    assert set(plain(circuit, "--pairs", 8, "--edges")) == {"circuit", "pairs", "edges"}
    assert set(plain(circuit, "--pairs", 8, "--query-key")) == {"circuit", "pairs", "heads"}


def test_every_edge_and_every_head_is_there(planted: Planted, circuit: Path) -> None:
    value = plain(circuit, "--pairs", 8)
    assert value["pairs"] == 8
    known = Circuit.load(circuit).edges()
    assert {edge["edge"] for edge in value["edges"]} == {str(edge) for edge, _ in known}
    losses = [edge["loss"] for edge in value["edges"]]
    assert losses == sorted(losses, reverse=True)
    assert len(value["heads"]) >= 1
    key = planted.parts["key"].index
    assert any(c["index"] == key for head in value["heads"] for c in head["channels"])


def test_the_tables_name_edges_channels_and_tokens(planted: Planted, circuit: Path) -> None:
    code, out = wirework(circuit, "--pairs", 8)
    assert code == 0
    for edge, _ in Circuit.load(circuit).edges():
        assert str(edge) in out
    for shown in ("task_loss", "8 pairs", "looks at", str(planted.parts["key"]), "share"):
        assert shown in out


def test_a_circuit_that_needs_its_model_is_refused(planted: Planted, tmp_path: Path) -> None:
    found = replace(circuit_of(planted, planted.active), runs_alone=False, ablation="resample")
    found.save(tmp_path / "a.circuit")
    for option in ("--edges", "--query-key"):
        code, out = wirework(tmp_path / "a.circuit", option, "--json")
        assert code == 1
        assert json.loads(out)["error"]["code"] == "circuit-needs-model"


@pytest.fixture(scope="module")
def model(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model"
    planted.checkpoint.save(path)
    return path


@pytest.fixture(scope="module")
def text(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve documents of prompts with their answers."""
    folder = tmp_path_factory.mktemp("text")
    pairs = [pair for split in SPLITS for pair in planted.task.splits[split]]
    marks = {name: answers.tokens[0] for name, answers in planted.task.answers.items()}
    for number in range(12):
        sides = [
            side
            for p in pairs[number::12]
            for side in (p.prompt + marks[p.answer], p.counterfactual + marks[p.counter_answer])
        ]
        (folder / f"{number}.txt").write_text(" ".join(sides) * 3)
    return folder


def test_labels_name_the_nodes_and_stay_beside_the_circuit(
    planted: Planted, circuit: Path, model: Path, text: Path
) -> None:
    asked = ["--labels", "--text", text, "--features", "characters"]
    value = plain(circuit, *asked, "--model", model)
    assert set(value) == {str(node) for node in planted.active}
    kept = Evidence.load(evidence_path(circuit))
    assert kept.labels == {Node.parse(n): NodeLabel.from_json(v) for n, v in value.items()}
    told = [label for label in kept.labels.values() if label.explained]
    assert told
    code, out = wirework(circuit, *asked, "--model", model)
    assert code == 0
    best = told[0].best
    assert best is not None
    assert f"{best.f1:.2f}" in out
    assert best.terms[0].feature in out


def test_predicates_say_when_the_largest_edges_matter(
    circuit: Path, model: Path, text: Path
) -> None:
    before = Evidence.load(evidence_path(circuit)) if evidence_path(circuit).exists() else None
    asked = ["--weights", 2, "--text", text, "--features", "characters", "--pairs", 8]
    value = plain(circuit, *asked, "--model", model)
    losses = {e["edge"]: abs(e["loss"]) for e in plain(circuit, "--edges", "--pairs", 8)["edges"]}
    assert set(value) == set(sorted(losses, key=lambda name: -losses[name])[:2])
    kept = Evidence.load(evidence_path(circuit))
    told = {Edge.parse(n): WeightPredicate.from_json(v) for n, v in value.items()}
    assert kept.predicates == told
    assert before is None or kept.labels == before.labels
    code, out = wirework(circuit, *asked, "--model", model)
    assert code == 0
    assert "with rolled labels" in out
    for edge, predicate in told.items():
        assert str(edge) in out
        assert predicate.best is None or f"{predicate.best.score:.2f}" in out


def test_labels_without_a_model_or_features_are_refused(circuit: Path) -> None:
    for arguments, code in (
        (["--labels"], "labels-need-model"),
        (["--weights", "3"], "labels-need-model"),
        (["--labels", "--model", "x", "--features", "python+nothing"], "feature-set-unknown"),
    ):
        exit_code, out = wirework(circuit, *arguments, "--json")
        assert exit_code == 1
        assert json.loads(out)["error"]["code"] == code
