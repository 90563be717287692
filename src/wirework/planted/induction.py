"""Planted: induction, the token that followed the last one before."""

from __future__ import annotations

import numpy as np

from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft, Planted
from wirework.planted.heads import LONGEST, attend_back, look_up
from wirework.tasks import Answers, Pair, Task

NAMES = {" a": 1.0, " b": -1.0}
KINDS = {" one": 1.0, " two": -1.0}
_REST = (" x", " y", " z")


def induction(*, size: int = 16, seed: int = 0) -> Planted:
    """A B … A -> B: two heads in two layers.

    In layer 0 a head copies the sign of the token before into a channel of its own. In layer 1 a
    head asks for the tokens whose copied sign is that of the last token, and copies which kind
    they are. `size`: residual width.
    """
    words = (*NAMES, *KINDS, *_REST)
    tokenizer = Tokenizer.train(words * 2, 300)
    draft = Draft(
        tokenizer, seed, size=size, n_layer=2, context=LONGEST, sink=False,
        position="concat", d_position=2, activation="relu",
    )  # fmt: skip
    ids = {word: tokenizer.encode(word)[0] for word in words}
    name, kind, told = draft.channel(), draft.channel(), draft.channel()
    for signs, channel in ((NAMES, name), (KINDS, kind)):
        for word, sign in signs.items():
            draft.embed([ids[word]], channel, sign)
    draft.blur(ids.values(), 3, 0.4)
    head = draft.head()
    attend_back(draft, head)
    before = draft.node("value before", "0.attn.v", draft.channel("attn.v", head))
    write = draft.node("write before", "0.attn.out", told)
    draft.wire(draft.node("read before", "0.attn.in", name), before, 0.6)
    draft.wire(before, write, 1.0)
    value = look_up(draft, asked=name, told=told, kind=kind)
    target = draft.channel()
    draft.wire(value, draft.node("write answer", "1.attn.out", target), 1.5)
    final = draft.node("final answer", "final", target)
    for word, sign in KINDS.items():
        draft.unembed(ids[word], final, 1.0 * sign)
    return draft.finish(induction_task(seed))


def induction_task(seed: int) -> Task:
    """Two names, each followed by its kind, then one of the names.

    The sides of a pair differ in the kinds (`kinds`), in the names (`names`), or in the name that
    is asked for (`asked`), which changes the answer each time. Longer gaps stand in `report` only.
    """
    random = np.random.default_rng(seed)
    made: set[str] = set()
    forms = ("kinds", "names", "asked")

    def text(names: list[str], kinds: list[str], asked: str, gaps: list[list[str]]) -> str:
        parts = [
            word
            for gap, name, kind in zip(gaps, names, kinds, strict=True)
            for word in (*gap, name, kind)
        ]
        return "".join([*parts, *gaps[-1][:1], asked])

    def pair(form: str, most: int) -> Pair:
        while True:
            names, kinds = (list(random.permutation(list(x))) for x in (NAMES, KINDS))
            asked = str(random.choice(names))
            gaps = [
                [str(word) for word in random.choice(_REST, int(random.integers(1, most + 1)))]
                for _ in range(2)
            ]
            answer = kinds[names.index(asked)]
            other = kinds[1 - names.index(asked)]
            first = text(names, kinds, asked, gaps)
            second = {
                "kinds": text(names, kinds[::-1], asked, gaps),
                "names": text(names[::-1], kinds, asked, gaps),
                "asked": text(names, kinds, names[1 - names.index(asked)], gaps),
            }[form]
            if not made.intersection((first, second)):
                made.update((first, second))
                template = f"{form}, far" if max(map(len, gaps)) > 2 else form
                return Pair(first, second, answer.strip(), other.strip(), template)

    def pairs(count: int, most: int) -> tuple[Pair, ...]:
        return tuple(pair(forms[i % len(forms)], most) for i in range(count))

    return Task(
        name="planted/induction",
        description="Name the token that followed the last one before",
        local=False,
        answers={word.strip(): Answers(tokens=(word,)) for word in KINDS},
        fit=pairs(SPLIT_SIZES["fit"], 2),
        select=pairs(SPLIT_SIZES["select"], 2),
        report=pairs(SPLIT_SIZES["report"], 3),
    )
