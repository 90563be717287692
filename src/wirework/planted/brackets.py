"""Planted: close one bracket or two."""

from __future__ import annotations

import numpy as np

from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft, Planted
from wirework.tasks import Answers, Pair, Task

_OPEN, _CLOSE = " [", "]"
_CLOSINGS = {"one": "]", "two": "]]"}
_ITEMS = (" p", " q", " r", " s")
_START = "="
_LENGTHS = {"short": (5, 6), "middle": (8, 9, 10), "long": (12, 13)}
"""Tokens after the start; `middle` stands in `report` only."""


def bracket_depth(*, size: int = 16, seed: int = 0) -> Planted:
    """Close a nested list: with one bracket at depth 1, with two at depth 2.

    A head that looks at every token alike takes the mean of +1 for each bracket opened and -1 for
    each closed, and of -3/2 for the first token: (depth - 3/2) / length, whose sign does not hang
    on the length. A neuron fires where it is positive. `size`: residual width.
    """
    words = (_OPEN, *_CLOSINGS.values(), *_ITEMS, _START)
    tokenizer = Tokenizer.train(words * 2, 300)
    draft = Draft(
        tokenizer, seed, size=size, n_layer=1, context=16, sink=False, activation="relu"
    )  # fmt: skip
    ids = {word: tokenizer.encode(word)[0] for word in words}
    bracket, start, depth, answer = (draft.channel() for _ in range(4))
    draft.embed([ids[_OPEN]], bracket, 1.0)
    draft.embed([ids[_CLOSE]], bracket, -1.0)
    draft.embed([ids[_START]], start, 1.0)
    draft.blur(ids.values(), 2, 0.4)
    _mean_depth(draft, bracket, start, depth)
    neuron = draft.node("neuron", "0.mlp.neuron", draft.channel("mlp.neuron"))
    draft.wire(draft.node("read depth", "0.mlp.in", depth), neuron, 1.0)
    write = draft.node("write answer", "0.mlp.out", answer)
    draft.wire(neuron, write, 4.0)
    draft.bias(write, -4.0)
    final = draft.node("final answer", "final", answer)
    for name, sign in (("one", -1.0), ("two", 1.0)):
        draft.unembed(ids[_CLOSINGS[name]], final, sign)
    return draft.finish(bracket_task(seed))


def _mean_depth(draft: Draft, bracket: int, start: int, depth: int) -> None:
    head = draft.head()
    write = draft.node("write depth", "0.attn.out", depth)
    for name, channel, weight in (("bracket", bracket, 1.0), ("start", start, -1.5)):
        value = draft.node(f"value {name}", "0.attn.v", draft.channel("attn.v", head))
        draft.wire(draft.node(f"read {name}", "0.attn.in", channel), value, 2.0)
        draft.wire(value, write, 4.0 * weight)


def bracket_task(seed: int) -> Task:
    """Open lists of depth 1 and 2; the sides of a pair differ in one token.

    Either the second list is not opened (`opened`), or it is closed again (`closed`).
    """
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(form: str, length: str) -> Pair:
        while True:
            count = int(random.choice(_LENGTHS[length]))
            row = [_OPEN, *(str(word) for word in random.choice(_ITEMS, count - 1))]
            inner = int(random.integers(1, count - 3))
            deep, flat = list(row), list(row)
            deep[inner] = _OPEN
            if form == "closed":
                flat[inner] = _OPEN
                flat[int(random.integers(inner + 2, count - 1))] = _CLOSE
            texts = [_START + "".join(side) for side in (deep, flat)]
            if not made.intersection(texts):
                made.update(texts)
                return Pair(texts[0], texts[1], "two", "one", f"{form}, {length}")

    def pairs(count: int, *lengths: str) -> tuple[Pair, ...]:
        forms = [(form, length) for length in lengths for form in ("opened", "closed")]
        return tuple(pair(*forms[i % len(forms)]) for i in range(count))

    return Task(
        name="planted/bracket_depth",
        description="Close a nested list with one bracket or two",
        local=False,
        answers={name: Answers(tokens=(text,)) for name, text in _CLOSINGS.items()},
        fit=pairs(SPLIT_SIZES["fit"], "short", "long"),
        select=pairs(SPLIT_SIZES["select"], "short", "long"),
        report=pairs(SPLIT_SIZES["report"], *_LENGTHS),
    )
