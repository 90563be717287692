"""Pairs as tokens: rows, answers, and prompts that do not fit a tokenizer."""

from __future__ import annotations

import dataclasses
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from task_samples import code_tokenizer
from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.tasks import Answers, EncodedTask, Pair, Task, check_task, load_task

SMALL = Tokenizer.train(["xx = [1]\nyy = (2)\nxx = [3]]\nyy[0]] + xx]]\n" * 8], 262)


@functools.cache
def strings() -> EncodedTask:
    return load_task("python/set_or_string").encode(code_tokenizer(), 60)


def one_pair(
    prompt: str,
    counterfactual: str,
    answers: Answers,
    counter_answers: Answers,
) -> Task:
    """A task with that pair in `fit` and others that are always right in `select`, `report`."""
    good = [Pair(f"a{n} = [1", f"a{n} = (1", "square", "round", "good", None) for n in range(2)]
    return Task(
        name="own",
        description="",
        local=False,
        answers={
            "A": answers,
            "B": counter_answers,
            "square": Answers(starting=("]",)),
            "round": Answers(starting=(")",)),
        },
        fit=(Pair(prompt, counterfactual, "A", "B", "mine", 7),),
        select=(good[0],),
        report=(good[1],),
        source="own.jsonl",
    )


@pytest.fixture(scope="module")
def encoded() -> EncodedTask:
    return load_task("python/single_double_quote").encode(code_tokenizer(), 60)


def test_rows_hold_prompts_then_counterfactuals(encoded: EncodedTask) -> None:
    task = load_task("python/single_double_quote")
    tokenizer = code_tokenizer()
    for split, prompts in (("fit", encoded.fit), ("report", encoded.report)):
        pairs = {str(name): found for name, found in task.splits.items()}[split]
        assert len(prompts) == len(pairs)
        sides = [pair.prompt for pair in pairs] + [pair.counterfactual for pair in pairs]
        for row, text in enumerate(sides):
            end = int(prompts.last[row]) + 1
            assert prompts.tokens[row, :end].tolist() == tokenizer.encode(text)
            assert set(prompts.tokens[row, end:].tolist()) <= {tokenizer.end_of_text}
        names = [encoded.templates[int(index)] for index in prompts.template]
        assert names == [pair.template for pair in pairs] * 2


def test_the_wanted_answers_of_one_side_are_the_others_of_its_twin(encoded: EncodedTask) -> None:
    n = len(encoded.fit)
    for wanted, other in (
        (encoded.fit.wanted[:n], encoded.fit.other[n:]),
        (encoded.fit.other[:n], encoded.fit.wanted[n:]),
    ):
        for left, right in zip(wanted, other, strict=True):
            assert set(left.tolist()) - {-1} == set(right.tolist()) - {-1}
    used = set(encoded.fit.wanted.ravel().tolist()) | set(encoded.fit.other.ravel().tolist())
    assert set(encoded.answer_tokens().tolist()) == used - {-1}


@given(st.lists(st.integers(0, 255), max_size=9))
def test_take_keeps_the_sides_of_a_pair_together(indices: list[int]) -> None:
    prompts = strings().report
    taken = prompts.take(indices)
    assert len(taken) == len(indices)
    for place, index in enumerate(indices):
        for offset, origin in ((place, index), (len(indices) + place, len(prompts) + index)):
            assert (taken.tokens[offset] == prompts.tokens[origin]).all()
            assert (taken.wanted[offset] == prompts.wanted[origin]).all()
            assert taken.last[offset] == prompts.last[origin]


@pytest.mark.parametrize("seed", [None, 5])
def test_batches_hold_every_pair_once(encoded: EncodedTask, seed: int | None) -> None:
    batches = list(encoded.select.batches(100, seed=seed))
    assert [len(batch) for batch in batches] == [100, 100, 56]
    rows = [tuple(row) for batch in batches for row in batch.tokens[: len(batch)].tolist()]
    everything = [tuple(row) for row in encoded.select.tokens[:256].tolist()]
    assert sorted(rows) == sorted(everything)
    assert (rows == everything) == (seed is None)
    again = list(encoded.select.batches(100, seed=seed))
    assert all((a.tokens == b.tokens).all() for a, b in zip(batches, again, strict=True))


