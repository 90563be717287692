"""GraphML, DOT, details of features, and the folder of circuit-tracer's local server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse
from xml.etree import ElementTree

import numpy as np
import pytest
from jsonschema import Draft7Validator

from viewer_circuits import random_circuit
from wirework.circuit import Circuit, every_node
from wirework.circuit.groups import Group, Groups
from wirework.core import Node, Site, WireworkError
from wirework.core.names import FINAL
from wirework.data import Tokenizer
from wirework.explain import Evidence
from wirework.explain.effects import EdgeEffect
from wirework.explain.evidence import Example, NodeEvidence
from wirework.interop.circuit_graph import LINKS, GraphLink, GraphNode, circuit_graph
from wirework.interop.dot import to_dot
from wirework.interop.evidence import Told, read_evidence
from wirework.interop.graphml import to_graphml
from wirework.interop.neuronpedia import (
    GraphConfig,
    address,
    attribution_graph,
    check_graph_file,
    feature_details,
    feature_schema,
    write_graph_folder,
)

HOSTILE = 'a "q" \\ <b>&amp;]]></graph> \x00\x1b\ud7ff\n</data> \\'


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit()


@pytest.fixture(scope="module")
def evidence(circuit: Circuit) -> Evidence:
    example = Example(("a", "<b>", "\n"), (0.0, -2.5, 0.5), 1)
    nodes = {
        node: NodeEvidence(-0.5 - i, (example,), (example, example))
        for i, node in enumerate(every_node(circuit.nodes))
    }
    edges = tuple(EdgeEffect(edge, weight, 0.25, -0.125) for edge, weight in circuit.edges())
    return Evidence(circuit.model_hash, nodes, edges)


def parse_graphml(text: str) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Nodes by id and edges, with their data typed as the keys say."""
    space = "{http://graphml.graphdrawing.org/xmlns}"
    root = ElementTree.fromstring(text.encode())
    assert root.tag == f"{space}graphml"
    types = {"string": str, "int": int, "double": float}
    keys = {
        key.get("id"): (key.get("for"), key.get("attr.name"), types[str(key.get("attr.type"))])
        for key in root.iter(f"{space}key")
    }

    def data(element: ElementTree.Element, kind: str) -> dict[str, Any]:
        found = {}
        for item in element.iter(f"{space}data"):
            owner, name, type_ = keys[item.get("key")]
            assert owner == kind
            found[str(name)] = type_(item.text or "")
        return found

    (graph,) = root.iter(f"{space}graph")
    assert graph.get("edgedefault") == "directed"
    nodes = {str(n.get("id")): data(n, "node") for n in graph.iter(f"{space}node")}
    edges = [
        {"source": e.get("source"), "target": e.get("target"), **data(e, "edge")}
        for e in graph.iter(f"{space}edge")
    ]
    assert all(edge["source"] in nodes and edge["target"] in nodes for edge in edges)
    return nodes, edges


def test_graphml_holds_the_whole_circuit(circuit: Circuit, evidence: Evidence) -> None:
    told = read_evidence(circuit, evidence.to_json())
    nodes, edges = parse_graphml(to_graphml(*circuit_graph(circuit, told, links=LINKS)))
    kept = [str(node) for node in every_node(circuit.nodes)]
    assert [name for name in nodes if not name.startswith(("token", "answer"))] == kept
    weights = {(e["source"], e["target"]): e for e in edges if e["kind"] == "edge"}
    assert len(weights) == circuit.n_edges
    for edge, weight in circuit.edges():
        found = weights[str(edge.source), str(edge.target)]
        assert (found["weight"], found["effect"]) == (weight, -0.125)
    first = every_node(circuit.nodes)[0]
    assert nodes[str(first)] == {
        "kind": "attn.in", "layer": 0, "index": first.index, "effect": -0.5,
    }  # fmt: skip
    counts = {kind: sum(e["kind"] == kind for e in edges) for kind in LINKS}
    columns = {
        (e["source"], Node.parse(e["target"]).index) for e in edges if e["kind"] == "embedding"
    }
    assert len(columns) == circuit.embedding_edges, "a channel may be read several times"
    assert counts["unembedding"] == circuit.unembedding_edges
    assert min(counts.values()) > 0


