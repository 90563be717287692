"""Where a task has more than one circuit, that is told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wirework.discovery import DiscoveryConfig, alternatives, discover
from wirework.discovery.alternatives import nodes_of
from wirework.planted import (
    Planted,
    either_unit,
    minimal_circuits,
    quote_with_decoys,
    twin_values,
)

QUICK = DiscoveryConfig(
    steps=80, batch=8, coefficient=3e-3, lr=1e-2, dtype="float32", look_every=10,
    calibration_pairs=16, price_pairs=8, faithfulness=0, attention=1,
)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("build", [twin_values, either_unit])
def test_every_minimal_circuit_of_a_redundant_model_is_found(build: Callable[[], Planted]) -> None:
    planted = build()
    truth = minimal_circuits(planted, QUICK.target_loss)
    assert len(truth) > 1
    first = discover(planted.checkpoint, planted.task, config=QUICK)
    found = alternatives(planted.checkpoint, planted.task, first, config=QUICK)
    assert not found.unique
    assert found.complete
    assert found.circuits[0] is first
    assert {nodes_of(circuit) for circuit in found.circuits} == set(truth)
    assert found.needed == frozenset.intersection(*truth)


@pytest.mark.long
def test_one_circuit_without_another_is_said_to_be_the_only_one() -> None:
    planted = quote_with_decoys()
    (truth,) = minimal_circuits(planted, QUICK.target_loss)
    first = discover(planted.checkpoint, planted.task, config=QUICK)
    found = alternatives(planted.checkpoint, planted.task, first, config=QUICK)
    assert found.unique
    assert found.needed == nodes_of(first) == truth
    assert found.searches == len(truth)


def test_too_few_searches_are_no_proof() -> None:
    planted = quote_with_decoys()
    first = discover(planted.checkpoint, planted.task, config=QUICK)
    found = alternatives(planted.checkpoint, planted.task, first, config=QUICK, most=2)
    assert found.searches == 2
    assert found.left >= 1
    assert len(found.needed | found.unasked) == first.n_nodes
    assert not found.complete
    assert not found.unique
