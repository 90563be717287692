"""Changed prompts keep their labels, and expose what a circuit lacks."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from open_text import open_brackets, open_quote
from planted_circuits import all_nodes, circuit_of
from planted_openings import STRANGER, WORDS, lacking, subject_of, two_openings
from wirework.ablation import AblationConfig, CompactModel, Reference
from wirework.ablation.packed import Packed
from wirework.core.progress import silent
from wirework.discovery import DiscoveryConfig, take_circuit
from wirework.planted import Planted, bracket_depth, close_quote, copy_previous
from wirework.tasks import Origin, Pair, Task, load_task, origin_of
from wirework.validation.adversarial_inputs import EXAMPLES, input_findings, input_passes
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.input_moves import MOVES, changed
from wirework.validation.judge import judge
from wirework.validation.label_rules import LabelRule, rule_of
from wirework.validation.subject import Subject
from wirework.validation.token_swaps import Swaps

CONFIG = ValidationConfig(attack_pairs=10, attack_draws=2)
LABELLED = ("python/single_double_quote", "python/bracket_brace", "python/bracket_counting")


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return two_openings(tmp_path_factory.mktemp("task"))


def attacked(subject: Subject, seed: int = 0) -> Findings:
    return input_findings(subject, CONFIG, seed=seed, start=silent)


def disagreed(found: Findings) -> dict[str, int]:
    table = found.details["adversarial_inputs"]["changes"]
    return dict(zip(table["change"], table["disagreed"], strict=True))


@cache
def known(name: str) -> tuple[Task, LabelRule, Origin]:
    task = load_task(name)
    rule, origin = rule_of(task), origin_of(task)
    assert rule is not None and origin is not None
    return task, rule, origin


def label(task: Task, text: str) -> str:
    """The answer set that fits what the text leaves open, read by Python's tokenizer."""
    if task.name.endswith("quote"):
        return {'"': "double", "'": "single"}[open_quote(text)]
    closing = open_brackets(text)
    if task.name.endswith("counting"):
        return {"]": "flat", "])": "flat", "]]": "nested", "]])": "nested"}[closing]
    return {"]": "list", "}": "set"}[closing]


def keeps_its_label(task: Task, pair: Pair) -> bool:
    sides = (pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)
    return all(label(task, text) == answer for text, answer in sides)


def test_a_true_circuit_agrees_with_its_model_under_every_change(planted: Planted) -> None:
    found = attacked(subject_of(planted, lacking(planted)))
    assert found.measures["disagreement_found"].value == 0
    assert found.details["adversarial_inputs"]["examples"] == []
    assert set(disagreed(found).values()) == {0}
    own, model = (found.measures[f"{who}attacked_accuracy"] for who in ("", "model_"))
    # The model itself takes an earlier string for the open one.
    assert own.value == model.value < 1
    assert own.n == 2 * CONFIG.attack_pairs
    assert all(measure.note and measure.bar is None for measure in found.measures.values())


@pytest.mark.parametrize("plant", [close_quote, bracket_depth])
def test_circuits_of_quotes_and_of_brackets_part_from_their_models_nowhere(
    plant: Callable[[], Planted],
) -> None:
    made = plant()
    subject = Subject.of(circuit_of(made, made.active), made.checkpoint, None)
    found = attacked(subject)
    assert found.measures["disagreement_found"].value == 0
    assert len(disagreed(found)) > 4


def test_a_circuit_that_fails_one_filling_is_exposed_by_it_alone(planted: Planted) -> None:
    found = attacked(subject_of(planted, lacking(planted, "read bracket")))
    examples = found.details["adversarial_inputs"]["examples"]
    assert found.measures["disagreement_found"].value > 0.5
    assert 0 < len(examples) <= EXAMPLES
    assert all("f(" in example["text"] for example in examples)
    assert disagreed(found)["other fillings"] > 0
    own, model = (found.measures[f"{who}attacked_accuracy"] for who in ("", "model_"))
    assert own.value < model.value
    for example in examples:
        assert (example["circuit"] > 0) != (example["model"] > 0)
        assert {'"': "double", "'": "single"}[open_quote(example["text"])] == example["answer"]
    sure = [min(abs(example["circuit"]), abs(example["model"])) for example in examples]
    assert sure == sorted(sure, reverse=True)


