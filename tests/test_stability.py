"""How much searches have in common: by hand, by resampling, by searching again."""

from __future__ import annotations

from collections.abc import Collection
from math import isnan

import numpy as np
import pytest

from planted_circuits import circuit_of
from wirework.circuit import Circuit
from wirework.core import Node
from wirework.core.progress import silent
from wirework.core.stats import share_interval
from wirework.discovery import DiscoveryConfig, discover
from wirework.planted import Planted, quote_with_decoys
from wirework.validation.config import ValidationConfig
from wirework.validation.stability import (
    resampled,
    stability_findings,
    stability_of,
    stability_passes,
    variations,
)
from wirework.validation.subject import Subject

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def circuit(planted: Planted) -> Circuit:
    return discover(planted.checkpoint, planted.task, config=DiscoveryConfig(steps=100))


def made(planted: Planted, *sets: Collection[Node]) -> list[Circuit]:
    return [circuit_of(planted, nodes) for nodes in sets]


def test_equal_circuits_share_everything(planted: Planted) -> None:
    true = planted.nodes(*QUOTE)
    found = stability_of(made(planted, true, true, true))
    for name in ("stability", "stability_edges", "core_share"):
        assert found.measures[name].value == 1
    assert found.measures["stability"].low == found.measures["stability"].high == 1
    assert found.measures["core_nodes"].value == 6
    table = found.details["stability"]
    assert set(table["core"]) == set(table["node"]) == {str(node) for node in true}
    assert table["share"] == [1.0] * 6
    assert table["nodes"] == [6, 6, 6]


def test_what_two_of_three_have(planted: Planted) -> None:
    true = sorted(planted.nodes(*QUOTE))
    decoy = planted.parts["decoy neuron 0"]
    found = stability_of(made(planted, true, true, [*true[:5], decoy]))
    # 6 of 6, then twice 5 of 7.
    assert found.measures["stability"].value == pytest.approx((1 + 5 / 7 + 5 / 7) / 3)
    low, high = found.measures["stability"].low, found.measures["stability"].high
    assert low is not None
    assert high is not None
    assert 5 / 7 - 1e-9 <= low <= high <= 1 + 1e-9
    assert found.measures["core_nodes"].value == 5
    assert found.measures["core_share"].value == pytest.approx(5 / 6)
    table = found.details["stability"]
    shares = dict(zip(table["node"], table["share"], strict=True))
    assert shares[str(true[5])] == pytest.approx(2 / 3)
    assert shares[str(decoy)] == pytest.approx(1 / 3)
    assert table["share"] == sorted(table["share"], reverse=True)
    assert table["node"][-1] == str(decoy)
    assert (table["low"][-1], table["high"][-1]) == share_interval(1, 3)


def test_one_circuit_says_nothing_and_two_have_no_interval(planted: Planted) -> None:
    true = sorted(planted.nodes(*QUOTE))
    assert isnan(stability_of(made(planted, true)).measures["stability"].value)
    two = stability_of(made(planted, true, true[:3])).measures["stability"]
    assert two.value == 0.5
    assert two.low is None


def test_a_core_holds_nine_of_ten(planted: Planted) -> None:
    true = sorted(planted.nodes(*QUOTE))
    sets = [true] * 8 + [true[1:]] + [true[2:]]
    found = stability_of(made(planted, *sets))
    assert found.details["stability"]["core"] == sorted(
        (str(node) for node in true[1:]), key=lambda name: Node.parse(name)
    )


def test_variations_change_one_thing_each(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    found = variations(subject, 12, seed=0)
    own = DiscoveryConfig(steps=100)
    assert [run.seed for run in found[::3]] == [1, 2, 3, 4]
    assert all(run.config == own and run.task == planted.task for run in found[::3])
    pairs = found[1::3]
    assert all(run.config == own and run.seed == 0 for run in pairs)
    assert len({run.task.hash() for run in pairs}) == 4
    scaled = found[2::3]
    factors = [run.config.coefficient / own.coefficient for run in scaled]
    assert factors == pytest.approx([0.5, 2, 0.25, 4])
    assert all(run.seed == 0 and run.task == planted.task for run in scaled)


def test_resampled_pairs_are_pairs_of_the_task(planted: Planted) -> None:
    task = resampled(planted.task, np.random.default_rng(0))
    assert len(task.fit) == len(planted.task.fit)
    assert set(task.fit) < set(planted.task.fit)
    assert set(task.select) < set(planted.task.select)
    assert task.report == planted.task.report
    task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)


def test_other_searches_find_the_planted_circuit(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    config = ValidationConfig(stability_runs=3)
    assert stability_passes(subject, config) > 3 * 100
    found = stability_findings(subject, config, seed=0, start=silent)
    assert found.measures["runs_reached"].value == 1
    assert found.measures["runs_reached"].n == 3
    core = set(found.details["stability"]["core"])
    assert core == {str(node) for node in planted.nodes(*QUOTE)}
    assert found.measures["stability"].value > 0.9


def test_searches_that_miss_a_limit_are_compared_with_nothing(planted: Planted) -> None:
    config = DiscoveryConfig(steps=60, faithfulness=3, retries=0)
    own = discover(planted.checkpoint, planted.task, config=config, unlearned_ok=True)
    assert own.losses["select_loss"] <= config.target_loss
    subject = Subject.of(own, planted.checkpoint, None)
    asked = ValidationConfig(stability_runs=1)
    found = stability_findings(subject, asked, seed=0, start=silent)
    assert found.measures["runs_reached"].value == 0
    assert found.measures["stability"].n == 1
