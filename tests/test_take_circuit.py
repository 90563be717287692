"""Nodes that somebody chose, or that nobody may choose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wirework.ablation import AblationConfig
from wirework.core import Node, Site, WireworkError
from wirework.discovery import DiscoveryConfig, discover, take_circuit
from wirework.discovery.alternatives import nodes_of
from wirework.planted import Planted, quote_with_decoys, twin_values

QUICK = DiscoveryConfig(
    steps=80, batch=8, coefficient=3e-3, lr=1e-2, dtype="float32", look_every=10,
    calibration_pairs=16, price_pairs=8, faithfulness=0,
)  # fmt: skip
SHARED = ("read opening", "read kind", "key", "write answer", "final answer")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


def kept(planted: Planted, config: DiscoveryConfig, *forbidden: str) -> set[Node]:
    found = discover(
        planted.checkpoint, planted.task, config=config, forbidden=planted.nodes(*forbidden)
    )
    return set(nodes_of(found))


def test_chosen_nodes_are_the_circuit_and_those_off_every_path_are_left_out(
    planted: Planted,
) -> None:
    wanted = planted.nodes(*SHARED, "value")
    more = planted.nodes("decoy neuron 0", "decoy read")
    circuit = take_circuit(planted.checkpoint, planted.task, wanted | more)
    assert nodes_of(circuit) == wanted
    assert circuit.losses["task_loss"] < 0.15
    assert circuit.losses["task_accuracy"] == 1
    assert circuit.runs_alone
    assert circuit.recipe["chosen"] == sorted(str(node) for node in wanted | more)


def test_a_forbidden_node_is_in_no_circuit() -> None:
    twins = twin_values()
    one, two = twins.parts["value"], twins.parts["value twin"]
    without_one = kept(twins, QUICK, "value")
    assert two in without_one
    assert one not in without_one
    without_two = kept(twins, QUICK, "value twin")
    assert one in without_two
    assert two not in without_two


def test_where_the_only_way_is_forbidden_no_circuit_is_found(planted: Planted) -> None:
    with pytest.raises(WireworkError, match="target-missed"):
        kept(planted, QUICK, "value")


@pytest.mark.parametrize("node", [Node(Site(7, "mlp.out"), 0), Node(Site(0, "mlp.out"), 16)])
def test_nodes_that_the_model_lacks_are_named(planted: Planted, node: Node) -> None:
    with pytest.raises(WireworkError) as caught:
        take_circuit(planted.checkpoint, planted.task, [node])
    assert caught.value.code == "node-unknown"
    assert caught.value.got == str(node)
    with pytest.raises(WireworkError, match="node-unknown"):
        discover(planted.checkpoint, planted.task, forbidden=[node])


def test_constants_that_would_have_to_be_learned_are_refused(planted: Planted) -> None:
    config = replace_ablation("optimal")
    with pytest.raises(WireworkError, match="ablation-learned"):
        take_circuit(planted.checkpoint, planted.task, planted.active, config=config)


def test_what_is_forbidden_is_written_down() -> None:
    twins = twin_values()
    task = replace(twins.task, report=twins.task.report[:10])
    found = discover(twins.checkpoint, task, config=QUICK, forbidden=twins.nodes("value"))
    assert found.recipe["forbidden"] == [str(twins.parts["value"])]


def replace_ablation(kind: str) -> DiscoveryConfig:
    return QUICK.replace(ablation=AblationConfig.parse({"kind": kind}).plain())
