"""Planted: copy the previous token."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft, Planted
from wirework.planted.heads import LONGEST, attend_back
from wirework.tasks import Answers, Pair, Task

LETTERS = {"a": (1, 1), "b": (1, -1), "c": (-1, 1), "d": (-1, -1)}
"""Every letter with its two signs, which two residual channels carry."""


def copy_previous(*, size: int = 16, seed: int = 0) -> Planted:
    """After a row of the letters a to d, name the one before the last.

    One head looks one position back (`attend_back`). Two value channels carry the letter's two
    signs. `size`: residual width.
    """
    task = letter_task(seed)
    tokenizer = Tokenizer.train([f" {letter}" for letter in LETTERS] * 2, 300)
    draft = Draft(
        tokenizer, seed, size=size, n_layer=1, context=LONGEST, sink=False,
        position="concat", d_position=2, activation="relu",
    )  # fmt: skip
    head = draft.head()
    attend_back(draft, head)
    tokens = {letter: tokenizer.encode(f" {letter}")[0] for letter in LETTERS}
    for place, name in enumerate("xy"):
        source, target = draft.channel(), draft.channel()
        read = draft.node(f"read {name}", "0.attn.in", source)
        value = draft.node(f"value {name}", "0.attn.v", draft.channel("attn.v", head))
        write = draft.node(f"write {name}", "0.attn.out", target)
        final = draft.node(f"final {name}", "final", target)
        draft.wire(read, value, 0.6)
        draft.wire(value, write, 1.0)
        for letter, token in tokens.items():
            draft.embed([token], source, LETTERS[letter][place])
            draft.unembed(token, final, 1.0 * LETTERS[letter][place])
    draft.blur(tokens.values(), 3, 0.4)
    return draft.finish(task)


def letter_task(seed: int) -> Task:
    """Rows of 5 to 12 letters; the longest stand in `report` only.

    The letters before the last one go through all ordered pairs, so that either sign alone gets
    a third of them wrong.
    """
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(longest: int, right: str, wrong: str) -> Pair:
        while True:
            length = int(random.integers(5, longest + 1))
            row = [str(letter) for letter in random.choice(list(LETTERS), length)]
            texts = []
            for letter in (right, wrong):
                row[-2] = letter
                texts.append("".join(f" {letter}" for letter in row))
            if not made.intersection(texts):
                made.update(texts)
                template = "long" if length > 10 else "short"
                return Pair(texts[0], texts[1], right, wrong, template)

    def pairs(count: int, longest: int) -> tuple[Pair, ...]:
        sides = list(permutations(LETTERS, 2))
        return tuple(pair(longest, *sides[i % len(sides)]) for i in range(count))

    return Task(
        name="planted/copy_previous",
        description="Name the letter before the last one",
        local=True,
        answers={letter: Answers(tokens=(f" {letter}",)) for letter in LETTERS},
        fit=pairs(SPLIT_SIZES["fit"], 10),
        select=pairs(SPLIT_SIZES["select"], 10),
        report=pairs(SPLIT_SIZES["report"], LONGEST),
    )
