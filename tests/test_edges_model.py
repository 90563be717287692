"""Edges of planted models: exact effects, what can be dropped, what validation says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from networks import dense_forward
from planted_circuits import circuit_of, fit_and_controls
from wirework.ablation import (
    PromptTensors,
    keep_of,
    lone_margins,
    site_gates,
)
from wirework.circuit import Circuit, Nodes, cut_edges, edges, extract, on_path
from wirework.core import Edge, Node, Site
from wirework.discovery import DiscoveryConfig
from wirework.discovery.bench import Bench, Candidate
from wirework.discovery.clean_up import drop_edges, drop_nodes
from wirework.explain import Evidence, edge_effects, node_effects, top_examples
from wirework.model import sparse
from wirework.model.layers import Layer
from wirework.planted import (
    Planted,
    backup_unit,
    minimal_circuits,
    quote_with_decoys,
    twin_values,
)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def report(planted: Planted) -> PromptTensors:
    encoded = planted.task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)
    return PromptTensors.of(encoded.report).first(12)


def idle(planted: Planted) -> Edge:
    """An edge between active nodes that the task does not need."""
    return Edge(planted.parts["decoy mlp"], planted.parts["decoy write mlp"])


def needed(planted: Planted) -> Edge:
    return Edge(planted.parts["read opening"], planted.parts["key"])


def masked_margins(
    planted: Planted, circuit: Circuit, prompts: PromptTensors, cut: list[Edge]
) -> tuple[float, float]:
    """Loss and mean margin of the whole model in dense float64, all but the circuit cut."""
    checkpoint = planted.checkpoint
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    gates = site_gates(keep_of(circuit.nodes, widths), checkpoint.means)
    network = replace(sparse(checkpoint.model), gates=gates)
    margins = []
    for row in range(len(prompts.last)):
        tokens = prompts.tokens[row : row + 1, : int(prompts.last[row]) + 1].numpy()
        logits = dense_forward(network, tokens, cut)[0][0, -1]
        sides = (prompts.wanted[row], prompts.other[row])
        values = [np.logaddexp.reduce(logits[side[side >= 0].numpy()]) for side in sides]
        margins.append(values[0] - values[1])
    found = np.array(margins)
    scale, shift = circuit.calibration.scale, circuit.calibration.shift
    calibrated = scale * found + shift * prompts.side.numpy()
    return float(np.logaddexp(0, -calibrated).mean()), float(found.mean())


def test_the_effect_of_an_edge_is_the_model_without_it(
    planted: Planted, report: PromptTensors
) -> None:
    circuit = circuit_of(planted, planted.active)
    effects = edge_effects(circuit, report)
    assert {effect.edge: effect.weight for effect in effects} == dict(circuit.edges())
    loss, margin = masked_margins(planted, circuit, report, [])
    for effect in effects:
        cut = masked_margins(planted, circuit, report, [effect.edge])
        assert effect.loss == pytest.approx(cut[0] - loss, abs=1e-9)
        assert effect.margin == pytest.approx(cut[1] - margin, abs=1e-9)
    assert [e.loss for e in effects] == sorted((e.loss for e in effects), reverse=True)
    by_edge = {effect.edge: effect for effect in effects}
    assert by_edge[needed(planted)].loss > 0.5
    assert by_edge[idle(planted)].loss < 0.01


def test_the_only_edge_into_a_node_is_worth_what_its_bias_leaves(
    planted: Planted, report: PromptTensors
) -> None:
    """A node whose every edge is cut stands at what its bias gives, not at its constant: the two
    effects need not agree, and edges into one that nothing reads have none."""
    circuit = circuit_of(planted, planted.active)
    by_node = node_effects(circuit, report)
    by_edge = {effect.edge: effect.margin for effect in edge_effects(circuit, report)}
    value = planted.parts["value"]
    out = next(edge for edge in by_edge if edge.source == value)
    assert by_edge[out] == pytest.approx(by_node[value], abs=1e-4)


def test_evidence_holds_the_effects_of_edges(planted: Planted, tmp_path: Path) -> None:
    circuit = circuit_of(planted, planted.active)
    windows = np.zeros((2, 8), dtype=np.int64)
    evidence = top_examples(circuit, planted.checkpoint, windows)
    assert {effect.edge for effect in evidence.edges} == {edge for edge, _ in circuit.edges()}
    evidence.save(tmp_path / "a.json")
    assert Evidence.load(tmp_path / "a.json") == evidence
    plain = json.loads((tmp_path / "a.json").read_text())
    assert set(plain["edges"][0]) == {"edge", "weight", "loss", "margin"}
    # Version 1 had none.
    del plain["edges"]
    (tmp_path / "b.json").write_text(json.dumps({**plain, "version": 1}))
    assert Evidence.load(tmp_path / "b.json") == replace(evidence, edges=())


def test_a_circuit_without_some_edges_is_validated_as_that(planted: Planted) -> None:
    cut = [idle(planted)]
    circuit = circuit_of(planted, planted.active, cut=cut)
    assert cut_edges(circuit, planted.checkpoint.sparse()) == tuple(cut)
    found = fit_and_controls(circuit, planted.checkpoint, draws=1)
    assert found["exactness"].value < 1e-9
    assert found["exactness_float32"].value < 1e-4
    assert found["task_accuracy"].value == 1
    whole = circuit_of(planted, planted.active)
    # All nodes are still there; without its edge the head does not find the quote.
    broken = circuit_of(planted, planted.active, cut=[needed(planted)])
    assert set(whole.nodes) == set(broken.nodes)
    losses = {}
    for name, one in (("whole", whole), ("broken", broken)):
        report = fit_and_controls(one, planted.checkpoint, draws=1)
        assert report["exactness"].passed
        losses[name] = report["task_loss"].value
    assert losses["whole"] < 0.05
    assert losses["broken"] > 0.5


def test_a_lie_about_an_edge_is_not_exact(planted: Planted) -> None:
    """A weight that is gone without its constant in the bias is told."""
    circuit = circuit_of(planted, planted.active)
    edge = needed(planted)
    assert edge.target.site.layer is not None
    layer = circuit.network.layers[edge.target.site.layer]
    layers = list(circuit.network.layers)
    layers[edge.target.site.layer] = replace(layer, k=layer.k.select(cols=np.zeros(
        layer.k.shape[1], dtype=np.bool_)))  # fmt: skip
    bare = replace(circuit, network=replace(circuit.network, layers=tuple(layers)))
    honest = circuit_of(planted, planted.active, cut=[edge])
    assert bare.edges() == honest.edges()
    assert not fit_and_controls(bare, planted.checkpoint, draws=1)["exactness"].passed


def bench_of(planted: Planted, **options: object) -> Bench:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return Bench.of(checkpoint, encoded, DiscoveryConfig.parse(dict(options)))


def all_active(planted: Planted, bench: Bench) -> Candidate:
    keep = keep_of({}, bench.widths)
    for node in planted.active:
        keep[node.site][node.index] = True
    return bench.measure(keep)


def test_a_node_that_only_adds_a_constant_can_be_spared() -> None:
    """What it adds goes into the next shift, so its price must not be what the old one lost."""
    planted = backup_unit().under("zero")
    truth = min(minimal_circuits(planted, 0.15), key=len)
    bench = bench_of(planted, faithfulness=0, ablation={"kind": "zero"})
    keep = keep_of({}, bench.widths)
    for node in (*truth, planted.parts["write backup"]):
        keep[node.site][node.index] = True
    found = bench.measure(keep)
    assert found.meets_target
    assert nodes_of(found.nodes) == {*truth, planted.parts["write backup"]}
    assert bench.weigh(found, planted.parts["write backup"]).bearable
    assert nodes_of(drop_nodes(bench, found).nodes) == truth


def test_edges_are_dropped_until_all_that_is_left_matters(spare: Planted) -> None:
    bench = bench_of(spare, target_loss=0.1, faithfulness=0.3)
    begin = all_active(spare, bench)
    assert begin.meets_target
    found, drops = drop_edges(bench, begin)
    assert found.meets_target
    small = Edge(spare.parts["read kind"], spare.parts["key"])
    assert small in {edge for edge, _ in edges(begin.lone, begin.nodes)}
    assert found.cut == {small}
    # Every drop starts where the last one ended.
    prices = [bench.price(begin), *(drop.after for drop in drops)]
    assert [drop.before for drop in drops] == prices[:-1]
    assert prices[-1] == bench.price(found)
    assert needed(spare) in {edge for edge, _ in edges(found.lone, found.nodes)}
    # One of the two values falls off every path.
    fallen = {node for drop in drops for node in drop.nodes}
    assert nodes_of(begin.nodes) - nodes_of(found.nodes) == fallen
    assert len(fallen & {spare.parts["value"], spare.parts["value twin"]}) == 1
    assert on_path(found.lone, found.nodes) == found.nodes
    # Nothing else can go.
    for edge, _ in edges(found.lone, found.nodes):
        assert not bench.measure(found.keep, found.cut | {edge}).meets_target
    again, more = drop_edges(bench, found)
    assert again is found
    assert more == ()
    assert json.loads(json.dumps([drop.to_json() for drop in drops]))[0]["before"] == prices[0]
    repeated, same = drop_edges(bench, begin)
    assert same == drops
    assert repeated.cut == found.cut


@pytest.fixture(scope="module")
def spare() -> Planted:
    """Two values that do the same, of which one is enough, and a small weight into the key."""
    planted = twin_values()
    parts = planted.parts
    layer = planted.checkpoint.model.layers[0]
    assert isinstance(layer, Layer)
    key = layer.attn.qkv.weight.data.chunk(3)[1]
    key[parts["key"].index, parts["read kind"].index] = 0.02
    return planted


def nodes_of(nodes: Nodes) -> set[Node]:
    return {Node(site, index) for site, found in nodes.items() for index in found}


def test_the_limit_of_faithfulness_holds_for_edges_too(spare: Planted) -> None:
    strict = bench_of(spare, target_loss=0.1, faithfulness=0.9)
    begin = all_active(spare, strict)
    found, _ = drop_edges(strict, begin)
    assert found.margin >= strict.least_margin
    # With one of the two values half of the margin would go.
    assert {spare.parts["value"], spare.parts["value twin"]} <= nodes_of(found.nodes)
    loose, _ = drop_edges(bench_of(spare, target_loss=0.1, faithfulness=0.3), begin)
    assert loose.edges < found.edges
    assert loose.margin < strict.least_margin


def test_cut_edges_stay_cut_when_nodes_are_dropped(planted: Planted) -> None:
    bench = bench_of(planted, target_loss=0.1, faithfulness=0.5)
    begin = all_active(planted, bench)
    edge = idle(planted)
    one = bench.measure(begin.keep, {edge})
    assert one.cut <= {edge}
    found = drop_nodes(bench, one)
    assert edge not in {edge for edge, _ in edges(found.lone, found.nodes)}


def test_a_measured_candidate_is_the_circuit_without_its_edges(planted: Planted) -> None:
    bench = bench_of(planted)
    begin = all_active(planted, bench)
    present = [edge for edge, _ in edges(begin.lone, begin.nodes)]
    found = bench.measure(begin.keep, present[:2])
    gates = site_gates(found.keep, planted.checkpoint.means)
    lone = extract(planted.checkpoint.sparse(), gates, bench.answers, found.cut)
    ours = lone_margins(found.lone, bench.select, np.float64)
    np.testing.assert_array_equal(ours, lone_margins(lone, bench.select, np.float64))
    assert not {edge for edge, _ in edges(found.lone, found.nodes)} & set(present[:2])
    assert torch.isfinite(torch.from_numpy(ours)).all()
    assert Site(None, "final") in found.nodes or len(found) == 0
