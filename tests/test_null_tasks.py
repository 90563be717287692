"""Null tasks ask for nothing that was learned; what searches and chance make of them."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
import torch

from planted_circuits import circuit_of
from wirework import load
from wirework.circuit import Circuit
from wirework.core import Report, Site, WireworkError
from wirework.core.progress import silent
from wirework.discovery import DiscoveryConfig, discover, search
from wirework.planted import Planted, quote_with_decoys
from wirework.tasks import Answers, EncodedTask, Prompts, Task, load_task
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.null_controls import (
    activation_sizes,
    matched_circuit,
    null_findings,
    null_passes,
)
from wirework.validation.null_tasks import NULL_KINDS, null_task, reinitialised
from wirework.validation.recipe import recipe_of
from wirework.validation.subject import Subject

CONTROLS = (*NULL_KINDS, "random_weights")
QUICK = ValidationConfig.parse(
    {"pairs": 12, "null_controls": CONTROLS, "null_steps": 20, "matched_draws": 10}
)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def circuit(planted: Planted) -> Circuit:
    return discover(planted.checkpoint, planted.task, config=DiscoveryConfig(steps=100))


def encoded(planted: Planted, task: Task) -> EncodedTask:
    return task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)


def parts(found: EncodedTask) -> list[Prompts]:
    return [found.fit, found.select, found.report]


@pytest.mark.parametrize("kind", NULL_KINDS)
def test_a_null_task_asks_the_same_prompts(planted: Planted, kind: str) -> None:
    task = null_task(planted.task, kind, planted.checkpoint.tokenizer, seed=0)
    assert task.name == f"planted/close_quote ({kind})"
    assert task.hash() != planted.task.hash()
    same = null_task(planted.task, kind, planted.checkpoint.tokenizer, seed=0)
    assert same.hash() == task.hash()
    for real, null in zip(
        parts(encoded(planted, planted.task)), parts(encoded(planted, task)), strict=True
    ):
        assert np.array_equal(real.tokens, null.tokens)
        assert np.array_equal(real.template, null.template)
        assert not (null.wanted == null.other).any()


def test_nonsense_answers_are_other_tokens_that_still_tell_the_sides_apart(
    planted: Planted,
) -> None:
    meant = set(encoded(planted, planted.task).answer_tokens().tolist())
    pairs = set()
    for seed in range(3):
        task = null_task(planted.task, "nonsense", planted.checkpoint.tokenizer, seed=seed)
        found = encoded(planted, task)
        tokens = found.answer_tokens().tolist()
        assert len(tokens) == 2
        assert not meant & set(tokens)
        half = len(found.fit)
        assert len(set(found.fit.wanted[:half].ravel())) == 1
        assert np.array_equal(found.fit.wanted[:half], found.fit.other[half:])
        pairs.add(tuple(tokens))
    assert len(pairs) == 3


def test_the_other_null_tasks_give_the_answers_they_say(planted: Planted) -> None:
    tokenizer = planted.checkpoint.tokenizer
    null = {
        kind: parts(encoded(planted, null_task(planted.task, kind, tokenizer, seed=1)))
        for kind in ("inverted", "shuffled", "constant")
    }
    for index, real in enumerate(parts(encoded(planted, planted.task))):
        half = len(real)
        inverted, shuffled, constant = (found[index] for found in null.values())
        assert np.array_equal(inverted.wanted, real.other)
        assert np.array_equal(inverted.other, real.wanted)
        swapped = (shuffled.wanted[:half] == real.other[:half]).all(axis=1)
        assert swapped.sum() == half // 2
        assert np.array_equal(shuffled.wanted[:half], shuffled.other[half:])
        assert np.array_equal(constant.wanted, np.tile(real.wanted[:half], (2, 1)))
        assert np.array_equal(constant.other, np.tile(real.other[:half], (2, 1)))


def test_what_cannot_be_made_is_refused(planted: Planted) -> None:
    tokenizer = planted.checkpoint.tokenizer
    with pytest.raises(WireworkError) as caught:
        null_task(planted.task, "nonsens", tokenizer, seed=0)
    assert caught.value.code == "null-unknown"
    assert "nonsense" in (caught.value.hint or "")
    names = {f"answer {i}": Answers(tokens=("x",)) for i in range(tokenizer.vocab_size)}
    crowded = replace(planted.task, answers={**planted.task.answers, **names})
    with pytest.raises(WireworkError) as caught:
        null_task(crowded, "nonsense", tokenizer, seed=0)
    assert caught.value.code == "null-no-token"


def test_a_model_that_learned_nothing_has_the_same_pattern_and_spread(planted: Planted) -> None:
    before = planted.checkpoint
    kept = {name: value.clone() for name, value in before.model.state_dict().items()}
    text = [torch.arange(20)[None], torch.arange(40, 60)[None]]
    other = reinitialised(before, text, seed=3)
    moved = 0
    for name, value in other.model.state_dict().items():
        assert torch.equal(before.model.state_dict()[name], kept[name])
        assert torch.equal(value != 0, kept[name] != 0)
        assert torch.equal(value.flatten().sort().values, kept[name].flatten().sort().values)
        moved += int((value != kept[name]).sum())
    assert moved > 50
    assert other.hash() != before.hash()
    assert other.means.keys() == before.means.keys()
    assert any(not np.allclose(other.means[site], before.means[site]) for site in other.means)
    assert reinitialised(before, text, seed=3).hash() == other.hash()
    assert reinitialised(before, text, seed=4).hash() != other.hash()


@pytest.mark.long
def test_searches_on_controls(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    assert null_passes(subject, QUICK) > 5 * 20
    found = null_findings(subject, QUICK, seed=0, start=silent).measures
    edges = {control: found[f"null_edges:{control}"].value for control in CONTROLS}
    for kind in NULL_KINDS:
        assert edges[kind] == inf
        assert "none found" in found[f"null_edges:{kind}"].note
    # Of so few weights the places alone are the circuit, whatever their values.
    assert edges["random_weights"] == circuit.n_edges
    assert found["null_edges"].value == circuit.n_edges
    assert "random_weights" in found["null_edges"].note
    assert found["null_ratio"].value == 1
    assert found["null_edges"].n == len(CONTROLS) - 1


def test_no_control_reached_is_the_best_that_can_be(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    config = QUICK.replace(null_controls=("inverted",), matched_draws=1)
    found = null_findings(subject, config, seed=0, start=silent).measures
    assert found["null_edges"].value == found["null_ratio"].value == inf
    report = Report("validation", found)
    assert report.require(null_edges=100, null_ratio=2) is report
    assert " inf " in str(report)
    none = null_findings(subject, config.replace(null_controls=()), seed=0, start=silent).measures
    assert set(none) == {"control_loss:random", "control_loss:matched"}


def test_constant_answers_stand_apart(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    config = QUICK.replace(null_controls=("constant",), matched_draws=1)
    found = null_findings(subject, config, seed=0, start=silent).measures
    assert "null_edges:constant" in found
    assert "null_edges" not in found


def test_chance_circuits_do_worse(planted: Planted, circuit: Circuit) -> None:
    subject = Subject.of(circuit, planted.checkpoint, None)
    config = QUICK.replace(null_controls=())

    def losses() -> Findings:
        return null_findings(subject, config, seed=0, start=silent)

    found = losses().measures
    for name in ("control_loss:random", "control_loss:matched"):
        measure = found[name]
        assert measure.value > 0.5 > circuit.losses["task_loss"]
        assert measure.low is not None
        assert measure.high is not None
        assert measure.low <= measure.value <= measure.high
        assert measure.n == 10
    assert losses() == losses()


def test_matched_nodes_are_others_about_as_active(planted: Planted, circuit: Circuit) -> None:
    site = Site.parse("0.mlp.neuron")
    keep = {site: np.arange(20) == 4}
    sizes = {site: np.arange(20.0)}
    drawn = {
        int(np.flatnonzero(matched_circuit(keep, sizes, 0, draw)[site])[0]) for draw in range(60)
    }
    assert drawn == {2, 3, 5, 6, 7} or drawn == {1, 2, 3, 5, 6}
    everything = {site: np.ones(20, dtype=np.bool_)}
    assert matched_circuit(everything, sizes, 0, 0)[site].all()
    subject = Subject.of(circuit, planted.checkpoint, None)
    measured = activation_sizes(subject, subject.report)
    value = planted.parts["value"]
    assert measured[value.site][value.index] > 0
    assert {site: len(size) for site, size in measured.items()} == {
        site: len(kept) for site, kept in subject.keep.items()
    }
    matched = matched_circuit(subject.keep, measured, 0, 0)
    for site, kept in subject.keep.items():
        assert matched[site].sum() == kept.sum()
        if kept.sum() * 2 <= len(kept):
            assert not (matched[site] & kept).any()


def test_the_recipe_is_the_stored_one(planted: Planted, circuit: Circuit) -> None:
    assert recipe_of(circuit) == DiscoveryConfig(steps=100)
    by_hand = circuit_of(planted, planted.active, target_loss=0.3)
    assert recipe_of(by_hand) == DiscoveryConfig(target_loss=0.3)


@pytest.mark.long
def test_nonsense_asked_of_a_trained_model() -> None:
    checkpoint, task = load("reference/v1-sparse-small"), load_task("python/single_double_quote")
    null = null_task(task, "nonsense", checkpoint.tokenizer, seed=0)
    config = DiscoveryConfig(steps=100, faithfulness=0)
    found = search(checkpoint, null, config=config, unlearned_ok=True).circuit
    assert found.losses["model_loss"] > 0.5
    assert found.losses["select_loss"] > config.target_loss
