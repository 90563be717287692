"""`wirework graph`: circuits out to other programs, and groups back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from viewer_circuits import random_circuit
from wirework.circuit import every_node
from wirework.circuit.groups import Groups
from wirework.cli.app import app
from wirework.explain import Evidence, evidence_path
from wirework.explain.evidence import NodeEvidence


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("circuits") / "quote.circuit"
    circuit = random_circuit()
    circuit.save(path)
    nodes = {node: NodeEvidence(-0.25, (), ()) for node in every_node(circuit.nodes)}
    Evidence(circuit.model_hash, nodes).save(evidence_path(path))
    return path


def wirework(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["graph", *(str(argument) for argument in arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


def plain(*arguments: object, code: int = 0) -> dict[str, Any]:
    got, out = wirework(*arguments, "--json")
    assert got == code, out
    value: dict[str, Any] = json.loads(out)
    return value


def test_a_graph_is_written_and_checked_and_its_groups_read_back(
    place: Path, tmp_path: Path
) -> None:
    out = tmp_path / "quote.json"
    value = plain("export", place, "--out", out, "--prompt", "x = 'a", "--slug", "mine")
    assert value["to"] == "neuronpedia" and value["complaints"] == []
    graph = json.loads(out.read_text())
    assert graph["metadata"]["prompt"] == "x = 'a" and graph["metadata"]["slug"] == "mine"
    assert graph["metadata"]["info"]["create_time_ms"] > 1.7e12
    assert plain("check", out) == {"file": str(out), "complaints": []}
    node = next(n for n in graph["nodes"] if "wirework_node" in n)
    graph["qParams"]["supernodes"] = [["first", node["node_id"]]]
    out.write_text(json.dumps(graph))
    back = plain("groups", out, place)
    assert back["groups"] == [{"label": "first", "nodes": [node["wirework_node"]]}]
    beside = place.with_name("quote.groups.json")
    assert back["file"] == str(beside)
    again = tmp_path / "again.json"
    plain("export", place, "--out", again, "--pair", 1, "--counterfactual")
    (group,) = json.loads(again.read_text())["qParams"]["supernodes"]
    assert group[0] == "first" and len(group) > 1, "the groups beside the circuit are taken"
    assert Groups.load(beside).groups[0].label == "first"
    code, text = wirework("groups", out, place, "--out", tmp_path / "g.json")
    assert code == 0 and "first: 1 nodes" in text
    beside.unlink()


def test_a_broken_graph_is_complained_about(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    out.write_text("{}")
    assert len(plain("check", out, code=1)["complaints"]) == 4
    assert wirework("check", out)[0] == 1


@pytest.mark.parametrize("name", ["q.graphml", "q.dot", "q.gv", "q.svg", "q.png"])
def test_files_are_written_as_their_names_end(place: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    plain("export", place, "--out", out)
    starts = {".graphml": b"<?xml", ".svg": b"<?xml", ".png": b"\x89PNG"}
    assert out.read_bytes().startswith(starts.get(out.suffix, b"digraph circuit {"))
    if out.suffix == ".graphml":
        text = out.read_text()
        ElementTree.fromstring(text)
        assert "-0.25" in text, "the evidence beside the circuit is taken"


def test_a_folder_for_the_local_server(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "graphs"
    value = plain("export", place, "--out", folder, "--answers", 2, "--node-threshold", 0.9)
    assert Path(value["graph"]).parent == folder and (folder / "graph-metadata.json").exists()
    assert value["address"].startswith("http://localhost:8041/index.html?slug=")
    assert str(folder) in value["serve"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--out", "a.pdf"], "graph-format"),
        (["--out", "a", "--to", "nope"], "graph-format"),
        (["--out", "a.dot", "--prompt", "x = y"], "option-unused"),
        (["--out", "a.json", "--width", "3"], "option-unused"),
        (["--out", "a.json", "--prompt", "x", "--pair", "0"], "prompt-twice"),
        (["--out", "a.json", "--pair", "99999"], "pair-unknown"),
        (["--out", "a.json", "--prompt", ""], "graph-prompt-short"),
        (["--out", "a.json", "--node-threshold", "2"], "config-invalid"),
        (["--out", "a.dot", "--link", "resid"], "link-unknown"),
        (["--out", "a.svg", "--width", "0.5"], "picture-too-narrow"),
        (["--out", "a.svg", "--evidence", "none.json"], "file-missing"),
        (["--out", "a.json", "--groups", "none.json"], "file-missing"),
    ],
)
def test_mistakes_have_codes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plain("export", place, *arguments, code=1)["error"]["code"] == code
    assert not list(tmp_path.iterdir())