def test_links_are_those_asked_for(circuit: Circuit) -> None:
    nodes, links = circuit_graph(circuit, links=())
    assert len(nodes) == circuit.n_nodes and {link.kind for link in links} == {"edge"}
    nodes, links = circuit_graph(circuit)
    assert {node.kind for node in nodes} >= {"answer", FINAL} and "token" not in {
        node.kind for node in nodes
    }
    for link in links:
        if link.kind == "residual":
            write, read = Node.parse(link.source), Node.parse(link.target)
            assert write.index == read.index and write.site < read.site
        if link.kind == "steer":
            steering, value = Node.parse(link.source), Node.parse(link.target)
            assert value.site == Site(steering.site.layer, "attn.v")
            assert steering.index // circuit.network.d_head == value.index // circuit.network.d_head
    with pytest.raises(WireworkError) as raised:
        circuit_graph(circuit, links=["residul"])
    assert (raised.value.code, raised.value.hint) == ("link-unknown", "residual")


def test_hostile_labels_stay_text_in_graphml() -> None:
    nodes = [GraphNode("0.attn.in:1", "attn.in", 1, 0, text=HOSTILE, effect=float("nan"))]
    links = [GraphLink("edge", "0.attn.in:1", "0.attn.in:1", float("inf"), None)]
    found, edges = parse_graphml(to_graphml(nodes, links))
    shown = HOSTILE.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert found["0.attn.in:1"] == {"kind": "attn.in", "layer": 0, "index": 1, "text": shown}
    assert edges[0].keys() == {"source", "target", "kind"}


_TOKEN = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_][A-Za-z_0-9]*|-?[0-9.]+)'
    r"|(?P<mark>->|[{}\[\];,=]))",
    re.DOTALL,
)


def parse_dot(text: str) -> tuple[dict[str, dict[str, str]], list[tuple[str, str, dict[str, str]]]]:
    """A strict reader of the part of the DOT language that is written."""
    words: list[str] = []
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        assert match, text[place : place + 40]
        words.append(match[0].strip())
        place = match.end()
    assert words[:3] == ["digraph", "circuit", "{"] and words[-1] == "}"
    nodes: dict[str, dict[str, str]] = {}
    edges: list[tuple[str, str, dict[str, str]]] = []
    body = iter(words[3:-1])

    def attributes() -> dict[str, str]:
        found = {}
        while True:
            name, equals, value, end = (next(body) for _ in range(4))
            assert equals == "=" and end in ",]"
            found[name] = value
            if end == "]":
                assert next(body) == ";"
                return found

    for word in body:
        if word == "{":
            assert [next(body) for _ in range(4)] == ["rank", "=", "same", ";"]
        elif word != "}":
            following = next(body)
            if following == "->":
                target, bracket = next(body), next(body)
                assert bracket == "["
                edges.append((word[1:-1], target[1:-1], attributes()))
            else:
                assert following == "["
                found = attributes()
                if word not in ("graph", "node", "edge"):
                    nodes[word[1:-1]] = found
    return nodes, edges


def test_dot_holds_the_whole_circuit(circuit: Circuit, evidence: Evidence) -> None:
    told = read_evidence(circuit, evidence.to_json())
    nodes, edges = parse_dot(to_dot(*circuit_graph(circuit, told), title='a "task"\n'))
    assert nodes.keys() >= {str(node) for node in every_node(circuit.nodes)}
    kept = {(s, t): look for s, t, look in edges if look["kind"] == '"edge"'}
    assert len(kept) == circuit.n_edges
    for edge, weight in circuit.edges():
        look = kept[str(edge.source), str(edge.target)]
        assert look["value"] == f'"{weight!r}"'
        assert look["color"] == ('"#0072B2"' if weight > 0 else '"#D55E00"')
    assert all(s in nodes and t in nodes for s, t, _ in edges)


def test_hostile_labels_stay_text_in_dot() -> None:
    nodes = [GraphNode('0.x"];', "token", 1, text=HOSTILE)]
    found, _ = parse_dot(to_dot(nodes, [], title=HOSTILE))
    (name,) = found
    assert name == '0.x\\"];'
    label = found[name]["label"]
    assert "\n" not in label and "\x00" not in label
    assert label.endswith('\\\\"'), "the last backslash does not escape the quote"


