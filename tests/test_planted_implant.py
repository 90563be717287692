"""Planted models inside a model that was trained on Python text."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch

import wirework
from test_planted import ABLATIONS, TARGET, Builder, plain_test, search
from wirework.ablation import PromptTensors, score
from wirework.core import Node, WireworkError
from wirework.core.names import EDGE_BLOCKS
from wirework.model import Checkpoint
from wirework.planted import (
    Planted,
    bracket_depth,
    close_quote,
    copy_previous,
    implant,
    induction,
    minimal_circuits,
    recovery,
    set_or_string,
)
from wirework.tasks import Task

HOST = "reference/v1-sparse-small"
BUILDERS = (bracket_depth, copy_previous, induction, set_or_string)
EACH_ABLATION = pytest.mark.parametrize("ablation", ABLATIONS)


@cache
def host() -> Checkpoint:
    loaded: Checkpoint = wirework.load(HOST)
    return loaded


@cache
def implanted(builder: Builder, seed: int = 0) -> Planted:
    return implant(host(), builder(seed=seed))


def accuracy(checkpoint: Checkpoint, task: Task) -> float:
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return score(checkpoint.model, PromptTensors.of(encoded.report)).accuracy


def same_parts(planted: Planted, alone: Planted, ablation: str) -> bool:
    """Whether both have the same minimal circuits, by the names of their parts."""
    found = []
    for model in (planted.under(ablation), alone.under(ablation)):
        names = {node: name for name, node in model.parts.items()}
        truth = minimal_circuits(model, TARGET)
        found.append({frozenset(names[node] for node in nodes) for nodes in truth})
    return found[0] == found[1] != set()


@pytest.mark.parametrize("builder", BUILDERS)
def test_it_does_its_task_amid_the_host(builder: Builder) -> None:
    planted = implanted(builder)
    assert accuracy(planted.checkpoint, planted.task) >= 0.97
    assert planted.others == "cut" and len(planted.active) <= 20
    assert host().config.d_model < min(n.index for n in planted.parts.values() if is_read(n))


def is_read(node: Node) -> bool:
    return node.site.kind in ("attn.in", "mlp.in", "final")


def test_the_host_alone_does_not_do_it_and_keeps_what_it_could() -> None:
    planted = implanted(bracket_depth)
    assert accuracy(host(), planted.task) < 0.9
    for name in ("python/if_equals", "python/single_double_quote", "python/indent_for"):
        task = wirework.task(name)
        before, after = accuracy(host(), task), accuracy(planted.checkpoint, task)
        assert abs(before - after) < 0.02


def test_no_weight_joins_the_two() -> None:
    planted = implanted(induction)
    width = host().config.d_model
    network = planted.checkpoint.sparse()
    bounds = {"attn.q": 128, "attn.k": 128, "attn.v": 128, "mlp.neuron": 512}
    assert (host().config.d_attn, host().config.d_mlp) == (128, 512)
    for layer in network.layers:
        for source, target in EDGE_BLOCKS:
            matrix = layer.into(target)
            reads = matrix.indices < planted.checkpoint.config.width(source)
            of_host = matrix.indices[reads] < bounds.get(source, width)
            into_host = matrix.row_of[reads] < bounds.get(target, width)
            assert (of_host == into_host).all() and of_host.any()


@EACH_ABLATION
def test_the_truth_is_that_of_the_model_alone(ablation: str) -> None:
    assert same_parts(implanted(bracket_depth), bracket_depth(), ablation)


@pytest.mark.long
def test_with_the_host_kept_the_truth_is_the_same() -> None:
    planted = implanted(bracket_depth)
    (nodes,) = minimal_circuits(planted, TARGET)
    assert minimal_circuits(replace(planted, others="kept"), TARGET) == [nodes]


@EACH_ABLATION
def test_it_is_minimal_in_the_whole_model(ablation: str) -> None:
    planted = implanted(bracket_depth).under(ablation)
    (nodes,) = minimal_circuits(planted, TARGET)
    meets = plain_test(planted)
    assert meets(nodes)
    assert not any(meets(nodes - {node}) for node in nodes)


@pytest.mark.long
@pytest.mark.parametrize("builder", BUILDERS)
@EACH_ABLATION
def test_other_truths_are_those_of_the_models_alone(builder: Builder, ablation: str) -> None:
    assert same_parts(implanted(builder), builder(), ablation)


@pytest.mark.long
@EACH_ABLATION
def test_discovery_recovers_it_amid_the_host(ablation: str) -> None:
    discovers(bracket_depth, ablation)


def discovers(builder: Builder, ablation: str) -> None:
    planted = implanted(builder).under(ablation)
    truth = minimal_circuits(planted, TARGET)
    result = recovery(planted, truth, search(planted, seed=0))
    assert result.exact and result.edges_exact
    assert result.node_auroc == result.edge_auroc == 1


def test_a_host_that_is_too_small_or_reads_otherwise_is_refused() -> None:
    small = bracket_depth().checkpoint
    with pytest.raises(WireworkError) as caught:
        implant(small, induction())
    assert caught.value.code == "implant-unfit"
    with pytest.raises(WireworkError) as caught:
        implant(host(), close_quote())
    assert caught.value.code == "implant-tokens"


def test_a_task_that_gets_lost_is_refused() -> None:
    planted = bracket_depth()
    model = planted.checkpoint.model
    with torch.no_grad():
        model.unembedding.weight.zero_()
    with pytest.raises(WireworkError) as caught:
        implant(host(), planted)
    assert caught.value.code == "implant-drowned"