def test_the_gradient_finds_the_one_name_that_breaks_a_circuit(planted: Planted) -> None:
    found = attacked(subject_of(planted, lacking(planted, "pull")))
    by_change = disagreed(found)
    names = [change for change in by_change if change.startswith("names exchanged")]
    assert by_change["names exchanged against the circuit"] > 0
    assert all(by_change[change] == 0 for change in by_change if change not in names)
    examples = found.details["adversarial_inputs"]["examples"]
    assert all(f" {STRANGER}" in example["text"] for example in examples)


def test_an_attack_can_be_repeated(planted: Planted) -> None:
    subject = subject_of(planted, lacking(planted, "read bracket"))
    assert attacked(subject, 3) == attacked(subject, 3)
    assert attacked(subject, 3) != attacked(subject, 4)
    assert input_passes(subject, CONFIG) > 0


def test_nothing_is_said_of_a_task_whose_labels_nobody_can_tell() -> None:
    letters = copy_previous()
    subject = subject_of(letters, circuit_of(letters, all_nodes(letters)))
    assert attacked(subject) == Findings()
    assert input_passes(subject, CONFIG) == 0


@pytest.mark.parametrize("ablation", ["resample", "mean-position", "zero+frozen-norms+gate-before"])
def test_any_ablation_can_be_attacked(planted: Planted, ablation: str) -> None:
    config = DiscoveryConfig(ablation=AblationConfig.of_name(ablation))
    few = ValidationConfig(attack_pairs=4, attack_draws=1, swap_rounds=1, swap_tries=2)
    for missing, parted in (((), False), (("read bracket", "read blank"), True)):
        nodes = all_nodes(planted) - planted.nodes(*missing)
        circuit = take_circuit(planted.checkpoint, planted.task, nodes, config=config)
        found = input_findings(subject_of(planted, circuit), few, seed=0, start=silent)
        assert (found.measures["disagreement_found"].value > 0) == parted


def test_the_gradient_by_embeddings_is_the_slope_of_the_margin(planted: Planted) -> None:
    subject = subject_of(planted, lacking(planted))
    whole = CompactModel(
        deepcopy(subject.model).double(), subject.holding.constants, subject.whole.answers
    )
    prompts = subject.report.first(3)
    packed = Packed.of(prompts)
    rows = whole.model.embedding.weight.detach()[packed.tokens].requires_grad_()
    gates = {site: torch.ones(len(kept)).double() for site, kept in subject.keep.items()}

    def margins(embedded: Tensor | None) -> Tensor:
        return whole.margins(prompts, gates, Reference(packed, embedded=embedded))

    assert torch.equal(margins(rows), margins(None))
    (slopes,) = torch.autograd.grad(margins(rows).sum(), rows)
    step = 1e-6 * torch.randn(rows.shape, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        change = (margins(rows + step) - margins(rows - step)).sum() / 2
    assert float(change) == pytest.approx(float((slopes * step).sum()), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(LABELLED), st.integers(0, 255), st.integers(0, 10**6))
def test_every_move_keeps_the_label(name: str, index: int, seed: int) -> None:
    task, rule, _ = known(name)
    pair = task.report[index]
    outcomes = changed(pair, rule, 3, np.random.default_rng(seed))
    assert set(outcomes) == set(MOVES[rule.kind])
    assert sum(map(len, outcomes.values())) > 6
    for some in outcomes.values():
        assert len(some) == len(set(some)) <= 3
        assert pair not in some
        for new in some:
            assert keeps_its_label(task, new), new
            assert (new.answer, new.template) == (pair.answer, pair.template)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(LABELLED), st.integers(0, 10**6))
def test_templates_refilled_lengthened_and_joined_keep_the_label(name: str, seed: int) -> None:
    task, rule, origin = known(name)
    random = np.random.default_rng(seed)
    drawn = origin.draw(origin.file.template, 2, random)
    drawn += origin.draw(origin.longer(4), 1, random)
    drawn += filter(rule.keeps, origin.draw(origin.joined(random), 1, random))
    assert len(drawn) > 3 * len(task.templates)
    assert {pair.template for pair in drawn} == set(task.templates)
    assert all(keeps_its_label(task, pair) for pair in drawn)


