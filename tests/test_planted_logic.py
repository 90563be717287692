"""Planted logic: the models do their tasks, and enumeration and search find what was planted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wirework.ablation import PromptTensors, TaskScore, keep_taps, score
from wirework.core import Node
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.alternatives import nodes_of
from wirework.planted import (
    Planted,
    backup_unit,
    both_present,
    cancelling_pair,
    either_unit,
    leaning_pair,
    majority,
    minimal_circuits,
    one_of_two,
)
from wirework.tasks import Prompts
from wirework.tasks.check import check_task

TARGET = 0.15
# The truth asks for the loss alone.
SEARCH = DiscoveryConfig(target_loss=TARGET, faithfulness=0, steps=50, lr=2e-2, dtype="float32")

Builder = Callable[..., Planted]

# What each minimal circuit is made of, but for queries, which are constants.
COUNT = [
    "read first", "read second", "key first", "key second", "value first", "value second",
    "write count", "read count", "write answer", "final answer",
]  # fmt: skip
FOUND = ["read mark", "read kind", "final answer"]
FIRST = [*FOUND, "key one", "value one", "write answer"]
SECOND = [*FOUND, "key two", "value two", "write answer"]
CIRCUITS: dict[Builder, list[list[str]]] = {
    both_present: [[*COUNT, "neuron"]],
    one_of_two: [[*COUNT, "neuron any", "neuron both"]],
    majority: [
        ["read left", "read right", "value left", "value right", "write lead", "final answer"]
    ],
    either_unit: [FIRST, SECOND],
    backup_unit: [
        [*FOUND, "key", "value answer", "write answer"],
        [*FOUND, "key", "value spare", "write spare", "read spare", "backup", "write backup"],
    ],
    cancelling_pair: [[*FOUND, "key", "value", "write answer"]],
    leaning_pair: [[*FOUND, "key", "value", "write answer"]],
}
BUILDERS = pytest.mark.parametrize("builder", CIRCUITS, ids=lambda builder: builder.__name__)
ABLATIONS = pytest.mark.parametrize("ablation", ["mean-pretraining", "zero", "resample"])
SIZES = pytest.mark.parametrize(
    ("size", "seed"),
    [(16, 0), *(pytest.param(*one, marks=pytest.mark.long) for one in [(24, 1), (256, 2)])],
)


def truth(builder: Builder, planted: Planted) -> set[frozenset[Node]]:
    circuits = CIRCUITS[builder]
    if planted.ablation == "zero":
        circuits = [[*names, *queries(names)] for names in circuits]
    elif planted.ablation == "resample" and builder is either_unit:
        # The head that is cut says the answer of the other prompt: neither can be spared.
        circuits = [list({*FIRST, *SECOND})]
    return {planted.nodes(*names) for names in circuits}


def queries(names: list[str]) -> list[str]:
    return [name.replace("key", "query") for name in names if name.startswith("key")]


def splits(planted: Planted) -> list[Prompts]:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return [encoded.fit, encoded.select, encoded.report]


def without(planted: Planted, *names: str) -> TaskScore:
    """The model on `report` with some parts at their means."""
    means = planted.checkpoint.means
    keep = {site: np.ones(len(mean), dtype=np.bool_) for site, mean in means.items()}
    for name in names:
        node = planted.parts[name]
        keep[node.site][node.index] = False
    prompts = PromptTensors.of(splits(planted)[-1])
    return score(planted.checkpoint.model, prompts, keep_taps(keep, means))


@BUILDERS
@SIZES
def test_the_model_does_its_task(builder: Builder, size: int, seed: int) -> None:
    planted = builder(size=size, seed=seed)
    for part in splits(planted):
        result = score(planted.checkpoint.model, PromptTensors.of(part))
        assert result.accuracy == 1
        assert result.margins.min() > 4
        assert max(result.by_template().values()) < 0.012
    assert "long" in planted.task.report_only


@BUILDERS
def test_sides_are_equally_long_and_end_alike(builder: Builder) -> None:
    planted = builder(seed=1)
    checkpoint = planted.checkpoint
    assert check_task(planted.task, checkpoint.tokenizer, checkpoint.config.context) == []


@ABLATIONS
@BUILDERS
def test_enumeration_finds_what_was_planted(builder: Builder, ablation: str) -> None:
    planted = builder().under(ablation)
    assert set(minimal_circuits(planted, TARGET)) == truth(builder, planted)
    assert set(planted.active) <= set(planted.parts.values())


@pytest.mark.long
@pytest.mark.parametrize(("size", "seed"), [(16, 1), (64, 2), (256, 3)])
@ABLATIONS
@BUILDERS
def test_the_truth_is_the_same_for_other_seeds_and_sizes(
    builder: Builder, ablation: str, size: int, seed: int
) -> None:
    planted = builder(size=size, seed=seed).under(ablation)
    assert set(minimal_circuits(planted, TARGET)) == truth(builder, planted)


def found_in(planted: Planted, seed: int) -> frozenset[Node]:
    """What the search ends at, with all weights planted in it."""
    config = SEARCH.replace(ablation=planted.config.plain())
    circuit = discover(planted.checkpoint, planted.task, config=config, seed=seed)
    found = nodes_of(circuit)
    assert circuit.graph().edges == planted.edges_between(found)
    return found


@BUILDERS
def test_discovery_recovers_a_minimal_circuit(builder: Builder) -> None:
    planted = builder()
    assert found_in(planted, 0) in truth(builder, planted)


@pytest.mark.long
@ABLATIONS
@BUILDERS
def test_discovery_recovers_a_unique_circuit_for_every_seed_and_ablation(
    builder: Builder, ablation: str
) -> None:
    for seed in range(5):
        planted = builder(seed=seed).under(ablation)
        found, circuits = found_in(planted, seed), truth(builder, planted)
        # With two minimal circuits, a search may end at one and a node more.
        assert found in circuits if len(circuits) == 1 else any(c <= found for c in circuits)


@pytest.mark.parametrize(
    ("builder", "one", "other"),
    [(either_unit, "value one", "value two"), (backup_unit, "value answer", "backup")],
)
def test_a_redundant_unit_is_missed_only_where_its_double_is_gone(
    builder: Builder, one: str, other: str
) -> None:
    planted = builder(seed=2)
    whole = without(planted).margins
    assert without(planted, one).margins.min() > 0.9 * whole.max()
    assert without(planted, other).margins.min() > 0.9 * whole.max()
    assert without(planted, one, other).accuracy < 0.8


@pytest.mark.parametrize(("builder", "lean"), [(cancelling_pair, 1e-3), (leaning_pair, 0.5)])
def test_a_cancelling_pair_matters_only_where_one_of_the_two_is_cut(
    builder: Builder, lean: float
) -> None:
    planted = builder(seed=2)
    np.testing.assert_allclose(
        without(planted, "value plus", "value minus").margins, without(planted).margins, rtol=lean
    )
    for name in ("value plus", "value minus"):
        assert without(planted, name).accuracy < 0.6


@pytest.mark.parametrize(
    ("builder", "cut", "spared", "failed"),
    [
        (both_present, "value second", "lacks first", "lacks second"),
        (one_of_two, "neuron both", "first or none", "first or both"),
        (majority, "value right", "left moves", "right moves"),
        (cancelling_pair, "key", "agree", "against"),
    ],
)
def test_each_template_needs_parts_that_another_can_spare(
    builder: Builder, cut: str, spared: str, failed: str
) -> None:
    """By the share of prompts of the first side that rank above one of the second: no threshold
    between the sides is asked for."""
    planted = builder(seed=5)
    part = splits(planted)[-1]
    margins = without(planted, cut).margins
    first = np.arange(2 * len(part)) < len(part)
    lead = np.where(first, margins, -margins)
    shares = {}
    for index, name in enumerate(planted.task.templates):
        mine = part.template == index
        wanted, other = lead[mine & first], lead[mine & ~first]
        shares[name] = float((wanted[:, None] > other).mean())
    assert shares[spared] > 0.95
    assert shares[failed] < 0.7


@BUILDERS
def test_equal_seeds_give_equal_models_and_other_seeds_other_places(builder: Builder) -> None:
    planted = builder(seed=3)
    assert planted.checkpoint.hash() == builder(seed=3).checkpoint.hash()
    assert planted.parts != builder(seed=4).parts