def test_answers_are_first_tokens_and_tokens_that_start_alike() -> None:
    right = Answers(tokens=("]\n", "]]"), starting=("xx",))
    task = one_pair("yy = [2", "yy = (2", right, Answers(starting=("y",), except_starting=("yy",)))
    fit = task.encode(SMALL, 20).fit
    wanted, other = (
        {SMALL.token_text(int(i)) for i in ids if i >= 0} for ids in (fit.wanted[0], fit.other[0])
    )
    prompt = SMALL.encode("yy = [2")
    follows = {SMALL.encode("yy = [2" + text)[len(prompt)] for text in ("]\n", "]]")}
    starts = {text for i in range(261) if (text := SMALL.token_text(i)).startswith("xx")}
    assert starts
    assert wanted == {SMALL.token_text(token) for token in follows} | starts
    assert other == {"y"}


def test_answers_of_one_row_end_where_those_of_the_widest_go_on() -> None:
    task = one_pair("yy = [2", "yy = (2", Answers(tokens=("]",)), Answers(tokens=(")", ";", ":")))
    fit = task.encode(SMALL, 20).fit
    assert fit.wanted.shape == (2, 3)
    assert (fit.wanted[0] >= 0).sum() == 1
    assert (fit.wanted[0, 1:] == -1).all()


SQUARE, ROUND = Answers(tokens=("]",)), Answers(tokens=(")",))

MISFITS = {
    "too long": (("xx " * 30, "yy", SQUARE, ROUND), "task-prompt-too-long"),
    "counterfactual too long": (("xx", "yy " * 30, SQUARE, ROUND), "task-prompt-too-long"),
    "empty": (("", "yy", SQUARE, ROUND), "task-prompt-empty"),
    "no token": (
        ("xx = [1", "xx = (1", Answers(starting=("zebra",)), ROUND),
        "task-answer-unknown",
    ),
    "all but": (
        ("xx = [1", "xx = (1", Answers(starting=("]",), except_starting=("]",)), ROUND),
        "task-answer-unknown",
    ),
    "merges": (("yy = x", "yy = 1", Answers(tokens=("x",)), ROUND), "task-answer-merges"),
    "merges with a start": (
        ("yy = x", "yy = 1", Answers(starting=("x",)), ROUND),
        "task-answer-merges",
    ),
    "overlap": (
        ("xx = [1", "xx = (1", Answers(starting=("]",)), Answers(tokens=("]", ")"))),
        "task-answers-overlap",
    ),
    "same first token": (
        ("xx = [1", "xx = (1", Answers(tokens=("zebra",)), Answers(tokens=("zoo",))),
        "task-answers-overlap",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_the_tokenizer_is_refused(name: str) -> None:
    arguments, code = MISFITS[name]
    task = one_pair(*arguments)
    with pytest.raises(WireworkError) as caught:
        task.encode(SMALL, 20)
    assert caught.value.code == code
    assert caught.value.message.startswith("own.jsonl:7: ")
    assert code in {complaint.code for complaint in check_task(task, SMALL, 20)}


def test_a_prompt_may_fill_the_context_to_the_last_token() -> None:
    task = one_pair("xx = [1", "xx = (1", SQUARE, ROUND)
    texts = ("xx = [1", "xx = (1", "a0 = [1", "a0 = (1")
    longest = max(len(SMALL.encode(text)) for text in texts)
    assert task.encode(SMALL, longest).select.tokens.shape[1] == longest
    with pytest.raises(WireworkError):
        task.encode(SMALL, longest - 1)


def test_an_empty_split_is_refused() -> None:
    task = dataclasses.replace(one_pair("xx = [1", "xx = (1", SQUARE, ROUND), report=())
    with pytest.raises(WireworkError) as caught:
        task.encode(SMALL, 20)
    assert caught.value.code == "task-split-empty"
