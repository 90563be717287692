"""Groups of nodes: their file, and their way to a viewer and back."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer_circuits import random_circuit
from wirework.circuit import Circuit, every_node
from wirework.circuit.groups import Group, Groups, groups_path
from wirework.core import Node, WireworkError
from wirework.data import Tokenizer
from wirework.interop.neuronpedia import (
    GraphConfig,
    attribution_graph,
    check_graph,
    graph_text,
    read_groups,
)

Graph = dict[str, Any]


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit()


@pytest.fixture(scope="module")
def groups(circuit: Circuit) -> Groups:
    nodes = every_node(circuit.nodes)
    return Groups(
        circuit.model_hash,
        (Group('reads "x" <b>', tuple(nodes[0:3])), Group("ünïted", (nodes[30], nodes[9]))),
        frozenset([nodes[40], nodes[12]]),
    )


@pytest.fixture(scope="module")
def bare(circuit: Circuit) -> Graph:
    return graph_of(circuit, None)


def graph_of(circuit: Circuit, groups: Groups | None, **fields: Any) -> Graph:
    tokens = np.array(Tokenizer.from_json(circuit.tokenizer).encode("x = 'abc + y"))
    found = attribution_graph(circuit, tokens, groups=groups, config=GraphConfig(**fields))
    back: Graph = json.loads(graph_text(found))
    return back


def ids(graph: Graph, node: Node) -> list[str]:
    return [n["node_id"] for n in graph["nodes"] if n.get("wirework_node") == str(node)]


@pytest.mark.parametrize("threshold", [1.0, 0.8, 0.5])
def test_groups_come_back_as_they_went(circuit: Circuit, groups: Groups, threshold: float) -> None:
    graph = graph_of(circuit, groups, node_threshold=threshold)
    assert check_graph(graph) == []
    found = read_groups(graph)
    assert (found.groups, found.remarks) == (groups, ())


def test_supernodes_hold_every_place_of_their_nodes_and_are_pinned(
    circuit: Circuit, groups: Groups
) -> None:
    graph = graph_of(circuit, groups)
    supernodes, pinned = graph["qParams"]["supernodes"], graph["qParams"]["pinnedIds"]
    expected = [
        [group.label, *(one for node in group.nodes for one in ids(graph, node))]
        for group in groups.groups
    ]
    assert supernodes == expected
    loose = {one for node in groups.pinned for one in ids(graph, node)}
    assert set(pinned) == loose | {one for group in expected for one in group[1:]}


def test_what_a_viewer_changed_is_read(circuit: Circuit, bare: Graph) -> None:
    graph = copy.deepcopy(bare)
    shown = dict.fromkeys(n["wirework_node"] for n in graph["nodes"] if "wirework_node" in n)
    a, b, c, d = (Node.parse(name) for name in list(shown)[5:25:5])
    token = graph["nodes"][0]["node_id"]
    graph["qParams"]["supernodes"] = [
        ["mine", *ids(graph, a), ids(graph, b)[0], token],
        ["other", *ids(graph, b), *ids(graph, c)[:1]],
        ["of a token", token],
    ]
    graph["qParams"]["pinnedIds"] = [*ids(graph, a), *ids(graph, d)[:1], "1_99999_0"]
    found = read_groups(graph)
    assert found.groups == Groups(
        circuit.model_hash, (Group("mine", (a,)), Group("other", (b, c))), frozenset([d])
    )
    assert len(found.remarks) == 4
    assert f"{b} stands in 2 supernodes and joins one" in found.remarks
    assert f"mine: 1 ids are no nodes of the circuit: {token}" in found.remarks


def test_the_local_pages_way_of_saving_is_read(circuit: Circuit, groups: Groups) -> None:
    """circuit-tracer's page saves what stands in its address: texts, and null for nothing."""
    graph = graph_of(circuit, groups)
    params = graph["qParams"]
    saved = {
        "pinnedIds": ",".join(params["pinnedIds"]),
        "supernodes": json.dumps(params["supernodes"]),
        "clickedId": None,
    }
    assert read_groups({**graph, "qParams": saved}).groups == groups
    nothing = read_groups({**graph, "qParams": {"pinnedIds": None, "supernodes": None}})
    hidden = {node for node in every_node(circuit.nodes) if not ids(graph, node)}
    left = {node for group in nothing.groups.groups for node in group.nodes}
    assert left <= hidden and nothing.groups.pinned <= hidden