def test_details_of_features_are_valid(circuit: Circuit, evidence: Evidence) -> None:
    told = read_evidence(circuit, evidence.to_json())
    for node in every_node(circuit.nodes):
        details = feature_details(circuit, node, told.examples[node])
        Draft7Validator(feature_schema()).validate(details)
        top, random = details["examples_quantiles"]
        assert top["quantile_name"] == "Top activations" and len(random["examples"]) == 2
        assert top["examples"][0]["tokens"] == ["a", "‹b>", "\n"]
        assert top["examples"][0]["tokens_acts_list"] == [0.0, -2.5, 0.5]
        assert (details["act_min"], details["act_max"]) == (-2.5, 0.5)
        if node.site.kind != FINAL:
            assert details["top_logits"] == details["bottom_logits"] == []
    assert any(feature_details(circuit, n)["top_logits"] for n in every_node(circuit.nodes))
    bare = feature_details(circuit, every_node(circuit.nodes)[0])
    Draft7Validator(feature_schema()).validate(bare)
    assert bare["examples_quantiles"] == []


def graph_of(circuit: Circuit, text: str, groups: Groups | None = None) -> dict[str, Any]:
    tokens = np.array(Tokenizer.from_json(circuit.tokenizer).encode(text))
    return attribution_graph(circuit, tokens, groups=groups, config=GraphConfig(local=True))


def test_the_folder_of_the_local_server(circuit: Circuit, tmp_path: Path) -> None:
    folder = tmp_path / "graphs"
    groups = Groups(circuit.model_hash, (Group("ä & b", tuple(every_node(circuit.nodes)[:2])),))
    graph = graph_of(circuit, "x = 'abc", groups)
    path = write_graph_folder(folder, circuit, graph)
    other = write_graph_folder(folder, circuit, graph_of(circuit, 'y = "d', groups))
    assert path != other and check_graph_file(path) == []
    listed = json.loads((folder / "graph-metadata.json").read_text())["graphs"]
    assert [f"{one['slug']}.json" for one in listed] == [path.name, other.name]
    written = json.loads(path.read_text())
    assert written["metadata"] == listed[0]
    # The page asks `{scan}/{feature}.json`, and the server looks for /data/ in the folder.
    features = folder / listed[0]["scan"].removeprefix("./data/")
    shown = [n for n in written["nodes"] if n["feature_type"] not in ("embedding", "logit")]
    assert {node["feature_type"] for node in shown} == {"cross layer transcoder"}
    for node in shown:
        details = json.loads((features / f"{node['feature']}.json").read_text())
        assert details["wirework_node"] == node["wirework_node"]
    query = parse_qs(urlparse(address(written)).query)
    assert query["slug"] == [written["metadata"]["slug"]]
    assert json.loads(query["supernodes"][0]) == written["qParams"]["supernodes"]
    assert query["pinnedIds"][0].split(",") == written["qParams"]["pinnedIds"]


def test_what_a_viewer_saved_is_not_written_over(circuit: Circuit, tmp_path: Path) -> None:
    graph = graph_of(circuit, "x = 'abc")
    path = write_graph_folder(tmp_path, circuit, graph)
    assert write_graph_folder(tmp_path, circuit, graph) == path
    assert len(json.loads((tmp_path / "graph-metadata.json").read_text())["graphs"]) == 1
    saved = json.loads(path.read_text())
    saved["qParams"]["pinnedIds"] = [saved["nodes"][0]["node_id"]]
    path.write_text(json.dumps(saved))
    with pytest.raises(WireworkError) as raised:
        write_graph_folder(tmp_path, circuit, graph)
    assert raised.value.code == "graph-saved-over"
    assert json.loads(path.read_text()) == saved
    (tmp_path / "graph-metadata.json").write_text("[1]")
    with pytest.raises(WireworkError) as raised:
        write_graph_folder(tmp_path, circuit, graph)
    assert raised.value.code == "graph-list-malformed"


def test_evidence_of_another_circuit_is_refused(circuit: Circuit, evidence: Evidence) -> None:
    value = evidence.to_json()
    assert read_evidence(circuit, value).effects[every_node(circuit.nodes)[0]] == -0.5
    for change, code in (
        ({"model_hash": "0" * 64}, "evidence-foreign"),
        ({"nodes": {"0.attn.in:9999": next(iter(value["nodes"].values()))}}, "evidence-foreign"),
        ({"nodes": 3}, "evidence-malformed"),
        ({"nodes": {"x": {}}}, "evidence-malformed"),
    ):  # fmt: skip
        with pytest.raises(WireworkError) as raised:
            read_evidence(circuit, {**value, **change})
        assert raised.value.code == code
    assert Told().labels == {}