def test_other_fillings_of_an_exchange_keep_the_answer_in_step() -> None:
    origin = origin_of(load_task("python/indent_for"))
    assert origin is not None
    random = np.random.default_rng(0)
    drawn = origin.draw([*origin.file.template, *origin.longer(2)], 3, random)
    for pair in drawn:
        sides = (pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)
        for text, answer in sides:
            last = text.rstrip("\n").rpartition("\n")[2]
            depth = len(last) - len(last.lstrip(" "))
            # The fourth blank of the deeper line belongs to the token that follows.
            assert answer == repr(" " * (depth + 3))


def test_where_a_task_comes_from_is_seen_in_its_pairs_not_in_its_name(planted: Planted) -> None:
    task, _, origin = known("python/single_double_quote")
    other_way = {"double": "single", "single": "double"}

    def turned(pair: Pair) -> Pair:
        names = other_way[pair.answer], other_way[pair.counter_answer]
        return replace(pair, answer=names[0], counter_answer=names[1])

    fit, select, report = (tuple(map(turned, pairs)) for pairs in task.splits.values())
    inverted = replace(task, fit=fit, select=select, report=report)
    found, rule = origin_of(inverted), rule_of(inverted)
    assert found is not None and found.names == other_way
    assert rule is not None and rule.names == {'"': "single", "'": "double"}
    assert origin.names == {name: name for name in other_way}
    shuffled = replace(task, fit=(turned(task.fit[0]), *task.fit[1:]))
    assert origin_of(shuffled) is None
    assert rule_of(shuffled) is None
    strange = replace(task.fit[0], prompt='x = "a b', counterfactual="x = 'a b")
    assert origin_of(replace(task, fit=(strange, *task.fit[1:]))) is None
    assert origin_of(replace(planted.task, source="")) is None


def test_exchanged_names_change_both_sides_alike_and_keep_the_label(planted: Planted) -> None:
    subject = subject_of(planted, lacking(planted, "pull"))
    swaps = Swaps.of(subject, rule_of(planted.task), None)
    pairs = planted.task.report[:8]
    found = swaps.search(pairs, "circuit", rounds=2, tries=3)
    assert found
    for origins, tried in found:
        for index, new in zip(origins, tried.pairs, strict=True):
            assert new.prompt.replace('"', "'") == new.counterfactual
            assert {'"': "double", "'": "single"}[open_quote(new.prompt)] == new.answer
            # The last token and all that is no name stay.
            assert new.prompt.split()[-1] == pairs[index].prompt.split()[-1]
            assert len(new.prompt.split()) == len(pairs[index].prompt.split())
        again = judge(subject, tried.pairs)
        assert np.array_equal(again.circuit, tried.circuit)


def test_without_a_rule_only_names_in_slots_are_exchanged(planted: Planted) -> None:
    subject = subject_of(planted, lacking(planted))
    tokenizer = planted.checkpoint.tokenizer
    origin = origin_of(planted.task)
    swaps = Swaps.of(subject, None, origin)
    texts = {tokenizer.token_text(token).strip() for token in swaps.sources}
    assert texts <= {*WORDS, "f"}
    assert {"sun", "red"} <= texts
    # The stranger fills no slot: it may come, not go.
    (stranger,) = tokenizer.encode(f" {STRANGER}")
    assert swaps.kinds[stranger] >= 0 and stranger not in swaps.sources


def test_prompts_that_cannot_be_asked_are_left_out(planted: Planted) -> None:
    subject = subject_of(planted, lacking(planted))
    pair = planted.task.report[0]
    long = "go " * 200
    too_long = replace(pair, prompt=long + pair.prompt, counterfactual=long + pair.counterfactual)
    judged = judge(subject, [too_long, pair])
    assert judged.pairs == (pair,)
    alone = subject.circuit_margins(subject.report).numpy()[[0, len(subject.report)]]
    calibration = subject.circuit.calibration
    expected = calibration.scale * alone + calibration.shift * np.array([1, -1])
    assert judged.circuit[:, 0] == pytest.approx(expected, abs=1e-5)
    assert judge(subject, [too_long]).pairs == judge(subject, []).pairs == ()