def test_nodes_that_the_prompt_does_not_show_stay_with_their_group(
    circuit: Circuit, bare: Graph
) -> None:
    nodes = every_node(circuit.nodes)
    silent = [node for node in nodes if not ids(bare, node)]
    seen = [node for node in nodes if ids(bare, node)]
    assert len(silent) > 1, "nodes that are zero at every position"
    made = Groups(
        circuit.model_hash,
        (Group("all silent", (silent[0],)), Group("seen", (seen[2], silent[1], seen[0]))),
    )
    exported = graph_of(circuit, made)
    assert read_groups(exported).groups == made
    exported["qParams"]["supernodes"][0][0] = "renamed"
    exported["qParams"]["supernodes"][0] += ids(exported, seen[5])
    found = read_groups(exported).groups
    assert [group.label for group in found.groups] == ["all silent", "renamed"]
    assert set(found.groups[1].nodes) == {*made.groups[1].nodes, seen[5]}


def test_the_file_of_groups(circuit: Circuit, groups: Groups, tmp_path: Path) -> None:
    path = groups_path(tmp_path / "quote.circuit")
    assert path.name == "quote.groups.json"
    groups.save(path)
    assert Groups.load(path) == groups
    first = path.read_bytes()
    Groups.load(path).save(path)
    assert path.read_bytes() == first
    groups.require_of(circuit)
    assert [one.name for one in tmp_path.iterdir()] == ["quote.groups.json"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "groups-version"),
        ({"format": "other"}, "groups-malformed"),
        ({"groups": 3}, "groups-malformed"),
        ({"groups": [{"label": "a"}]}, "groups-malformed"),
        ({"groups": [{"label": "a", "nodes": []}]}, "group-empty"),
        ({"groups": [{"label": "a", "nodes": ["x"]}]}, "node-malformed"),
        ({"groups": [{"label": "a", "nodes": ["0.attn.in:1"] * 2}]}, "groups-overlap"),
        ({"groups": [{"label": "a", "nodes": ["0.attn.in:1"]}], "pinned": ["0.attn.in:1"]},
         "groups-overlap"),
        ({"pinned": ["0.nowhere:1"]}, "site-unknown"),
        (None, "groups-malformed"),
    ],
)  # fmt: skip
def test_files_that_are_none_are_refused(
    groups: Groups, tmp_path: Path, change: dict[str, Any] | None, code: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(None if change is None else {**groups.to_json(), **change}))
    with pytest.raises(WireworkError) as raised:
        Groups.load(path)
    assert raised.value.code == code


def test_groups_of_another_circuit_are_refused(circuit: Circuit, groups: Groups) -> None:
    other = random_circuit(seed=4, model_hash="ab" * 32)
    with pytest.raises(WireworkError) as raised:
        graph_of(other, groups)
    assert raised.value.code == "groups-foreign"
    absent = Groups(circuit.model_hash, (Group("a", (Node.parse("0.mlp.neuron:9999"),)),))
    with pytest.raises(WireworkError, match=r"0\.mlp\.neuron:9999"):
        absent.require_of(circuit)


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("metadata",), {}, "graph-foreign"),
        (("metadata", "wirework_layers"), "x", "graph-foreign"),
        (("nodes",), [1], "graph-foreign"),
        (("wirework_groups",), None, "groups-malformed"),
        (("qParams",), [], "graph-groups-malformed"),
        (("qParams", "supernodes"), [[]], "graph-groups-malformed"),
        (("qParams", "supernodes"), [["a", 1]], "graph-groups-malformed"),
        (("qParams", "supernodes"), "[", "graph-groups-malformed"),
        (("qParams", "supernodes"), "[" * 9999, "graph-groups-malformed"),
        (("qParams", "pinnedIds"), 3, "graph-groups-malformed"),
    ],
)
def test_graphs_that_hold_no_groups_are_refused(
    bare: Graph, path: tuple[str, ...], value: Any, code: str
) -> None:
    graph = copy.deepcopy(bare)
    part: Any = graph
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(WireworkError) as raised:
        read_groups(graph)
    assert raised.value.code == code
    with pytest.raises(WireworkError):
        read_groups(value)
