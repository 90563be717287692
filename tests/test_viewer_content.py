"""What the page holds: every node and weight of the circuit, and what they really do."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer_circuits import nodes_at, quote_task, random_circuit
from wirework.circuit import Circuit
from wirework.core import Measure, Node, Report, Site, WireworkError
from wirework.data import Tokenizer
from wirework.tasks import EncodedTask, Task
from wirework.viewer.content import page_content
from wirework.viewer.numbers import short
from wirework.viewer.page import safe_json


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture(scope="module")
def content(circuit: Circuit) -> dict[str, Any]:
    return page_content(circuit, examples=6)


@pytest.fixture(scope="module")
def encoded(circuit: Circuit) -> EncodedTask:
    return Task.from_json(circuit.task).encode(Tokenizer.from_json(circuit.tokenizer), None)


def links(content: dict[str, Any], kind: str) -> set[tuple[str, str]]:
    drawing = content["drawing"]
    names = [node["name"] for node in drawing["nodes"]] + [a["name"] for a in drawing["answers"]]
    return {
        ("tokens" if link["source"] is None else names[link["source"]], names[link["target"]])
        for link in drawing["links"]
        if link["kind"] == kind
    }


def test_every_node_and_every_edge_is_drawn_once(circuit: Circuit, content: dict[str, Any]) -> None:
    drawing = content["drawing"]
    names = [node["name"] for node in drawing["nodes"]]
    assert sorted(names) == sorted(str(node) for node in circuit.graph().nodes)
    drawn = {
        (names[edge["source"]], names[edge["target"]]): edge["weight"] for edge in drawing["edges"]
    }
    assert len(drawing["edges"]) == len(drawn) == circuit.n_edges > 30
    for edge, weight in circuit.edges():
        assert drawn[str(edge.source), str(edge.target)] == pytest.approx(weight, rel=1e-3)


def test_columns_stand_in_order_of_computation(content: dict[str, Any]) -> None:
    drawing = content["drawing"]
    column = {
        node["name"]: drawing["points"][index][0] for index, node in enumerate(drawing["nodes"])
    }
    for line in (*drawing["edges"], *drawing["links"]):
        columns = [drawing["points"][point][0] for point in line["route"]]
        assert columns == list(range(columns[0], columns[0] + len(columns)))
    sites = {Node.parse(name).site: place for name, place in column.items()}
    for before, after in zip(sorted(sites), sorted(sites)[1:], strict=False):
        together = (before.kind, after.kind) == ("attn.q", "attn.k")
        assert sites[before] <= sites[after] if together else sites[before] < sites[after]
    assert set(range(1, len(drawing["columns"]) - 1)) == set(sites.values()), "no empty column"


def test_residual_links_join_writes_and_later_reads(
    circuit: Circuit, content: dict[str, Any]
) -> None:
    times = {"attn.in": 0, "attn.out": 1, "mlp.in": 2, "mlp.out": 3, "final": 9}
    when = {
        node: (9 if node.site.layer is None else node.site.layer, times[node.site.kind])
        for node in circuit.graph().nodes
        if node.site.kind in times
    }
    expected = {
        (str(write), str(read))
        for write in when
        for read in when
        if write.site.kind.endswith("out") and not read.site.kind.endswith("out")
        if write.index == read.index and when[write] < when[read]
    }
    assert links(content, "residual") == expected and expected


def test_queries_and_keys_steer_the_values_of_their_head(content: dict[str, Any]) -> None:
    nodes = content["drawing"]["nodes"]
    expected = {
        (source["name"], target["name"])
        for source in nodes
        for target in nodes
        if source["kind"] in ("attn.q", "attn.k")
        and target["kind"] == "attn.v"
        and (source["layer"], source["head"]) == (target["layer"], target["head"])
    }
    assert links(content, "steer") == expected and expected


def test_tokens_and_answers_are_joined_by_the_counted_weights(
    circuit: Circuit, content: dict[str, Any]
) -> None:
    nodes = content["drawing"]["nodes"]
    channels = {
        Node.parse(n["name"]).index: n["embedding"]["count"] for n in nodes if "embedding" in n
    }
    assert sum(channels.values()) == circuit.embedding_edges > 0
    outs = [w["count"] for n in nodes if "unembedding" in n for w in n["unembedding"].values()]
    assert sum(outs) == circuit.unembedding_edges > 0
    dense = circuit.network.embedding.to_dense()[list(circuit.prompt_tokens)]
    for node in nodes:
        if "embedding" in node:
            column = dense[:, Node.parse(node["name"]).index]
            strongest = column[np.argmax(np.abs(column))]
            assert node["embedding"]["top"][0][1] == pytest.approx(strongest, rel=1e-3)
    reads = {node["name"] for node in nodes if node.get("embedding", {}).get("count")}
    assert links(content, "embedding") == {("tokens", name) for name in reads}


def test_examples_are_pairs_of_the_task(circuit: Circuit, content: dict[str, Any]) -> None:
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    pairs = {pair.prompt: pair for pair in Task.from_json(circuit.task).report}
    for example in content["examples"]:
        pair = pairs[example["sides"][0]["text"]]
        assert example["sides"][1]["text"] == pair.counterfactual
        answers = (pair.answer, pair.counter_answer)
        for row, side in enumerate(example["sides"]):
            assert side["ids"] == tokenizer.encode(side["text"])
            assert "".join(side["tokens"]) == side["text"]
            assert (side["wants"], side["against"]) == (answers[row], answers[1 - row])


def test_the_largest_values_are_those_of_the_lone_circuit(
    circuit: Circuit, content: dict[str, Any], encoded: EncodedTask
) -> None:
    trace = circuit.trace(encoded.report.tokens, np.float64)
    seen = np.arange(encoded.report.tokens.shape[1]) <= encoded.report.last[:, None]
    for node, largest in zip(content["drawing"]["nodes"], content["largest"], strict=True):
        name = Node.parse(node["name"])
        values = trace.sites[name.site][..., name.index][seen]
        assert largest == pytest.approx(np.abs(values).max(), rel=1e-3)


def test_examples_come_from_many_templates(circuit: Circuit, content: dict[str, Any]) -> None:
    available = {pair["template"] for pair in circuit.task["report"]}
    used = Counter(example["template"] for example in content["examples"])
    assert len(content["examples"]) == 6 and len(used) == min(6, len(available))
    assert len(page_content(circuit, examples=1000)["examples"]) == len(circuit.task["report"])
    assert page_content(circuit, examples=0)["examples"] == []
    with pytest.raises(WireworkError) as found:
        page_content(circuit, examples=-1)
    assert found.value.code == "view-examples-negative"


def test_figures_are_those_of_the_circuit(circuit: Circuit, content: dict[str, Any]) -> None:
    rows = (*content["figures"], *content["details"])
    figures = {row["label"]: row["value"] for row in rows}
    assert figures["nodes"] == str(circuit.n_nodes) and figures["edges"] == str(circuit.n_edges)
    assert figures["embedding edges"] == str(circuit.embedding_edges)
    assert figures["unembedding edges"] == str(circuit.unembedding_edges)
    assert figures["shadow weights"] == str(circuit.shadow_weights)
    assert figures["task loss"] == "0.123" and figures["accuracy"] == "97.8%"
    assert "0.31" in next(row["note"] for row in rows if row["label"] == "task loss")
    assert figures["full model"] == "0.041" and figures["ablation"] == "mean-pretraining"
    assert figures["model"] == "8f3a1c02be77, step 4,000" and figures["runs alone"] == "yes"


def test_unmeasured_figures_show_a_dash() -> None:
    figures = page_content(random_circuit(22, keep=0.3, losses={}))["figures"]
    assert {row["value"] for row in figures if row["label"] not in ("nodes", "edges")} == {"–"}


def test_a_circuit_that_needs_its_model_has_prompts_but_no_values() -> None:
    content = page_content(random_circuit(22, runs_alone=False, ablation="resample"), examples=2)
    assert "resample" in content["silent"]
    sides = content["examples"][0]["sides"]
    assert sides[0]["tokens"] and set(content["largest"]) == {0} and content["program"] is None


def test_a_report_shows_bars_passed_and_missed(circuit: Circuit) -> None:
    report = Report(
        "validation",
        {
            "faithfulness": Measure(0.97, 0.95, 0.99, 400, "higher", 0.9),
            "necessity": Measure(0.91, n=200, better="higher", bar=0.95),
            "broken": Measure(float("nan"), better="lower"),
        },
        "unfaithful",
    )
    shown = page_content(circuit, report=report, examples=0)["report"]
    assert (shown["verdict"], shown["passed"]) == ("unfaithful", False)
    assert [row["passed"] for row in shown["measures"]] == [True, False, None]
    assert shown["measures"][0]["interval"] == "0.95 to 0.99" and shown["measures"][1]["n"] == "200"
    assert shown["measures"][2]["value"] == "–"
    safe_json(shown)


def evidence_of(name: str, **changes: Any) -> dict[str, Any]:
    example = {"tokens": [f"t{i}" for i in range(60)], "values": [0.5] * 60, "position": 30}
    return {"version": 1, "nodes": {name: {"top": [{**example, **changes}], "random": []}}}


def test_evidence_is_cut_to_what_stands_around_the_peak(circuit: Circuit) -> None:
    name = nodes_at(circuit, "mlp.neuron")[0]
    shown = page_content(circuit, evidence=evidence_of(name), examples=0)["evidence"]["nodes"][name]
    (example,) = shown["top"]
    assert example["tokens"][example["position"]] == "t30" and example["cut"] == [True, True]
    assert len(example["values"]) == len(example["tokens"]) < 30


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ({}, "evidence-malformed"),
        ({"version": 5, "nodes": {}}, "evidence-malformed"),
        (evidence_of("final:0", position=60), "evidence-malformed"),
        (evidence_of("final:0", values=[1.0]), "evidence-malformed"),
        (evidence_of("final:0", tokens=None), "evidence-malformed"),
        ({"version": 1, "nodes": []}, "evidence-malformed"),
        (evidence_of("7.mlp.neuron:1"), "evidence-foreign"),
    ],
)
def test_bad_evidence_is_refused(circuit: Circuit, evidence: dict[str, Any], code: str) -> None:
    with pytest.raises(WireworkError) as found:
        page_content(circuit, evidence=evidence, examples=0)
    assert found.value.code == code


def test_positions_are_marked_where_they_come_in(circuit: Circuit) -> None:
    table = np.zeros((64, circuit.network.d_model))
    read = next(site for site in sorted(circuit.nodes) if site.kind == "attn.in")
    table[3, circuit.nodes[read][0]] = 1
    added = replace(
        circuit, network=replace(circuit.network, position="add", positions=table)
    )  # fmt: skip
    nodes = {n["name"]: n["positions"] for n in page_content(added, examples=0)["drawing"]["nodes"]}
    assert nodes[f"{read}:{circuit.nodes[read][0]}"] == 1
    assert nodes[f"{read}:{circuit.nodes[read][1]}"] == 0


def test_a_circuit_without_nodes_can_be_drawn() -> None:
    empty = random_circuit(0, keep=0.0, task=quote_task(3))
    drawing = page_content(empty)["drawing"]
    assert [column["heading"] for column in drawing["columns"]] == ["tokens", "answers"]
    assert drawing["nodes"] == [] and len(drawing["answers"]) == 2


def test_layers_have_their_own_columns(circuit: Circuit, content: dict[str, Any]) -> None:
    columns = content["drawing"]["columns"]
    assert columns[0]["heading"] == "tokens" and columns[-1]["heading"] == "answers"
    assert {c["layer"] for c in columns} == {0, 1, None}
    assert Site(None, "final") in circuit.nodes and columns[-2]["heading"] == "final"


@given(st.recursive(st.text() | st.floats(allow_nan=False, allow_infinity=False), st.lists))
def test_json_is_inert_and_complete(value: Any) -> None:
    text = safe_json(value)
    assert text.isascii() and not set("<>&") & set(text)
    assert json.loads(text) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_stored_numbers_have_four_digits(value: float) -> None:
    assert short(value) == pytest.approx(value, rel=5e-4)
    if 1e-4 < abs(value) < 1e5:
        assert len(json.dumps(short(value))) <= len("-0.0001234")


def test_numbers_that_are_none_are_stored_as_null() -> None:
    assert [short(v) for v in (float("nan"), float("inf"), 0.0, -0.0, 2.0)] == [None, None, 0, 0, 2]
