"""Searches with every ablation, with edges, stopped early: what comes out is exact and repeats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planted_circuits import fit_and_controls
from test_discovery import InterruptGates
from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.core.files import sha256_file
from wirework.discovery import DiscoveryConfig, Search, search
from wirework.discovery.bench import Bench
from wirework.discovery.discretise import smallest
from wirework.discovery.patience import Patience
from wirework.planted import Planted, close_quote
from wirework.tasks import load_task
from wirework.training import load_checkpoint
from wirework.validation.null_tasks import null_task

QUICK = DiscoveryConfig(
    steps=60, batch=8, coefficient=3e-3, lr=1e-2, dtype="float32", look_every=10, edge_steps=40,
    calibration_pairs=16, price_pairs=8,
)  # fmt: skip
CONSTANT = ("mean-pretraining", "mean-task", "zero", "optimal", "mean-pretraining+gate-before")
OTHERS = ("mean-position", "resample", "mean-pretraining+frozen-norms")


@pytest.fixture(scope="module")
def planted() -> Planted:
    """With few pairs: what is asked here does not hang on their number."""
    whole = close_quote()
    task = whole.task
    few = replace(task, fit=task.fit[:48], select=task.select[:24], report=task.report[:24])
    return replace(whole, task=few)


def found(planted: Planted, *settings: str, seed: int = 0) -> Search:
    config = QUICK.override(settings)
    return search(planted.checkpoint, planted.task, config=config, seed=seed)


def ablated(name: str) -> list[str]:
    kind, *options = name.split("+")
    settings = [f"ablation.kind={kind}"]
    settings += ["ablation.norms=frozen"] * ("frozen-norms" in options)
    return settings + ["ablation.gate=before"] * ("gate-before" in options)


def test_a_search_says_whether_it_met_what_else_was_asked_beside_the_loss(
    planted: Planted,
) -> None:
    assert found(planted).reached
    asked = QUICK.replace(faithfulness=3, retries=0)
    missed = search(planted.checkpoint, planted.task, config=asked, unlearned_ok=True)
    assert missed.circuit.losses["select_loss"] <= asked.target_loss
    assert not missed.reached


@pytest.mark.parametrize("edges", [pytest.param("false", marks=pytest.mark.long), "true"])
@pytest.mark.parametrize("name", CONSTANT)
def test_a_circuit_cut_to_constants_is_the_masked_model_and_runs_alone(
    planted: Planted, name: str, edges: str, tmp_path: Path
) -> None:
    result = found(planted, *ablated(name), f"edges={edges}")
    result.circuit.save(tmp_path / "a.circuit")
    circuit = Circuit.load(tmp_path / "a.circuit")
    assert circuit.runs_alone and circuit.ablation == name
    report = fit_and_controls(circuit, planted.checkpoint, draws=2)
    assert report["exactness"].value < 1e-9
    assert report["task_loss"].value == pytest.approx(circuit.losses["task_loss"], abs=1e-4)
    assert report["task_loss"].passed


@pytest.mark.parametrize("name", OTHERS)
def test_a_circuit_that_needs_its_model_says_so_and_can_be_validated(
    planted: Planted, name: str
) -> None:
    circuit = found(planted, *ablated(name)).circuit
    assert not circuit.runs_alone and circuit.ablation == name
    with pytest.raises(WireworkError, match="circuit-needs-model"):
        circuit.require_alone()
    report = fit_and_controls(circuit, planted.checkpoint, draws=2)
    assert report["task_loss"].value == pytest.approx(circuit.losses["task_loss"], abs=1e-4)
    assert "exactness" not in report.measures


def test_edges_cannot_be_cut_where_nodes_are_not_constant(planted: Planted) -> None:
    with pytest.raises(WireworkError, match="edges-need-constants"):
        found(planted, "ablation.kind=resample", "edges=true")


def test_fewer_edges_and_what_each_cost(planted: Planted) -> None:
    with_all, with_few = found(planted), found(planted, "edges=true")
    assert 0 < with_few.circuit.n_edges <= with_all.circuit.n_edges
    for drop in with_few.circuit.recipe.get("edge_drops", []):
        assert drop["after"] >= 0


def test_the_same_seed_gives_the_same_circuit_with_edges_too(
    planted: Planted, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        found(planted, "edges=true", seed=3).circuit.save(tmp_path / name)
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")


def test_the_curve_rises_in_nodes_and_ends_in_the_chosen_loss(planted: Planted) -> None:
    result = found(planted)
    nodes = [point.nodes for point in result.curve]
    assert nodes == sorted(set(nodes)) and len(nodes) > 2
    chosen = {p.nodes: p.loss for p in result.curve}[result.circuit.n_nodes]
    assert chosen <= result.circuit.losses["select_loss"] + 1e-9
    assert {tau.shape for tau in result.scores.values()}


@pytest.mark.parametrize("settings", [(), ("ablation.kind=optimal",), ("patience=50",)])
def test_an_interrupted_search_goes_on_to_the_same_bytes(
    planted: Planted, settings: tuple[str, ...], tmp_path: Path
) -> None:
    config = QUICK.override(settings)
    options: dict[str, Any] = {"config": config, "seed": 1}
    search(planted.checkpoint, planted.task, **options).circuit.save(tmp_path / "whole")
    state = tmp_path / "state"
    with pytest.raises(WireworkError, match="interrupted"):
        search(planted.checkpoint, planted.task, state=state, start=InterruptGates(33), **options)
    search(planted.checkpoint, planted.task, state=state, **options).circuit.save(tmp_path / "on")
    assert sha256_file(tmp_path / "whole") == sha256_file(tmp_path / "on")


def test_patience_ends_where_the_objective_has_stopped_falling() -> None:
    patience = Patience(100)
    for step in range(1, 400):
        patience.look(step, max(0.1, 1 - step / 200), 0.0)
        if patience.lost:
            break
    assert 250 <= step <= 350


@pytest.mark.parametrize(("loss", "given_up"), [(0.45, True), (0.4, False)])
def test_patience_gives_up_where_the_loss_stays_near_chance(loss: float, given_up: bool) -> None:
    patience = Patience(0, give_up=80, target=0.15)
    for step in range(1, 201):
        patience.look(step, 0.7 if step <= 30 else loss, 1.0)
        if patience.lost:
            break
    assert (patience.done, patience.hopeless) == ((80, True) if given_up else (200, False))


def test_a_search_for_what_is_not_there_is_given_up(planted: Planted) -> None:
    checkpoint, asked = planted.checkpoint, QUICK.replace(give_up=20)
    null = null_task(planted.task, "inverted", checkpoint.tokenizer, seed=0)
    for task, steps in ((planted.task, QUICK.steps), (null, 20)):
        bar = InterruptGates(1000)
        result = search(checkpoint, task, config=asked, unlearned_ok=True, start=bar)
        assert 1000 - bar.left == steps
        assert result.reached == (task is planted.task)


def test_bisection_goes_beyond_the_open_gates_only_where_it_may(planted: Planted) -> None:
    whole = planted.checkpoint
    encoded = planted.task.encode(whole.tokenizer, whole.config.context)
    bench = Bench.of(whole, encoded, QUICK)
    backwards = {site: -np.arange(1.0, n + 1) for site, n in bench.widths.items()}
    met = smallest(bench, backwards, first=1)
    assert met is not None
    assert met.meets_target
    assert smallest(bench, backwards, first=1, most=1) is None


@pytest.mark.long
def test_gates_that_shut_too_much_are_trained_again_at_a_lower_price(tmp_path: Path) -> None:
    checkpoint = load_checkpoint("reference/v1-sparse-small")
    task = load_task("python/single_double_quote")
    dear = DiscoveryConfig(steps=100, coefficient=0.2, clean_up=False, attention=1)
    with pytest.raises(WireworkError, match="target-missed"):
        search(checkpoint, task, config=dear.replace(retries=0))
    state = tmp_path / "gates.state"
    found = search(checkpoint, task, config=dear, state=state)
    assert found.circuit.losses["select_loss"] <= dear.target_loss
    assert found.circuit.n_nodes < 200
    assert [path.name for path in tmp_path.iterdir()] == ["gates.state"]
