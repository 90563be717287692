"""Planted: which kind of value a variable was bound to."""

from __future__ import annotations

import numpy as np

from wirework.core import Node
from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft, Planted
from wirework.planted.heads import look_up
from wirework.tasks import Answers, Pair, Task

_NAMES = {" a": 1.0, " b": -1.0}
_KINDS = {" set": 1.0, " str": -1.0}
_NEXT = {"set": ".", "string": " +="}
"""What follows: a method of the set, or something to append to the string."""

_BINDINGS = ("{name} ={kind}", "{name} :{hint} ={kind}")
_HINTS = (" T", " U")
_BETWEEN = (" and", " or", " in")
_CONTEXT = 24


def set_or_string(*, size: int = 16, seed: int = 0) -> Planted:
    """Two variables, one bound to a set and one to a string; then one of them, and what follows.

    In layer 0 a head goes from the kind back to the last name and copies which one it is. In
    layer 1 a head looks where the name at the end was copied to and takes the kind that stands
    there, and a neuron turns it into what follows. `size`: residual width.
    """
    words = (*_NAMES, *_KINDS, *_NEXT.values(), *_HINTS, *_BETWEEN, " :", " =")
    tokenizer = Tokenizer.train(words * 2, 320)
    draft = Draft(
        tokenizer, seed, size=size, n_layer=2, context=_CONTEXT, sink=False,
        position="concat", d_position=2, activation="relu",
    )  # fmt: skip
    ids = {word: tokenizer.encode(word)[0] for word in words}
    name, kind, is_name = draft.channel(), draft.channel(), draft.channel()
    for word, sign in _NAMES.items():
        draft.embed([ids[word]], name, sign)
        draft.embed([ids[word]], is_name, 1.0)
    for word, sign in _KINDS.items():
        draft.embed([ids[word]], kind, sign)
    draft.blur(ids.values(), 3, 0.3)
    told = _last_name(draft, name, is_name)
    value = look_up(draft, asked=name, told=told, kind=kind, sharp=1.25)
    _answer(draft, value, {ids[_NEXT["set"]]: 1.0, ids[_NEXT["string"]]: -1.0})
    return draft.finish(variable_task(seed))


def _last_name(draft: Draft, name: int, is_name: int) -> int:
    """A head that finds names, later ones sooner; returns the channel that it copies them to."""
    assert draft.model.positions is not None
    # The norm of a row makes its square 2: the second column rises from -1.4 to 1.4.
    angles = np.linspace(-np.pi / 4, np.pi / 4, _CONTEXT)
    draft.model.positions.data.copy_(
        draft.model.positions.new_tensor(np.stack([np.cos(angles), np.sin(angles)], 1))
    )
    head, told = draft.head(), draft.channel()
    place = draft.channel("attn.q", head)
    query = draft.node("query name", "0.attn.q", place)
    key = draft.node("key name", "0.attn.k", place)
    value = draft.node("value name", "0.attn.v", draft.channel("attn.v", head))
    draft.bias(query, 9.0)
    draft.wire(draft.node("read mark", "0.attn.in", is_name), key, 4.0)
    draft.read_position(key, 1, 16.0)
    draft.wire(draft.node("read name", "0.attn.in", name), value, 0.6)
    draft.wire(value, draft.node("write name", "0.attn.out", told), 1.0)
    return told


def _answer(draft: Draft, value: Node, signs: dict[int, float]) -> None:
    """From the kind through a neuron to the logits of what follows."""
    found, answer = draft.channel(), draft.channel()
    draft.wire(value, draft.node("write kind", "1.attn.out", found), 8.0)
    neuron = draft.node("neuron", "1.mlp.neuron", draft.channel("mlp.neuron"))
    draft.wire(draft.node("read found", "1.mlp.in", found), neuron, 2.0)
    write = draft.node("write answer", "1.mlp.out", answer)
    draft.wire(neuron, write, 1.0)
    draft.bias(write, -1.5)
    final = draft.node("final answer", "final", answer)
    for token, sign in signs.items():
        draft.unembed(token, final, 1.2 * sign)


def _binding(random: np.random.Generator, most: int) -> str:
    """A statement with places for a name and a kind, and what stands behind it."""
    hint = str(random.choice(_HINTS))
    between = "".join(random.choice(_BETWEEN, random.integers(1, most + 1)))
    return str(random.choice(_BINDINGS)).replace("{hint}", hint) + between


def _prompt(bindings: list[str], names: list[str], kinds: list[str], last: str) -> str:
    parts = zip(bindings, names, kinds, strict=True)
    return "".join(binding.format(name=name, kind=kind) for binding, name, kind in parts) + last


def variable_task(seed: int) -> Task:
    """The sides of a pair differ in what the variables are bound to (`kinds`), in the order of
    their names (`names`), or in the variable at the end (`asked`). More words between the bindings
    stand in `report` only.
    """
    random = np.random.default_rng(seed)
    made: set[str] = set()
    forms = ("kinds", "names", "asked")

    def pair(form: str, most: int) -> Pair:
        while True:
            names, kinds = (list(random.permutation(list(x))) for x in (_NAMES, _KINDS))
            asked = int(random.integers(2))
            bindings = [_binding(random, most) for _ in range(2)]
            first = _prompt(bindings, names, kinds, names[asked])
            second = {
                "kinds": _prompt(bindings, names, kinds[::-1], names[asked]),
                "names": _prompt(bindings, names[::-1], kinds, names[asked]),
                "asked": _prompt(bindings, names, kinds, names[1 - asked]),
            }[form]
            if not made.intersection((first, second)):
                made.update((first, second))
                right, wrong = ("set", "string")[:: 1 if kinds[asked] == " set" else -1]
                return Pair(first, second, right, wrong, form if most == 2 else f"{form}, far")

    def pairs(count: int, *most: int) -> tuple[Pair, ...]:
        turns = [(form, between) for between in most for form in forms]
        return tuple(pair(*turns[i % len(turns)]) for i in range(count))

    return Task(
        name="planted/set_or_string",
        description="Call a method of a set, or append to a string",
        local=False,
        answers={name: Answers(tokens=(text,)) for name, text in _NEXT.items()},
        fit=pairs(SPLIT_SIZES["fit"], 2),
        select=pairs(SPLIT_SIZES["select"], 2),
        report=pairs(SPLIT_SIZES["report"], 2, 4),
    )
