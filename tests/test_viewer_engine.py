"""The circuit runs in the page: in Chromium it computes what the Python engine computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page

from browser import visit
from circuits import ANSWERS, small_circuit
from networks import (
    Array,
    Switches,
    dense_forward,
    nodes_of,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from page_engine import open_modules, run_engine, start_engine
from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit, every_node, extract, without_edges, without_node
from wirework.core import Edge, Node, Site
from wirework.data import Tokenizer
from wirework.engine import Network, Trace, forward
from wirework.viewer import export_page
from wirework.viewer.content import page_content
from wirework.viewer.program import program

SETS = {"seven": (7,), "others": (2, 4)}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Page:
    return open_modules(browser)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["def f(x):\n    return x\n"] * 3, 262)


@pytest.fixture(scope="module")
def quotes() -> Circuit:
    return random_circuit(22, keep=0.32)


def lone_circuit(want: Switches, seed: int, before: bool, tokenizer: Tokenizer) -> Circuit:
    network = random_network(want)
    gates = random_gates(network, seed, every=True, before=before)
    alone = extract(network, gates, ANSWERS)
    return small_circuit(want, nodes=nodes_of(alone), network=alone, tokenizer=tokenizer.to_json())


def python_run(
    network: Network, tokens: NDArray[np.int64], interventions: Mapping[str, Any]
) -> Trace:
    """The same interventions in the Python engine."""
    nodes = {Node.parse(name): what for name, what in interventions.get("nodes", {}).items()}
    ablated = {node for node, what in nodes.items() if what["kind"] == "ablate"}
    edges = [Edge.parse(name) for name in interventions.get("edges", [])]
    network = without_edges(network, [e for e in edges if not {e.source, e.target} & ablated])
    for node in ablated:
        network = without_node(network, node)
    changes: dict[Site, Any] = {}
    for node, what in nodes.items():
        if node not in ablated:
            changes[node.site] = changed(changes.get(node.site), node.index, what)
    return forward(network, tokens, dtype=np.float64, record=True, replace=changes)


def changed(before: Any, index: int, what: Mapping[str, Any]) -> Any:
    def change(x: Array) -> Array:
        y: Array = (x if before is None else before(x)).copy()
        y[..., index] = what["value"] if "value" in what else y[..., index] * what["factor"]
        return y

    return change


def gap(circuit: Circuit, trace: Trace, found: Mapping[str, Any]) -> float:
    """The largest difference of a logit, a node, an attention weight or a margin, relative to the
    range of the logits and to the largest value of what is compared."""
    logits = trace.logits[0]
    scale = circuit.calibration
    sides = [np.logaddexp.reduce(logits[:, columns], axis=1) for columns in ([0], [1, 2])]
    margin = scale.scale * (sides[0] - sides[1])
    pairs = [
        (found["logits"], logits),
        *zip(found["margins"], (margin + scale.shift, -margin - scale.shift), strict=True),
    ]
    for node, values in zip(every_node(circuit.nodes), found["nodes"], strict=True):
        pairs.append((values, trace.sites[node.site][0, :, node.index]))
    heads = [weights for layer in trace.attention.values() for weights in layer[0]]
    pairs += [(a, b.reshape(-1)) for a, b in zip(found["attention"], heads, strict=True)]
    return max(
        float(np.abs(np.asarray(a) - b).max() / max(1e-3, np.ptp(logits), np.abs(b).max()))
        for a, b in pairs
    )


def page_run(
    page: Page, circuit: Circuit, ids: list[int], interventions: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    network = circuit.network
    heads = [(i, h) for i in range(len(network.layers)) for h in range(network.n_head)]
    sets = [("seven", "others", 0), ("others", "seven", 1)]
    return run_engine(page, ids, interventions, heads=heads, sets=sets)


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1), st.booleans())
def test_the_page_computes_what_the_engine_computes(
    page: Page, tokenizer: Tokenizer, want: Switches, seed: int, before: bool
) -> None:
    circuit = lone_circuit(want, seed, before, tokenizer)
    start_engine(page, program(circuit, SETS) or {})
    for row in random_tokens(want)[:2]:
        ids = row[: 1 + int(seed % len(row))]
        found = page_run(page, circuit, ids.tolist())
        trace = forward(circuit.network, ids[None], dtype=np.float64, record=True)
        assert gap(circuit, trace, found) < 1e-9


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1), st.booleans())
def test_interventions_do_what_they_do_in_the_engine(
    page: Page, tokenizer: Tokenizer, want: Switches, seed: int, before: bool
) -> None:
    circuit = lone_circuit(want, seed, before, tokenizer)
    start_engine(page, program(circuit, SETS) or {})
    random = np.random.default_rng([seed, 5])
    kinds: list[Any] = [
        lambda: {"kind": "ablate"},
        lambda: {"kind": "clamp", "value": float(random.normal())},
        lambda: {"kind": "scale", "factor": float(random.normal())},
    ]
    for share in (0.1, 0.4):
        nodes = [str(node) for node in every_node(circuit.nodes) if random.random() < share]
        asked = {
            "nodes": {name: kinds[random.integers(3)]() for name in nodes},
            "edges": [str(edge) for edge, _ in circuit.edges() if random.random() < share],
        }
        ids = random_tokens(want)[:1]
        found = page_run(page, circuit, ids[0].tolist(), asked)
        assert gap(circuit, python_run(circuit.network, ids, asked), found) < 1e-9


@settings(max_examples=25)
@given(switches(), st.integers(0, 2**32 - 1), st.booleans())
def test_what_is_cut_in_the_page_is_cut_in_the_whole_model(
    page: Page, tokenizer: Tokenizer, want: Switches, seed: int, before: bool
) -> None:
    """Against plain numpy: the whole network, with gates, without the cut nodes and edges."""
    network = random_network(want)
    gates = random_gates(network, seed, every=True, before=before)
    circuit = lone_circuit(want, seed, before, tokenizer)
    start_engine(page, program(circuit, SETS) or {})
    random = np.random.default_rng([seed, 6])
    ablated = [node for node in every_node(circuit.nodes) if random.random() < 0.15]
    edges = [edge for edge, _ in circuit.edges() if random.random() < 0.15]
    for node in ablated:
        keep = gates[node.site].keep.copy()
        keep[node.index] = False
        gates[node.site] = replace(gates[node.site], keep=keep)
    cut = [e for e in edges if e.source not in ablated and e.target not in ablated]
    tokens = random_tokens(want)[:1]
    wanted = dense_forward(replace(network, gates=gates), tokens, cut)[0][0][:, ANSWERS]
    asked = {
        "nodes": {str(node): {"kind": "ablate"} for node in ablated},
        "edges": [str(edge) for edge in edges],
    }
    found = run_engine(page, tokens[0].tolist(), asked)
    assert np.abs(np.array(found["logits"]) - wanted).max() <= 1e-9 * max(1.0, np.ptp(wanted))


def test_every_edge_and_every_node_alone(page: Page, quotes: Circuit) -> None:
    start_engine(page, page_content(quotes)["program"])
    task = quote_task(1)
    ids = Tokenizer.from_json(quotes.tokenizer).encode(task.report[0].prompt)
    asked: list[dict[str, Any]] = [{"edges": [str(edge)]} for edge, _ in quotes.edges()]
    asked += [{"nodes": {str(n): {"kind": "ablate"}}} for n in every_node(quotes.nodes)]
    found = page.evaluate(
        "([ids, all]) => all.map((one) => {"
        "  const run = engine.run(Int32Array.from(ids), one);"
        "  return ids.map((_, t) => Array.from(run.logits(t))); })",
        [ids, asked],
    )
    whole = quotes.logits(np.array([ids]), np.float64)[0]
    moved = 0
    for one, logits in zip(asked, found, strict=True):
        wanted = python_run(quotes.network, np.array([ids]), one).logits[0]
        assert np.abs(np.array(logits) - wanted).max() <= 1e-9 * np.ptp(whole)
        moved += bool(np.abs(wanted - whole).max() > 1e-3)
    assert moved > len(asked) / 4


def test_what_matters_is_what_a_cut_takes_away(page: Page, quotes: Circuit) -> None:
    content = page_content(quotes)
    start_engine(page, content["program"])
    nodes = every_node(quotes.nodes)
    asked = {
        "nodes": {str(nodes[3]): {"kind": "scale", "factor": 2}, str(nodes[9]): {"kind": "ablate"}}
    }
    ids = content["examples"][0]["sides"][0]["ids"]
    wants, against = list(content["program"]["answers"])[:2]
    position = len(ids) - 3
    slices = page.evaluate(
        "async ([ids, ...rest]) => { const all = [];"
        " for await (const one of engine.effects(Int32Array.from(ids), ...rest))"
        "   all.push({ ...one, effects: Array.from(one.effects) });"
        " return all; }",
        [ids, position, wants, against, asked],
    )
    assert slices[-1]["done"] == slices[-1]["total"] == len(nodes)
    answers = list(content["program"]["answers"].values())[:2]

    def margin(interventions: Mapping[str, Any]) -> float:
        logits = python_run(quotes.network, np.array([ids]), interventions).logits[0, position]
        sides = [np.logaddexp.reduce(logits[columns]) for columns in answers]
        return float(quotes.calibration.scale * (sides[0] - sides[1]))

    base = margin(asked)
    for index, node in enumerate(nodes):
        less = {"nodes": {**asked["nodes"], str(node): {"kind": "ablate"}}}
        assert slices[-1]["effects"][index] == pytest.approx(base - margin(less), abs=1e-9)
    assert slices[-1]["effects"][9] == 0


def test_scores_are_sums_over_channels(page: Page, quotes: Circuit) -> None:
    start_engine(page, page_content(quotes)["program"])
    ids = Tokenizer.from_json(quotes.tokenizer).encode(quote_task(1).report[0].prompt)
    trace = quotes.trace(np.array([ids]), np.float64)
    names = [str(node) for node in every_node(quotes.nodes)]
    width, query, key = quotes.network.d_head, len(ids) - 1, 1
    for layer, head in ((0, 0), (1, 2)):
        items = page.evaluate(
            "([ids, ...at]) => engine.run(Int32Array.from(ids)).scores(...at)",
            [ids, layer, head, query, key],
        )
        mine = slice(head * width, (head + 1) * width)
        q, k = (trace.sites[Site(layer, f"attn.{name}")][0] for name in "qk")
        whole = float(q[query, mine] @ k[key, mine]) / np.sqrt(width)
        assert sum(item["product"] for item in items) == pytest.approx(whole, abs=1e-12)
        sizes = [abs(item["product"]) for item in items]
        assert sizes == sorted(sizes, reverse=True)
        shown = [item for item in items if "channel" in item]
        assert len(shown) + sum(item.get("held", 0) for item in items) == width
        for item in shown:
            assert item["query"] == pytest.approx(q[query, item["channel"]])
            assert item["key"] == pytest.approx(k[key, item["channel"]])
            for side, place in (("queryNode", "attn.q"), ("keyNode", "attn.k")):
                name = f"{layer}.{place}:{item['channel']}"
                assert (name in names) == (item[side] is not None)
                assert item[side] is None or names[item[side]] == name


@pytest.mark.parametrize(
    ("ids", "interventions", "code"),
    [
        ([], {}, "prompt-empty"),
        ([1] * 7, {}, "prompt-too-long"),
        ([9], {}, "token-unknown"),
        ([-1], {}, "token-unknown"),
        ([1], {"nodes": {"0.mlp.in:999": {"kind": "ablate"}}}, "node-absent"),
        ([1], {"nodes": {"constructor": {"kind": "ablate"}}}, "node-absent"),
        ([1], {"nodes": {"NODE": {"kind": "dance"}}}, "intervention-malformed"),
        ([1], {"nodes": {"NODE": {"kind": "clamp", "value": None}}}, "intervention-malformed"),
        ([1], {"nodes": {"NODE": {"kind": "scale", "factor": "2"}}}, "intervention-malformed"),
        ([1], {"edges": ["NODE -> NODE"]}, "edge-absent"),
        ([1], {"edges": ["nonsense"]}, "edge-absent"),
    ],
)
def test_what_cannot_be_done_is_told(
    page: Page, tokenizer: Tokenizer, ids: list[int], interventions: Any, code: str
) -> None:
    circuit = small_circuit(tokenizer=tokenizer.to_json())
    start_engine(page, program(circuit, SETS) or {})
    name = str(every_node(circuit.nodes)[0])
    named = {
        "nodes": {name if k == "NODE" else k: v for k, v in interventions.get("nodes", {}).items()},
        "edges": [edge.replace("NODE", name) for edge in interventions.get("edges", [])],
    }
    found = page.evaluate(
        "([ids, asked]) => { try { engine.run(Int32Array.from(ids), asked); return 'ran'; }"
        " catch (error) { return error.code; } }",
        [ids, named],
    )
    assert found == code


def test_the_page_of_a_circuit_has_its_engine(
    browser: Browser, quotes: Circuit, tmp_path: Path
) -> None:
    export_page(tmp_path / "quote.html", quotes)
    with visit(browser, tmp_path / "quote.html") as opened:
        opened.page.wait_for_selector("html[data-engine=ready]", state="attached")
        text = quote_task(1).report[0].prompt
        found = opened.page.evaluate(
            "async (text) => {"
            " const engine = await document.getElementById('page').state.engine;"
            " const { ids } = engine.tokenize(text);"
            " return { ids: Array.from(ids), logits: Array.from(engine.run(ids).logits(0)),"
            "          nodes: engine.nodes }; }",
            text,
        )
        assert opened.fetched == [] and opened.complaints == []
    ids = Tokenizer.from_json(quotes.tokenizer).encode(text)
    assert found["ids"] == ids
    assert found["nodes"] == [str(node) for node in every_node(quotes.nodes)]
    wanted = quotes.logits(np.array([ids]), np.float64)[0, 0]
    np.testing.assert_allclose(found["logits"], wanted, rtol=0, atol=1e-9)


def test_a_circuit_that_needs_its_model_has_no_engine(browser: Browser, tmp_path: Path) -> None:
    circuit = random_circuit(22, keep=0.32, runs_alone=False, ablation="resample")
    assert page_content(circuit)["program"] is None
    export_page(tmp_path / "quote.html", circuit)
    with visit(browser, tmp_path / "quote.html") as opened:
        opened.page.wait_for_selector("html[data-engine=none]", state="attached")
        assert opened.complaints == []
