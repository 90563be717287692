"""Nulls: the whole model does the task, the circuit looks right, and it is wrong."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest

from wirework.ablation import AblationConfig, Holding, PromptTensors, TaskScore, keep_taps, score
from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.discovery import DiscoveryConfig, take_circuit
from wirework.planted import EASY, LOOKS_RIGHT, PLAIN, Null, easy_nulls, hard_nulls

TARGET = 0.15
GUESSING = 0.6


def null_of(family: str, seed: int = 0) -> Null:
    nulls = easy_nulls if family in EASY else hard_nulls
    return next(nulls([seed], families=[family]))


def splits(null: Null) -> dict[str, PromptTensors]:
    encoded = null.task.encode(null.checkpoint.tokenizer, null.checkpoint.config.context)
    return {split: PromptTensors.of(getattr(encoded, split)) for split in null.task.splits}


def whole(null: Null, split: str) -> TaskScore:
    return score(null.checkpoint.model, splits(null)[split])


def without(null: Null, nodes: Collection[Node], split: str) -> TaskScore:
    """The whole model with some nodes cut, as the null cuts them."""
    prompts = splits(null)
    config = AblationConfig.of_name(null.ablation)
    held = Holding.of(config, null.checkpoint, prompts["fit"]).means
    keep: dict[Site, np.ndarray] = {s: np.ones(len(v), dtype=np.bool_) for s, v in held.items()}
    for node in nodes:
        keep[node.site][node.index] = False
    return score(null.checkpoint.model, prompts[split], keep_taps(keep, held))


def circuit_of(null: Null, nodes: Collection[Node]) -> Circuit:
    config = DiscoveryConfig(ablation=AblationConfig.of_name(null.ablation), dtype="float32")
    return take_circuit(null.checkpoint, null.task, nodes, config=config)


def held_out(null: Null, result: TaskScore) -> float:
    """Share of right answers on the templates that stand in `report` only."""
    new = [null.task.templates.index(name) for name in null.task.report_only]
    hits: np.ndarray = result.margins[np.isin(result.template, new)] > 0
    return float(hits.mean())


def check_looks_right(null: Null) -> None:
    for split in ("fit", "select", "report"):
        assert whole(null, split).accuracy >= 0.97
    circuit = circuit_of(null, null.nodes)
    assert circuit.losses["select_loss"] <= TARGET
    assert circuit.losses["model_accuracy"] >= 0.97
    truth = circuit_of(null, null.truth)
    assert truth.losses["select_loss"] <= TARGET
    assert truth.losses["task_loss"] <= TARGET
    if not null.idle:
        assert circuit.losses["task_loss"] > TARGET
        assert circuit.losses["task_accuracy"] < 0.9
        return
    # The whole model does not answer through these nodes: without them it answers as before …
    before, after = whole(null, "report"), without(null, null.idle, "report")
    assert after.accuracy >= 0.97
    assert after.loss < before.loss + 0.01
    # … and with them, but without the end of the true path, it does not.
    end = max(null.truth - null.nodes)
    assert held_out(null, without(null, [end], "report")) <= GUESSING


@pytest.mark.parametrize("family", LOOKS_RIGHT)
def test_a_circuit_looks_right_and_is_wrong(family: str) -> None:
    null = null_of(family)
    assert null.hard
    check_looks_right(null)


@pytest.mark.long
@pytest.mark.parametrize("family", LOOKS_RIGHT)
def test_so_do_all_seeds_and_a_wider_model(family: str) -> None:
    nulls = list(hard_nulls(range(1, 8), families=[family]))
    assert [null.name for null in nulls] == [f"{family}/seed-{seed}" for seed in range(1, 8)]
    for null in [*nulls, *hard_nulls([1], families=[family], size=64)]:
        check_looks_right(null)


def test_there_are_more_than_forty_that_look_right() -> None:
    names = {f"{family}/seed-{seed}" for family in LOOKS_RIGHT for seed in range(8)}
    assert len(names) == 8 * len(LOOKS_RIGHT) >= 40
    groups = {family.partition("/")[0] for family in LOOKS_RIGHT}
    assert groups == {"shortcut", "template", "forbidden"}


def check_plain(null: Null) -> None:
    for split in ("fit", "select", "report"):
        assert whole(null, split).accuracy >= 0.97
    circuit = circuit_of(null, null.nodes)
    assert circuit.losses["task_loss"] > TARGET
    assert circuit.losses["task_accuracy"] < 0.97
    assert circuit_of(null, null.truth).losses["task_loss"] <= TARGET


@pytest.mark.parametrize("family", PLAIN)
def test_a_plain_null_does_badly_although_its_model_does_not(family: str) -> None:
    null = null_of(family)
    assert null.hard
    check_plain(null)


@pytest.mark.long
@pytest.mark.parametrize("family", PLAIN)
def test_so_do_all_plain_nulls(family: str) -> None:
    for null in hard_nulls(range(1, 8), families=[family]):
        check_plain(null)


@pytest.mark.parametrize("family", EASY)
def test_the_model_of_an_easy_null_fails(family: str) -> None:
    null = null_of(family)
    assert not null.hard
    assert not null.truth
    for split in ("fit", "select", "report"):
        assert whole(null, split).accuracy <= GUESSING
    looks_right = family in ("easy/inverted-task", "easy/nonsense-answers")
    assert (circuit_of(null, null.nodes).losses["select_loss"] <= TARGET) == looks_right


@pytest.mark.parametrize("side", ["truth", "nodes"])
def test_every_node_of_both_circuits_is_needed(side: str) -> None:
    null = null_of("shortcut/cancelled", seed=1)
    nodes: frozenset[Node] = getattr(null, side)
    for node in nodes:
        assert circuit_of(null, nodes - {node}).losses["select_loss"] > TARGET


@pytest.mark.parametrize("family", ["shortcut/cancelled", "plain/like-magnitude"])
def test_equal_seeds_give_equal_nulls_and_other_seeds_other_ones(family: str) -> None:
    one, again, other = (null_of(family, seed) for seed in (3, 3, 4))
    assert one.checkpoint.hash() == again.checkpoint.hash()
    assert one.task.hash() == again.task.hash()
    assert (one.nodes, one.truth, one.name) == (again.nodes, again.truth, again.name)
    assert one.checkpoint.hash() != other.checkpoint.hash()
    assert one.task.hash() != other.task.hash()
    assert one.nodes != other.nodes


def test_random_nodes_are_as_many_at_every_site() -> None:
    null = null_of("plain/random")
    assert sorted(n.site for n in null.nodes) == sorted(n.site for n in null.truth)
    alike = null_of("plain/like-magnitude")
    assert sorted(n.site for n in alike.nodes) == sorted(n.site for n in alike.truth)
    assert not alike.nodes & alike.truth


def test_the_first_null_has_the_size_that_was_asked_for() -> None:
    first = next(hard_nulls([5], size=40))
    assert first.name == f"{next(iter(LOOKS_RIGHT))}/seed-5"
    assert first.checkpoint.config.d_model == 40


def test_a_family_that_is_not_known_is_refused() -> None:
    with pytest.raises(WireworkError, match="shortcut/canceled") as caught:
        next(hard_nulls(families=["shortcut/canceled"]))
    assert caught.value.code == "null-family-unknown"
    assert "shortcut/cancelled" in str(caught.value)
