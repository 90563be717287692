"""Planted: units that stand in for one another, and units that undo one another."""

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

MARKS = {"Sun": (1, 1), "Moon": (-1, 1), "SUN": (1, -1), "MOON": (-1, -1)}
"""Every mark with its kind and whether it is quiet or loud, as signs."""

_ECHOES = {"sun": 1, "moon": -1}
"""Words of a kind that are not marks."""


def either_unit(*, size: int = 16, seed: int = 0) -> Planted:
    """OR: two heads that do the same, either of which is enough.

    Both find the mark and write its kind into the channel of the answer, so strongly that the last
    norm makes two hardly louder than one. `size`: residual width. Two minimal circuits: the
    parts that both share, with key and value of the one head or of the other. Under resample
    ablation there is one, with both: a head that is cut says the answer of the other prompt.
    """
    task = kind_task("either_unit", seed)
    draft, mark, kind = _draft(task, seed, size=size)
    write = draft.node("write answer", "0.attn.out", draft.channel())
    for name, head in zip(("one", "two"), two_heads(draft), strict=True):
        seek(draft, head, mark, f" {name}")
        draft.wire(value_of(draft, f"value {name}", head, kind), write, 2.5)
    answer_from(draft, task, write.index, 0.8)
    return draft.finish(task)


def backup_unit(*, size: int = 16, seed: int = 0) -> Planted:
    """A neuron that says the answer when the value channel that normally does is silent.

    One head carries the kind of the mark into the channel of the answer and, by a spare value,
    into another one. The neuron reads the spare less the answer: what is left over is a whisper
    while the first unit speaks, and the whole answer where it is cut (self-repair). `size`:
    residual width. Two minimal circuits: the first unit alone, or the backup without it.
    """
    task = kind_task("backup_unit", seed)
    # A high constant: norms change little with what is written, so the two are equally loud.
    draft, mark, kind = _draft(task, seed, size=size, steady=3.0)
    head = draft.head()
    seek(draft, head, mark)
    said, spare = draft.channel(), draft.channel()
    for name, channel, weight in (("answer", said, 1.0), ("spare", spare, 0.5)):
        write = draft.node(f"write {name}", "0.attn.out", channel)
        draft.wire(value_of(draft, f"value {name}", head, kind), write, weight)
    neuron = draft.node("backup", "0.mlp.neuron", draft.channel("mlp.neuron"))
    draft.wire(draft.node("read spare", "0.mlp.in", spare), neuron, 2.0)
    draft.wire(draft.node("read answer", "0.mlp.in", said), neuron, -0.95)
    # It rests well above zero, so that it can say either answer.
    rest, loudness = 3.2, 0.8
    draft.bias(neuron, rest)
    repaired = draft.node("write backup", "0.mlp.out", said)
    draft.wire(neuron, repaired, loudness)
    draft.bias(repaired, -rest * loudness)
    answer_from(draft, task, said, 1.8)
    return draft.finish(task)


def cancelling_pair(*, size: int = 16, seed: int = 0) -> Planted:
    """Two value channels that undo one another, beside the one that gives the answer.

    Both read whether the mark is loud, which says nothing about its kind, and are written with
    opposite signs into the channel of the answer: cutting either of them drowns the answer, cutting
    both changes nothing. `size`: residual width. One minimal circuit, without the pair.
    """
    return _undone("cancelling_pair", size, seed, plus=2.5, minus=-2.5)


def leaning_pair(*, size: int = 16, seed: int = 0) -> Planted:
    """The same with one of the two somewhat stronger, so that a little of it is left over."""
    return _undone("leaning_pair", size, seed, plus=2.4, minus=-2.1)


def _undone(name: str, size: int, seed: int, **weights: float) -> Planted:
    task = kind_task(name, seed)
    draft, mark, kind = _draft(task, seed, size=size)
    head = draft.head()
    seek(draft, head, mark)
    write = draft.node("write answer", "0.attn.out", draft.channel())
    draft.wire(value_of(draft, "value", head, kind), write, 1.0)
    loudness = read_marks(draft, "loudness", {word: sign for word, (_, sign) in MARKS.items()})
    for part, weight in weights.items():
        draft.wire(value_of(draft, f"value {part}", head, loudness), write, weight)
    answer_from(draft, task, write.index, 1.0)
    return draft.finish(task)


def _draft(task: Task, seed: int, *, size: int, steady: float = 1.0) -> tuple[Draft, Node, Node]:
    """The model, the channel that tells a mark, and that of the kind, which echoes have too."""
    words = (*MARKS, *_ECHOES)
    draft = word_draft(words, task, seed, size=size, steady=steady, activation="relu")
    mark = read_marks(draft, "mark", dict.fromkeys(MARKS, 1.0))
    kinds = {word: kind for word, (kind, _) in MARKS.items()}
    return draft, mark, read_marks(draft, "kind", kinds | _ECHOES)


def kind_task(name: str, seed: int) -> Task:
    """Say day or night after the one mark of a prompt, whatever its two echoes say.

    Both echoes follow the mark, or one of them, or neither: only the mark gives the answer.
    """
    return word_task(
        name,
        "Say which of the heavenly bodies the prompt spells with a capital",
        ("day", "night"),
        {"agree": _kinds(1, 1), "mixed": _kinds(1, -1), "against": _kinds(-1, -1)},
        seed,
    )


def _kinds(*echoes: int) -> Form:
    """A mark of either kind, as loud as it happens, and echoes of its kind (1) or the other."""

    def words(random: np.random.Generator, kind: int) -> list[str]:
        marks = [word for word, (found, _) in MARKS.items() if found == kind]
        by_sign = {sign: word for word, sign in _ECHOES.items()}
        return [str(random.choice(marks)), *(by_sign[kind * echo] for echo in echoes)]

    def sides(random: np.random.Generator, length: int) -> Sides:
        mark, *others = words(random, -1)
        # The marks stand at different places: a key of the other side looks at an echo.
        return scatter(random, length, words(random, 1), [others[0], mark, *others[1:]])

    return sides
