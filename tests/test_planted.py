"""Planted models do their task; enumeration finds their circuits; discovery finds the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from wirework.ablation import PromptTensors, all_margins, keep_of, keep_taps, margins, score
from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.discovery import DiscoveryConfig, discover
from wirework.model import Taps
from wirework.planted import (
    Planted,
    active_nodes,
    close_quote,
    copy_previous,
    minimal_circuits,
    quote_with_decoys,
    twin_values,
)

TARGET = 0.15
# The truth asks for the loss alone.
SEARCH = DiscoveryConfig(target_loss=TARGET, faithfulness=0, steps=50, lr=2e-2, dtype="float32")
"""One setting for all models."""

Builder = Callable[..., Planted]

# What each minimal circuit is made of. Queries of the quote models are constants: not needed.
LETTERS = [
    "query 0", "query 1", "key 0", "key 1", "read x", "read y", "value x", "value y",
    "write x", "write y", "final x", "final y",
]  # fmt: skip
QUOTE = ["read opening", "read kind", "key", "value", "write answer", "final answer"]
CIRCUITS: dict[Builder, list[list[str]]] = {
    copy_previous: [LETTERS],
    close_quote: [[*QUOTE, "read double", "neuron", "write kind"]],
    quote_with_decoys: [QUOTE],
    twin_values: [QUOTE, [*(name for name in QUOTE if name != "value"), "value twin"]],
}
BUILDERS = pytest.mark.parametrize("builder", CIRCUITS, ids=lambda builder: builder.__name__)


def truth(builder: Builder, planted: Planted) -> set[frozenset[Node]]:
    return {planted.nodes(*names) for names in CIRCUITS[builder]}


def nodes_of(circuit: Circuit) -> frozenset[Node]:
    return frozenset(Node(site, index) for site, held in circuit.nodes.items() for index in held)


@BUILDERS
@pytest.mark.parametrize("seed", range(3))
def test_the_model_does_its_task(builder: Builder, seed: int) -> None:
    planted = builder(seed=seed)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    for part in (encoded.fit, encoded.select, encoded.report):
        result = score(checkpoint.model, PromptTensors.of(part))
        assert result.loss < 0.012
        assert result.accuracy == 1


@BUILDERS
def test_most_weights_are_zero_and_abstopk_is_on(builder: Builder) -> None:
    planted = builder()
    config = planted.checkpoint.config
    assert config.kept("attn.in") == config.d_model // 4
    nonzero = sum(int((m.weight != 0).sum()) for m in planted.checkpoint.model.projected()
                  if m.group == "block")  # fmt: skip
    total = sum(m.weight.numel() for m in planted.checkpoint.model.projected())
    assert nonzero < 0.02 * total


@BUILDERS
def test_enumeration_finds_every_minimal_circuit(builder: Builder) -> None:
    planted = builder()
    found = minimal_circuits(planted, TARGET)
    assert len(found) == len(set(found))
    assert set(found) == truth(builder, planted)


@BUILDERS
@pytest.mark.parametrize("seed", range(3))
def test_discovery_recovers_a_minimal_circuit(builder: Builder, seed: int) -> None:
    planted = builder(seed=seed)
    circuit = discover(planted.checkpoint, planted.task, config=SEARCH, seed=seed)
    found = nodes_of(circuit)
    assert found in truth(builder, planted)
    assert circuit.graph().edges == planted.edges_between(found)
    assert circuit.ablation == planted.ablation
    assert circuit.losses["task_loss"] <= TARGET


@pytest.mark.parametrize("builder", [copy_previous, close_quote, quote_with_decoys])
def test_gates_alone_find_a_unique_circuit(builder: Builder) -> None:
    planted = builder(seed=3)
    config = SEARCH.replace(clean_up=False)
    circuit = discover(planted.checkpoint, planted.task, config=config, seed=3)
    assert nodes_of(circuit) in truth(builder, planted)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 3))
@BUILDERS
def test_the_truth_is_the_same_for_other_seeds_and_wider_models(
    builder: Builder, seed: int
) -> None:
    planted = builder(seed=seed, size=24)
    assert set(minimal_circuits(planted, TARGET)) == truth(builder, planted)


def test_a_found_circuit_holds_no_decoy() -> None:
    planted = quote_with_decoys(decoys=3, seed=5)
    circuit = discover(planted.checkpoint, planted.task, config=SEARCH, seed=5)
    decoys = {node for name, node in planted.parts.items() if name.startswith("decoy")}
    assert len(decoys) == 3 + 3 + 2 + 2 + 1
    assert not decoys & nodes_of(circuit)


def test_decoys_are_active_and_the_unread_ones_are_left_out_of_the_enumeration() -> None:
    planted = quote_with_decoys()
    checkpoint, parts = planted.checkpoint, planted.parts
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    trace = _record(planted, PromptTensors.of(encoded.report))
    for name in ("decoy value 0", "decoy neuron 0", "decoy attn", "decoy mlp"):
        node = parts[name]
        assert trace[node.site][..., node.index].std() > 0.1
    assert parts["decoy attn"] in planted.active
    assert parts["decoy write mlp"] in planted.active
    assert parts["decoy value 0"] not in planted.active
    assert parts["decoy neuron 0"] not in planted.active
    assert active_nodes(checkpoint, planted.task) == planted.active


def _record(planted: Planted, prompts: PromptTensors) -> dict[Site, torch.Tensor]:
    taps = Taps(record=planted.checkpoint.means)
    with torch.no_grad():
        planted.checkpoint.model.read_out(prompts.tokens, taps)
    return taps.values


@BUILDERS
def test_cutting_nodes_that_are_not_active_changes_no_number(builder: Builder) -> None:
    planted = builder(seed=1)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.report)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    random = np.random.default_rng(0)
    for _ in range(8):
        keep = {site: np.ones(width, dtype=np.bool_) for site, width in widths.items()}
        for node in planted.active:
            keep[node.site][node.index] = random.random() < 0.7
        fewer = {site: mask.copy() for site, mask in keep.items()}
        for site, mask in fewer.items():
            for index in range(len(mask)):
                if Node(site, index) not in planted.active:
                    mask[index] &= random.random() < 0.5
        with torch.no_grad():
            before, after = (
                margins(checkpoint.model, prompts, keep_taps(masks, checkpoint.means)())
                for masks in (keep, fewer)
            )
        assert torch.equal(before, after)


def test_enumeration_agrees_with_measuring_single_sets_as_discovery_does() -> None:
    planted = twin_values(seed=2)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    select = PromptTensors.of(encoded.select)

    def loss(nodes: frozenset[Node]) -> float:
        masks = keep_of({}, widths)
        for node in nodes:
            masks[node.site][node.index] = True
        taps = keep_taps(masks, checkpoint.means)
        return float(torch.nn.functional.softplus(
            -all_margins(checkpoint.model, select, taps)).mean())  # fmt: skip

    for found in minimal_circuits(planted, TARGET):
        assert loss(found) < TARGET
        assert all(loss(found - {node}) > TARGET for node in found)


def test_a_larger_target_needs_fewer_nodes() -> None:
    planted = copy_previous()
    assert minimal_circuits(planted, 0.7) == [frozenset()]


def test_too_many_active_nodes_are_refused() -> None:
    planted = quote_with_decoys()
    crowded = Planted(
        **{**vars(planted), "active": tuple(Node.parse(f"0.mlp.neuron:{i}") for i in range(15))}
    )
    with pytest.raises(WireworkError, match="at most 14") as caught:
        minimal_circuits(crowded, TARGET)
    assert caught.value.code == "truth-too-large"


@BUILDERS
def test_equal_seeds_give_equal_models_and_other_seeds_other_places(builder: Builder) -> None:
    make = partial(builder, size=32)
    assert make(seed=3).checkpoint.hash() == make(seed=3).checkpoint.hash()
    assert make(seed=3).parts != make(seed=4).parts
