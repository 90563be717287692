"""Fit: what circuit and model answer, on known and unknown templates, on prompts moved away."""

from __future__ import annotations

import json
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from planted_circuits import all_nodes, circuit_of, random_nodes
from wirework.ablation import PromptTensors, score_of
from wirework.core import Node
from wirework.core.progress import silent
from wirework.planted import Planted, copy_previous, quote_with_decoys
from wirework.tasks import Task
from wirework.validation import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.fit import fit_findings, fit_passes
from wirework.validation.shift import NEUTRAL_LINES, shifted
from wirework.validation.subject import Subject

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
SHIFTED = {"task_accuracy:shifted", "model_accuracy:shifted", "equivalence:shifted"}
UNSEEN = {"task_loss:unseen", "task_accuracy:unseen"}
MEASURES = {
    "task_loss", "task_loss_raw", "task_accuracy", "model_loss", "model_accuracy", "faithfulness",
    "equivalence", "margin_correlation",
}  # fmt: skip


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


def subject_of(planted: Planted, nodes: Collection[Node], task: Task | None = None) -> Subject:
    """In float64."""
    found = Subject.of(circuit_of(planted, nodes), planted.checkpoint, task)
    return replace(found, model=deepcopy(found.model).double())


def fit(subject: Subject) -> Findings:
    return fit_findings(subject, ValidationConfig(), seed=0, start=silent)


def test_all_nodes_answer_as_the_model_does(planted: Planted) -> None:
    found = fit(subject_of(planted, all_nodes(planted))).measures
    assert set(found) == MEASURES | SHIFTED | UNSEEN
    for name in ("equivalence", "faithfulness", "margin_correlation", "equivalence:shifted"):
        assert found[name].value == pytest.approx(1, abs=1e-9)
    assert found["task_loss_raw"].value == pytest.approx(found["model_loss"].value, abs=1e-9)
    assert found["equivalence"].n == 200
    assert all(measure.note and measure.bar is None for measure in found.values())


def test_random_nodes_agree_with_the_model_by_chance(planted: Planted) -> None:
    nodes = random_nodes(planted, planted.nodes(*QUOTE), seed=1)
    found = fit(subject_of(planted, nodes)).measures
    assert 0.3 < found["equivalence"].value < 0.7
    assert abs(found["margin_correlation"].value) < 0.3
    assert found["task_accuracy:unseen"].value < 0.7
    assert found["task_accuracy:shifted"].value < 0.7
    nothing = fit(subject_of(planted, [])).measures
    assert nothing["margin_correlation"].value == pytest.approx(0, abs=1e-9)


def test_equivalence_and_correlation_are_their_formulas(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE) - planted.nodes("key"))
    calibration = subject.circuit.calibration
    margins = score_of(subject.circuit_margins(), subject.report, calibration).margins
    whole = subject.margins(None).numpy()
    found = fit(subject).measures
    same = np.mean((margins > 0) == (whole > 0))
    assert found["equivalence"].value == pytest.approx(same)
    side = subject.report.side.numpy()
    expected = np.corrcoef(side * margins, side * whole)[0, 1]
    assert found["margin_correlation"].value == pytest.approx(expected)
    assert found["task_accuracy"].value == pytest.approx(np.mean(margins > 0))


def test_unseen_templates_are_those_of_report_alone(planted: Planted) -> None:
    nodes = planted.nodes(*QUOTE) - planted.nodes("key")
    assert planted.task.report_only == ("item",)
    found = fit(subject_of(planted, nodes))
    only = replace(
        planted.task, report=tuple(p for p in planted.task.report if p.template == "item")
    )
    alone = fit(subject_of(planted, nodes, only))
    for name in ("task_loss", "task_accuracy"):
        unseen = found.measures[f"{name}:unseen"]
        assert unseen.value == pytest.approx(alone.measures[name].value, abs=1e-12)
        assert unseen.n == alone.measures[name].n
    known = replace(
        planted.task, report=tuple(p for p in planted.task.report if p.template != "item")
    )
    assert not UNSEEN & set(fit(subject_of(planted, nodes, known)).measures)


