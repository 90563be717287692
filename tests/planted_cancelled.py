"""A planted model with a shortcut that another unit outweighs, and the circuits of both ways."""

from __future__ import annotations

import numpy as np

from wirework.data import Tokenizer
from wirework.planted import Draft, Planted
from wirework.tasks import Answers, Pair, Task

ENDS = ("read", "write", "final")
TRUE = (*ENDS, "true 0", "true 1")
WRONG = (*ENDS, "shortcut")
STRENGTHS = {"true 0": 1.5, "true 1": 1.5, "shortcut": 2.0, "cancel": -2.5}
"""What each value adds to the answer. Alone the shortcut has the right sign, with `cancel` the
wrong one; the two true values outweigh it."""


def cancelled(*, size: int = 32, seed: int = 0) -> Planted:
    """After a row of neutral letters that holds an a or a b, name that one.

    A head that looks everywhere alike has four values that read it.
    """
    task = _task(seed)
    tokenizer = Tokenizer.train([f" {letter}" for letter in "abcd"] * 2, 300)
    draft = Draft(tokenizer, seed, size=size, n_layer=1, context=8, sink=False)
    every = [tokenizer.encode(f" {letter}")[0] for letter in "abcd"]
    draft.embed(every, draft.channel(), 1.0)
    draft.blur(every, 2, 0.4)
    kind, target, head = draft.channel(), draft.channel(), draft.head()
    draft.embed(every[:1], kind, 1.0)
    draft.embed(every[1:2], kind, -1.0)
    read = draft.node("read", "0.attn.in", kind)
    write = draft.node("write", "0.attn.out", target)
    final = draft.node("final", "final", target)
    for name, strength in STRENGTHS.items():
        value = draft.node(name, "0.attn.v", draft.channel("attn.v", head))
        draft.wire(read, value, 1.0)
        draft.wire(value, write, strength)
    for token, sign in zip(every, (1, -1), strict=False):
        draft.unembed(token, final, 2.0 * sign)
    return draft.finish(task)


def _task(seed: int) -> Task:
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(template: str) -> Pair:
        while True:
            row = [str(letter) for letter in random.choice(["c", "d"], int(random.integers(4, 8)))]
            place = int(random.integers(len(row)))
            texts = ["".join(f" {x}" for x in (*row[:place], a, *row[place + 1 :])) for a in "ab"]
            if texts[0] not in made:
                made.add(texts[0])
                return Pair(texts[0], texts[1], "a", "b", template)

    def pairs(count: int, *templates: str) -> tuple[Pair, ...]:
        return tuple(pair(templates[number % len(templates)]) for number in range(count))

    return Task(
        name="planted/cancelled",
        description="Name the letter that is not neutral",
        local=False,
        answers={letter: Answers(tokens=(f" {letter}",)) for letter in "ab"},
        fit=pairs(24, "row"),
        select=pairs(12, "row"),
        report=pairs(40, "row", "line", "list"),
    )
