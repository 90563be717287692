"""The search for a node's label against brute force, and labels of prompts that do not parse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

import wirework as ww
from wirework.data import Tokenizer
from wirework.explain.label_search import (
    HeldOut,
    LabelSearch,
    conjunction,
    holds,
    mcc_of,
    thresholds,
)
from wirework.explain.prompt_labels import label_prompts
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.feature_sets import feature_set
from wirework.probing.label_tokens import label_tokens
from wirework.probing.one_neuron import confusion
from wirework.tasks import Pair


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_correlation_is_that_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    # Both classes, or scikit-learn warns.
    both = [*pairs, (True, True), (False, False)]
    said, y = (np.array(column) for column in zip(*both, strict=True))
    assert mcc_of(confusion(said, y)) == pytest.approx(matthews_corrcoef(y, said))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_best_single_feature_is_that_of_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    held = random.random((60, 4)) < random.uniform(0.1, 0.9, 4)
    held[:2] = [[True], [False]]
    x = random.integers(-3, 4, 60).astype(np.float32)
    found = LabelSearch(held, np.arange(4), seed).single(x)
    assert found is not None
    every = [
        abs(matthews_corrcoef(held[:, column], x > edge))
        for column in range(4)
        for edge in np.arange(-3, 3) + 0.5
    ]
    assert found.mcc == pytest.approx(max(every))
    ((column, absent),) = found.terms
    assert matthews_corrcoef(held[:, column] != absent, found.says(x)) == pytest.approx(found.mcc)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), absent=st.tuples(st.booleans(), st.booleans()))
def test_a_conjunction_that_a_node_tells_exactly_is_found(
    seed: int, absent: tuple[bool, bool]
) -> None:
    random = np.random.default_rng(seed)
    held = random.random((500, 30)) < 0.4
    terms = ((5, absent[0]), (17, absent[1]))
    fires = conjunction(held, terms)
    x = np.where(fires, 1 + random.random(500), -random.random(500)).astype(np.float32)
    for sign, side in ((1, "on"), (-1, "off")):
        found = LabelSearch(held, np.arange(30), seed).pair(sign * x)
        assert found is not None
        assert (found.terms, found.direction) == (terms, side)
        assert found.mcc == pytest.approx(1)


def test_columns_that_may_not_be_used_are_not() -> None:
    random = np.random.default_rng(0)
    held = random.random((200, 6)) < 0.4
    x = held[:, 2].astype(np.float32)
    search = LabelSearch(held, np.array([0, 1, 5]), 0)
    found = search.single(x), search.pair(x)
    assert all({c for c, _ in one.terms} <= {0, 1, 5} for one in found if one is not None)
    assert found[0] is not None


def test_a_node_that_never_changes_tells_nothing() -> None:
    held = np.random.default_rng(0).random((50, 3)) < 0.5
    search = LabelSearch(held, np.arange(3), 0)
    still = np.full(50, 0.5, np.float32)
    assert search.single(still) is None
    assert search.pair(still) is None


def test_thresholds_part_zero_from_what_is_near_it() -> None:
    x = np.array([0, 0, 0, 1e-4, 5, -1e-4], np.float32)
    between = thresholds(x)
    assert ((between > 0) & (between < 1e-4)).any()
    assert ((between < 0) & (between > -1e-4)).any()
    assert not np.isin(between, x).any()


def test_tokens_that_nothing_is_asked_of_do_not_count() -> None:
    labels = np.array([[YES, NOT_ASKED], [NO, NO], [NOT_ASKED, NOT_ASKED]], np.int8)
    held, counts = holds(labels)
    assert held.tolist() == [[True, False], [False, False], [False, False]]
    assert counts.tolist() == [True, True, False]


def test_held_out_scores_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(3)
    held = random.random((400, 3)) < 0.3
    x = (held[:, 1] + 0.7 * random.standard_normal(400)).astype(np.float32)
    found = LabelSearch(held, np.arange(3), 0).single(x)
    assert found is not None
    score = HeldOut.of(held, np.repeat(np.arange(20), 20) + 7, ("a", "b", "c"), 0).score(found, x)
    assert str(score) == "b"
    assert score.f1 == pytest.approx(f1_score(held[:, 1], found.says(x)))
    assert score.mcc == pytest.approx(matthews_corrcoef(held[:, 1], found.says(x)))
    assert score.low < score.f1 < score.high
    assert score.base_rate == pytest.approx(held[:, 1].mean())


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return ww.load("reference/v1-sparse-small").tokenizer


@pytest.mark.parametrize("name", ["single_double_quote", "if_equals", "indent_for", "with_as"])
def test_prompts_of_shipped_tasks_are_completed_so_that_they_parse(
    tokenizer: Tokenizer, name: str
) -> None:
    task = ww.task(f"python/{name}")
    pairs = task.report[:: max(1, len(task.report) // 40)]
    found = label_prompts(task, pairs, tokenizer, feature_set("python"))
    assert found.known.mean() > 0.9
    assert found.labels.shape[0] == len(found.known) == 2 * len(pairs)
    for row, prompt in enumerate([*(p.prompt for p in pairs), *(p.counterfactual for p in pairs)]):
        count = len(tokenizer.encode(prompt))
        assert (found.labels[row, count:] == NOT_ASKED).all()


def test_labels_of_prompts_are_those_of_the_whole_text(tokenizer: Tokenizer) -> None:
    task = ww.task("python/single_double_quote")
    features = feature_set("python")
    prompt = "x = 'a b"
    pair = Pair(prompt, prompt.replace("'", '"'), "single", "double", "assign")
    found = label_prompts(task, [pair], tokenizer, features)
    assert found.known.all()
    whole = label_tokens({"x.py": prompt + "'"}, tokenizer, features)
    before = len(tokenizer.encode("x = '"))
    column = features.index("is_single_quoted")
    assert found.labels[0, : before - 1].tolist() == whole.labels[: before - 1].tolist()
    assert found.labels[0, before - 1 : len(tokenizer.encode(prompt)), column].all()
    assert not (found.labels[1, :, column] == YES).any()


def test_a_prompt_that_nothing_makes_parse_is_not_known(tokenizer: Tokenizer) -> None:
    task = ww.task("python/single_double_quote")
    pair = Pair("x = = 'a", 'x = = "a', "single", "double", "assign")
    found = label_prompts(task, [pair], tokenizer, feature_set("python"))
    assert not found.known.any()
    assert (found.labels == NOT_ASKED).all()