def test_templates_add_up_to_the_whole(planted: Planted) -> None:
    found = fit(subject_of(planted, planted.nodes(*QUOTE) - planted.nodes("key")))
    table = found.details["templates"]
    assert dict(zip(table["name"], table["unseen"], strict=True)) == {
        "assign": False, "call": False, "item": True,
    }  # fmt: skip
    assert sum(table["pairs"]) == 100
    for column in ("task_loss", "task_accuracy", "model_loss", "model_accuracy", "equivalence"):
        mean = np.average(table[column], weights=table["pairs"])
        assert mean == pytest.approx(found.measures[column].value)
    json.dumps(found.details, allow_nan=False)


def test_shifted_prompts_are_the_same_behind_neutral_lines(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE))
    moved = shifted(subject, seed=0)
    assert moved is not None and 0 < len(moved) <= 100
    tokenizer, context = planted.checkpoint.tokenizer, planted.checkpoint.config.context
    texts = [
        tokenizer.decode(row[: last + 1])
        for row, last in zip(moved.tokens.tolist(), moved.last.tolist(), strict=True)
    ]
    first, second = texts[: len(moved)], texts[len(moved) :]
    own = {pair.prompt: pair for pair in planted.task.report}
    for prompt, counterfactual in zip(first, second, strict=True):
        *lines, text = prompt.split("\n")
        assert 1 <= len(lines) <= 3
        assert set(lines) <= set(NEUTRAL_LINES)
        assert counterfactual == "\n".join([*lines, own[text].counterfactual])
    assert int(moved.last.max()) < context
    assert len({text.count("\n") for text in texts}) > 1
    # Nothing but the tokens is another: the answers, the sides, the templates stay.
    task = Task(**{**vars(planted.task), "report": tuple(own[t.split("\n")[-1]] for t in first)})
    part = PromptTensors.of(task.encode(tokenizer, context).report)
    assert moved.wanted.equal(part.wanted) and moved.other.equal(part.other)
    assert moved.side.equal(part.side) and moved.template.tolist() == [
        planted.task.templates.index(task.templates[i]) for i in part.template.tolist()
    ]


def test_shifted_prompts_repeat_by_seed_and_keep_their_labels(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE))
    first, again, other = (shifted(subject, seed) for seed in (0, 0, 1))
    assert first is not None and again is not None and other is not None
    assert first.tokens.equal(again.tokens)
    assert not (first.tokens.shape == other.tokens.shape and first.tokens.equal(other.tokens))
    # A model that closes quotes by its mechanism still does.
    found = fit(subject)
    assert found.measures["model_accuracy:shifted"].value == 1
    assert found.measures["task_accuracy:shifted"].value == 1
    sizes = found.details["shifted"]
    assert sizes["tokens"] > sizes["tokens_before"]
    assert found.measures["equivalence:shifted"].n == 2 * sizes["pairs"]


def test_without_room_no_prompt_is_shifted() -> None:
    letters = copy_previous()
    long = tuple(pair for pair in letters.task.report if pair.template == "long")
    subject = subject_of(letters, letters.active, replace(letters.task, report=long))
    assert shifted(subject, seed=0) is None
    found = fit(subject)
    assert not SHIFTED & set(found.measures)
    assert "shifted" not in found.details


def test_lines_that_hold_an_answer_are_left_out(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE))
    encode = planted.checkpoint.tokenizer.encode
    answer = encode("#")[0]
    wanted = torch.full_like(subject.report.wanted, answer)
    moved = shifted(replace(subject, report=replace(subject.report, wanted=wanted)), seed=0)
    assert moved is not None
    before = shifted(subject, seed=0)
    assert before is not None and bool((before.tokens == answer).any())
    assert not bool((moved.tokens == answer).any())


def test_cost_is_told_ahead(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE))
    config = ValidationConfig(pairs=50)
    assert fit_passes(subject, config) == pytest.approx(6 * 2)
