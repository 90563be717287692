"""Prompts of words, every word one token; what several planted models over them have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from wirework.core import Node
from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft
from wirework.tasks import Answers, Pair, Task

Sides = tuple[list[str], list[str]]
"""The words of a prompt and of its counterfactual, equally many."""

Form = Callable[[np.random.Generator, int], Sides]
"""A template: draws a pair of so many words, the first side for the first answer."""

LONG = "long"
"""The template of longer prompts in every form, in `report` only."""

_FILLERS = ("oak", "elm", "ash", "fir", "fig", "nut", "rye", "hay")
_SHORTEST, _SHORT, _LONGEST = 7, 10, 16
"""Words in a prompt: the fewest, the most in `fit` and `select`, the most in `report`."""


def word_task(
    name: str,
    description: str,
    answers: tuple[str, str],
    forms: Mapping[str, Form],
    seed: int,
    *,
    unseen: Mapping[str, Form] | None = None,
) -> Task:
    """Pairs that take their templates in turn; `unseen` ones and `LONG` are in `report` only."""
    every = {**forms, **(unseen or {})}
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(form: str, template: str) -> Pair:
        shortest, longest = (_SHORT + 1, _LONGEST) if template == LONG else (_SHORTEST, _SHORT)
        while True:
            rows = every[form](random, int(random.integers(shortest, longest + 1)))
            texts = ["".join(f" {word}" for word in row) for row in rows]
            if not made.intersection(texts):
                made.update(texts)
                return Pair(texts[0], texts[1], *answers, template)

    def pairs(split: str, turns: list[tuple[str, str]]) -> tuple[Pair, ...]:
        return tuple(pair(*turns[i % len(turns)]) for i in range(SPLIT_SIZES[split]))

    known = [(form, form) for form in forms]
    return Task(
        name=f"planted/{name}",
        description=description,
        local=False,
        answers={answer: Answers(tokens=(f" {answer}",)) for answer in answers},
        fit=pairs("fit", known),
        select=pairs("select", known),
        report=pairs("report", [(form, template) for form in every for template in (form, LONG)]),
    )


def scatter(
    random: np.random.Generator,
    length: int,
    first: Sequence[str | None],
    second: Sequence[str | None],
) -> Sides:
    """Two rows of the same fillers with marks at the same random places, never at the end.

    `first` and `second` name a mark for each place, or None for a filler.
    """
    row = [str(word) for word in random.choice(_FILLERS, length)]
    places = random.choice(length - 1, len(first), replace=False)
    rows = row.copy(), row.copy()
    for made, marks in zip(rows, (first, second), strict=True):
        for place, mark in zip(places, marks, strict=True):
            if mark is not None:
                made[place] = mark
    return rows


def word_draft(
    marks: Iterable[str], task: Task, seed: int, *, size: int, steady: float, activation: str
) -> Draft:
    """A model of one layer whose every token has a constant channel and small numbers of its own.

    `steady`: the height of the constant, against which norms weigh what is written.
    """
    texts = [f" {word}" for word in (*_FILLERS, *marks, *task.answers)]
    tokenizer = Tokenizer.train(texts * 2, 400)
    assert all(len(tokenizer.encode(text)) == 1 for text in texts), "words are single tokens"
    draft = Draft(tokenizer, seed, size=size, n_layer=1, context=_LONGEST, activation=activation)
    every = range(tokenizer.vocab_size)
    draft.embed(every, draft.channel(), steady)
    draft.blur(every, 2, 0.4)
    return draft


def two_heads(draft: Draft) -> list[int]:
    """Two different heads at random."""
    return [int(head) for head in draft.random.permutation(draft.model.config.n_head)[:2]]


def read_marks(draft: Draft, name: str, heights: Mapping[str, float]) -> Node:
    """A channel of the embedding that marks some words, as attention reads it."""
    channel = draft.channel()
    for word, height in heights.items():
        draft.embed(draft.tokenizer.encode(f" {word}"), channel, height)
    return draft.node(f"read {name}", "0.attn.in", channel)


def seek(draft: Draft, head: int, marks: Node, suffix: str = "") -> None:
    """Let a head look at marked words alone: a constant query, a key that reads the marks."""
    place = draft.channel("attn.q", head)
    query = draft.node(f"query{suffix}", "0.attn.q", place)
    key = draft.node(f"key{suffix}", "0.attn.k", place)
    draft.bias(query, 4.0)
    draft.wire(marks, key, 4.0)


def value_of(draft: Draft, name: str, head: int, source: Node) -> Node:
    """A value channel that reads one channel."""
    value = draft.node(name, "0.attn.v", draft.channel("attn.v", head))
    draft.wire(source, value, 1.0)
    return value


def answer_from(draft: Draft, task: Task, channel: int, weight: float) -> None:
    """Unembed a channel: above zero the task's first answer, below zero its second."""
    final = draft.node("final answer", "final", channel)
    for answer, sign in zip(task.answers, (1, -1), strict=True):
        draft.unembed(draft.tokenizer.encode(f" {answer}")[0], final, sign * weight)
