"""Planted: both of two marks, one of two, more of one than of the other."""

from __future__ import annotations

import numpy as np

from wirework.core import Node
from wirework.planted.draft import Draft, Planted
from wirework.planted.words import (
    Form,
    Sides,
    answer_from,
    read_marks,
    scatter,
    seek,
    two_heads,
    value_of,
    word_draft,
    word_task,
)
from wirework.tasks import Task

MARKS = {"first": "sun", "second": "rain"}
_ANSWERS = ("yes", "no")
_SIDES = ("left", "right")


def both_present(*, size: int = 16, seed: int = 0) -> Planted:
    """AND: say yes where two marks both stand in the prompt.

    Two heads, each looking for one mark, add what they find into one channel; a neuron speaks
    where the sum is two. `size`: residual width. One minimal circuit: every part, the queries only
    under zero ablation, for they are constants.
    """
    task = both_task(seed)
    draft, heard = _count_marks(task, seed, size=size)
    answer = draft.channel()
    neuron = _neuron(draft, "neuron", heard, -6.8)
    _decide(draft, task, answer, {neuron: 1.0})
    return draft.finish(task)


def one_of_two(*, size: int = 16, seed: int = 0) -> Planted:
    """XOR: say yes where one of two marks stands in the prompt, but not where both do.

    As `both_present`, with one neuron that speaks where there is any mark and one that outweighs
    it where there are both. `size`: residual width. One minimal circuit, as there.
    """
    task = one_task(seed)
    draft, heard = _count_marks(task, seed, size=size)
    answer = draft.channel()
    some = _neuron(draft, "neuron any", heard, -1.0)
    both = _neuron(draft, "neuron both", heard, -5.5)
    _decide(draft, task, answer, {some: 0.5, both: -1.2})
    return draft.finish(task)


def majority(*, size: int = 16, seed: int = 0) -> Planted:
    """Say left or right, whichever word the prompt holds more often.

    A head looks at all words alike; one value channel counts the one word, another the other
    word, and they are written with opposite signs. `size`: residual width. One minimal circuit:
    every part.
    """
    task = majority_task(seed)
    draft = word_draft(_SIDES, task, seed, size=size, steady=1.0, activation="gelu")
    head, lead = draft.head(), draft.channel()
    write = draft.node("write lead", "0.attn.out", lead)
    for word, sign in zip(_SIDES, (1, -1), strict=True):
        value = value_of(draft, f"value {word}", head, read_marks(draft, word, {word: 1.0}))
        draft.wire(value, write, sign * 4.0)
    answer_from(draft, task, lead, 1.2)
    return draft.finish(task)


def _count_marks(task: Task, seed: int, *, size: int) -> tuple[Draft, Node]:
    """Two heads write into one channel how many of the two marks there are: 0, 1 or 2.

    The constant is high, so that the norm leaves two marks well above one.
    """
    draft = word_draft(MARKS.values(), task, seed, size=size, steady=3.0, activation="relu")
    count = draft.channel()
    write = draft.node("write count", "0.attn.out", count)
    for (name, mark), head in zip(MARKS.items(), two_heads(draft), strict=True):
        read = read_marks(draft, name, {mark: 1.0})
        seek(draft, head, read, f" {name}")
        draft.wire(value_of(draft, f"value {name}", head, read), write, 0.8)
    return draft, draft.node("read count", "0.mlp.in", count)


def _neuron(draft: Draft, name: str, heard: Node, bias: float) -> Node:
    neuron = draft.node(name, "0.mlp.neuron", draft.channel("mlp.neuron"))
    draft.wire(heard, neuron, 4.0)
    draft.bias(neuron, bias)
    return neuron


def _decide(draft: Draft, task: Task, channel: int, weights: dict[Node, float]) -> None:
    """Neurons write 0 or 2 into the channel of the answer, which a bias makes -1 or 1."""
    write = draft.node("write answer", "0.mlp.out", channel)
    for neuron, weight in weights.items():
        draft.wire(neuron, write, weight)
    draft.bias(write, -1.0)
    answer_from(draft, task, channel, 3.0)


def both_task(seed: int) -> Task:
    """Both marks against a prompt that lacks one of them, in `report` also against none."""
    return word_task(
        "both_present",
        "Say yes where both marks stand in the prompt",
        _ANSWERS,
        {
            "lacks first": _marks("both", "second"),
            "lacks second": _marks("both", "first"),
        },
        seed,
        unseen={"lacks both": _marks("both", "none")},
    )


def one_task(seed: int) -> Task:
    """Either mark alone against none and against both."""
    return word_task(
        "one_of_two",
        "Say yes where one of the marks stands in the prompt and the other does not",
        _ANSWERS,
        {f"{one} or {other}": _marks(one, other) for other in ("none", "both") for one in MARKS},
        seed,
    )


def _marks(first: str, second: str) -> Form:
    """Prompts with the `first` mark, the `second`, `both` or `none`, by side."""
    held = [
        [mark if side in (name, "both") else None for name, mark in MARKS.items()]
        for side in (first, second)
    ]
    return lambda random, length: scatter(random, length, held[0], held[1])


def majority_task(seed: int) -> Task:
    """A lead of one for either word.

    Between the sides of a pair only one of the words changes in number, or one turns into the
    other: neither count alone gives the answer.
    """
    return word_task(
        "majority",
        "Say which of two words the prompt holds more often",
        _SIDES,
        {
            "left moves": _lead(["left", "left"], [None, None], fewer="left"),
            "right moves": _lead([None, None], ["right", "right"], fewer="right"),
            "trade": _lead(["left"], ["right"]),
        },
        seed,
    )


def _lead(first: list[str | None], second: list[str | None], *, fewer: str = "") -> Form:
    """Sides that differ in some words; beside them stand one or two of each, but one `fewer`."""

    def sides(random: np.random.Generator, length: int) -> Sides:
        still = [*_SIDES] * int(random.integers(1, 3))
        if fewer:
            still.remove(fewer)
        return scatter(random, length, still + first, still + second)

    return sides
