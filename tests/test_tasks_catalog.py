"""The shipped tasks: real questions about code that no local count answers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from task_samples import code_tokenizer, count_models
from wirework.core import WireworkError
from wirework.tasks import (
    Task,
    catalog_names,
    check_task,
    list_tasks,
    load_task,
    refuse_local,
)

NAMES = ["python/bracket_counting", "python/set_or_string", "python/single_double_quote"]
CONTRASTS = {
    "python/bracket_counting": {"[[": r"\[", "], [": r"(?:, |\] \+ \[)", "[": r"\("},
    "python/set_or_string": {"set()": r"(?:\"\"|'')"},
    "python/single_double_quote": {'"': "'"},
}


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return load_task(str(request.param))


def test_the_catalog_holds_the_three_tasks_under_their_names() -> None:
    assert catalog_names() == NAMES
    assert [info.name for info in list_tasks()] == NAMES
    for info in list_tasks():
        assert (info.fit, info.select, info.report) == (512, 256, 256)
        assert info.description
        assert not info.local
        assert info.templates - info.report_only >= 10


def test_half_of_report_comes_from_templates_of_its_own(task: Task) -> None:
    alone = set(task.report_only)
    assert len(alone) >= 2
    assert sum(pair.template in alone for pair in task.report) == len(task.report) // 2


def test_no_prompt_stands_twice(task: Task) -> None:
    texts = [
        text
        for pairs in task.splits.values()
        for pair in pairs
        for text in (pair.prompt, pair.counterfactual)
    ]
    assert len(set(texts)) == len(texts)


def test_the_sides_of_a_pair_differ_in_the_contrast_only(task: Task) -> None:
    contrast = CONTRASTS[task.name]
    parts = re.compile("|".join(re.escape(text) for text in contrast))
    for pair in (*task.fit, *task.report):
        # Every place of the prompt may be as it is, or changed in the way of the contrast.
        pattern = "".join(
            f"(?:{re.escape(text)}|{contrast[text]})" if text in contrast else re.escape(text)
            for text in re.split(f"({parts.pattern})", pair.prompt)
        )
        assert re.fullmatch(pattern, pair.counterfactual), pair


def test_it_is_fit_for_a_small_context_of_a_tokenizer_of_python(task: Task) -> None:
    complaints = check_task(task, code_tokenizer(), 60)
    assert [str(c) for c in complaints if c.level == "error"] == []


def test_the_last_three_tokens_are_the_same_on_both_sides(task: Task) -> None:
    report = task.encode(code_tokenizer(), 60).report
    n = len(report)
    ends = [report.tokens[row, end - 2 : end + 1] for row, end in enumerate(report.last)]
    np.testing.assert_array_equal(ends[:n], ends[n:])


def test_local_counts_do_not_solve_it(task: Task) -> None:
    losses = refuse_local(task, code_tokenizer(), count_models())
    assert set(losses) == {"bigram", "last three tokens"}
    assert min(losses.values()) >= 0.5


def test_the_quotes_of_a_closed_string_do_not_tell_the_open_one() -> None:
    task = load_task("python/single_double_quote")
    closed = [
        re.findall(r"([\"'])\w+\1", pair.prompt) for pair in (*task.fit, *task.select, *task.report)
    ]
    marks = [found[0] for found in closed if found]
    assert len(marks) > 20
    assert 0.25 < marks.count('"') / len(marks) < 0.75


def test_quote_answers_hold_closing_tokens_of_their_own_quote() -> None:
    tokenizer = code_tokenizer()
    report = load_task("python/single_double_quote").encode(tokenizer, 60).report
    for ids, quote in ((report.wanted[0], '"'), (report.other[0], "'")):
        texts = {tokenizer.token_text(int(i)) for i in ids if i >= 0}
        assert {quote, f"{quote})", f"{quote},"} <= texts
        assert not texts & {"'s", "'t"}
        assert all(text.startswith(quote) for text in texts)


def test_loading_twice_gives_the_same_task(task: Task) -> None:
    again = load_task(task.name)
    assert again == task
    assert again.hash() == task.hash()


def test_an_unknown_name_is_told_the_nearest_one() -> None:
    with pytest.raises(WireworkError) as caught:
        load_task("python/single_duble_quote")
    assert caught.value.code == "task-unknown"
    assert caught.value.hint == "python/single_double_quote"
    assert "python/set_or_string" in caught.value.expected
