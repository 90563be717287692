"""The shipped tasks: real questions about code that no local count answers."""

from __future__ import annotations

import functools
import re
from pathlib import Path

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

PYTHON = [
    "bracket_brace", "bracket_counting", "class_init", "else_elif", "enumerate_range",
    "final_kwarg", "for_while", "fstring_brace", "if_equals", "if_ternary", "indent_for",
    "lambda_func", "set_or_string", "set_or_string_fixedvarname", "single_double_quote", "var_if",
    "var_swap", "while_return_true", "with_as", "with_open",
]  # fmt: skip
"""The twenty names of weight_sparse_paper.md §5."""
SYNTHETIC = ["comparison", "copy", "induction", "majority"]
NAMES = [*(f"python/{name}" for name in PYTHON), *(f"synthetic/{name}" for name in SYNTHETIC)]
LOCAL = {"python/while_return_true"}
CONTRASTS = {
    "python/bracket_counting": {"[[": r"\[", "], [": r"(?:, |\] \+ \[)", "[": r"\("},
    "python/set_or_string": {"set()": r"(?:\"\"|'')"},
    "python/single_double_quote": {'"': "'"},
    "python/with_as": {"with": "(?:return|assert|if)"},
    "python/bracket_brace": {"[": r"[\[{]"},
}


@functools.cache
def loaded(name: str) -> Task:
    return load_task(name)


@pytest.fixture(params=NAMES)
def task(request: pytest.FixtureRequest) -> Task:
    return loaded(str(request.param))


def test_the_catalog_holds_its_tasks_under_their_names() -> None:
    assert catalog_names() == NAMES
    found = list_tasks()
    assert [info.name for info in found] == NAMES
    assert {info.name for info in found if info.local} == LOCAL
    for info in found:
        assert (info.fit, info.select, info.report) == (512, 256, 256)
        assert info.description
        assert info.templates - info.report_only >= 6
        assert info.report_only >= 3


def test_half_of_report_comes_from_templates_of_its_own(task: Task) -> None:
    alone = set(task.report_only)
    assert len(alone) >= 3
    assert sum(pair.template in alone for pair in task.report) == len(task.report) // 2


def test_no_prompt_stands_twice(task: Task) -> None:
    texts = [
        text
        for pairs in task.splits.values()
        for pair in pairs
        for text in (pair.prompt, pair.counterfactual)
    ]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", CONTRASTS)
def test_the_sides_of_a_pair_differ_in_the_contrast_only(name: str) -> None:
    task, contrast = loaded(name), CONTRASTS[name]
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
    if task.name in LOCAL:
        return
    sides = (
        [pair.prompt for pair in task.report],
        [pair.counterfactual for pair in task.report],
    )
    ends = [[row[-3:] for row in code_tokenizer().encode_many(texts)] for texts in sides]
    assert ends[0] == ends[1]


def test_local_counts_solve_what_says_so_and_nothing_else(task: Task) -> None:
    losses = refuse_local(task, code_tokenizer(), count_models())
    assert set(losses) == {"bigram", "last three tokens"}
    assert (min(losses.values()) < 0.5) == (task.name in LOCAL)


def test_an_exchange_asks_for_the_word_that_changed_places() -> None:
    for name in ("python/var_if", "python/with_open", "synthetic/induction"):
        for pair in loaded(name).report:
            right, other = (
                loaded(name).answers[side].tokens[0].strip()
                for side in (pair.answer, pair.counter_answer)
            )
            first, second = (
                re.findall(rf"(?<!\w)(?:{right}|{other})(?!\w)", text)
                for text in (pair.prompt, pair.counterfactual)
            )
            assert second == [{right: other, other: right}[word] for word in first], pair
            assert right in first


def test_the_majority_is_what_stands_there_most_often() -> None:
    task = loaded("synthetic/majority")
    for pair in (*task.fit, *task.report):
        for text, name in ((pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)):
            row = text.partition("\n")[0].partition(" = ")[2].split(", ")
            assert max(row, key=row.count) == task.answers[name].tokens[0].strip()


def test_comparisons_are_true_or_false_as_asked() -> None:
    task = loaded("synthetic/comparison")
    for pair in (*task.fit, *task.report):
        for text, name in ((pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)):
            found = re.search(r">>> (\w+, \w+) = (\d+, \d+)\n", text)
            assert found is not None
            names, values = found.groups()
            known = dict(zip(names.split(", "), map(int, values.split(", ")), strict=True))
            left, sign, right = text.splitlines()[-1].removeprefix(">>> ").split()
            truth = known[left] < known[right] if "<" in sign else known[left] > known[right]
            assert str(truth) == task.answers[name].tokens[0]


def test_the_page_lists_every_task_as_it_is() -> None:
    page = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `(\w+/\w+)` \| `(.+?)` \| (.+?) \| (.+?) \| (\w*) ?\|$", page, re.MULTILINE
    )
    assert [row[0] for row in rows] == NAMES
    for name, end, wanted, otherwise, local in rows:
        task = loaded(name)
        end = end.replace("⏎", "\n")
        fitting = [pair for pair in task.fit if pair.prompt.endswith(end)]
        assert fitting, name
        for cell, side in ((wanted, fitting[0].answer), (otherwise, fitting[0].counter_answer)):
            answers = task.answers[side]
            known = {*answers.tokens, *(f"{text}…" for text in answers.starting)}
            assert set(re.findall(r"`(.+?)`", cell.replace("⏎", "\n"), re.DOTALL)) <= known
        assert (local == "local") == task.local


def test_the_quotes_of_a_closed_string_do_not_tell_the_open_one() -> None:
    task = loaded("python/single_double_quote")
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
