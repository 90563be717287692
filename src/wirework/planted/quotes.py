"""Planted: close the quote that was opened; with decoys; with two values that do the same."""

from __future__ import annotations

import numpy as np

from wirework.core import Node
from wirework.data import Tokenizer
from wirework.planted.draft import SPLIT_SIZES, Draft, Planted
from wirework.tasks import Answers, Pair, Task

_OPENING = (b' "', b" '")
_WORDS = ("it", "go", "no", "sun", "red", "hat", "box", "ran", "far", "tea")
_FORMS = {
    "assign": "{name} = {quote}{body}",
    "call": "{name} ( {quote}{body}",
    "item": "{name} [ {quote}{body}",
}
"""Templates; `item` stands in `report` only."""


def close_quote(*, size: int = 16, seed: int = 0) -> Planted:
    """Close a string with the quote that opened it, past escaped quotes of either kind.

    A neuron of layer 0 writes into a channel whether a token ends in a double quote. In layer 1
    one head, its query a constant, finds the opening quote by another channel of the embedding
    and copies what the neuron wrote. `size`: residual width.
    """
    draft = _draft(size, seed, n_layer=2, activation="gelu")
    ends, kind = draft.channel(), draft.channel()
    for token in _ending_in(draft.tokenizer, b'"'):
        draft.embed([token], ends, 1.0)
    read = draft.node("read double", "0.mlp.in", ends)
    neuron = draft.node("neuron", "0.mlp.neuron", draft.channel("mlp.neuron"))
    write = draft.node("write kind", "0.mlp.out", kind)
    draft.wire(read, neuron, 1.5)
    draft.wire(neuron, write, 0.6)
    value = _find_opening(draft, layer=1, kind=kind)
    # Nothing at the opening stands for a single quote: the write goes from 0 … 2 to -1 … 1.
    _answer(draft, layer=1, values=[value], shift=-2.0)
    return draft.finish(quote_task(seed))


def quote_with_decoys(*, size: int = 16, decoys: int = 2, seed: int = 0) -> Planted:
    """`close_quote` in one layer, the kind in the embedding, amid units that do nothing for it.

    `decoys` units each: value channels and neurons that are about as active as those of the circuit
    and have no out-weight; beside them one value channel and one neuron that write into residual
    channels which nothing reads.
    """
    draft = _draft(size, seed, n_layer=1, activation="gelu")
    kind = _embed_kind(draft)
    value = _find_opening(draft, layer=0, kind=kind)
    write = _answer(draft, layer=0, values=[value])
    heard = draft.node("decoy read", "0.mlp.in", write.index)
    for number in range(decoys):
        _decoy(draft, f"decoy value {number}", draft.parts["read kind"], value)
        _decoy(draft, f"decoy neuron {number}", heard)
    for name, source, beside in (("attn", draft.parts["read kind"], value), ("mlp", heard, None)):
        unit = _decoy(draft, f"decoy {name}", source, beside)
        draft.wire(unit, draft.node(f"decoy write {name}", f"0.{name}.out", draft.channel()), 0.4)
    return draft.finish(quote_task(seed))


def _decoy(draft: Draft, name: str, source: Node, value: Node | None = None) -> Node:
    """A unit without out-weights: a neuron, or a value in the head of another one."""
    if value is None:
        unit = draft.node(name, "0.mlp.neuron", draft.channel("mlp.neuron"))
        draft.wire(source, unit, 1.2)
    else:
        head = value.index // draft.model.config.d_head
        unit = draft.node(name, str(value.site), draft.channel("attn.v", head))
        # Less than the value of the circuit, which has to survive AbsTopK.
        draft.wire(source, unit, 0.8)
    return unit


def twin_values(*, size: int = 16, seed: int = 0) -> Planted:
    """`close_quote` in one layer with two equal value channels, of which either is enough."""
    draft = _draft(size, seed, n_layer=1, activation="relu")
    kind = _embed_kind(draft)
    value = _find_opening(draft, layer=0, kind=kind)
    head = value.index // draft.model.config.d_head
    twin = draft.node("value twin", "0.attn.v", draft.channel("attn.v", head))
    draft.wire(draft.parts["read kind"], twin, 1.0)
    _answer(draft, layer=0, values=[value, twin])
    return draft.finish(quote_task(seed))


def _draft(size: int, seed: int, **switches: object) -> Draft:
    """Every token has one constant channel and small numbers of its own."""
    task = quote_task(seed)
    texts = [pair.prompt for pair in task.fit] + [pair.counterfactual for pair in task.fit]
    draft = Draft(Tokenizer.train(texts, 300), seed, size=size, context=32, **switches)
    every = range(draft.tokenizer.vocab_size)
    draft.embed(every, draft.channel(), 1.0)
    draft.blur(every, 2, 0.5)
    return draft


def _ending_in(tokenizer: Tokenizer, *ends: bytes) -> list[int]:
    tokens = range(tokenizer.vocab_size)
    return [token for token in tokens if tokenizer.token_bytes(token).endswith(ends)]


def _embed_kind(draft: Draft) -> int:
    kind = draft.channel()
    draft.embed(_ending_in(draft.tokenizer, b'"'), kind, 1.0)
    draft.embed(_ending_in(draft.tokenizer, b"'"), kind, -1.0)
    return kind


def _find_opening(draft: Draft, *, layer: int, kind: int) -> Node:
    """A head whose query is a constant, whose key marks opening quotes; returns its value."""
    opening = draft.channel()
    tokens = range(draft.tokenizer.vocab_size)
    marks = [t for t in tokens if draft.tokenizer.token_bytes(t) in _OPENING]
    assert len(marks) == len(_OPENING), "the text is too short for tokens of opening quotes"
    draft.embed(marks, opening, 1.0)
    head, at = draft.head(), f"{layer}.attn"
    place = draft.channel("attn.q", head)
    query = draft.node("query", f"{at}.q", place)
    key = draft.node("key", f"{at}.k", place)
    value = draft.node("value", f"{at}.v", draft.channel("attn.v", head))
    draft.bias(query, 3.5)
    draft.wire(draft.node("read opening", f"{at}.in", opening), key, 3.5)
    draft.wire(draft.node("read kind", f"{at}.in", kind), value, 1.0)
    return value


def _answer(draft: Draft, *, layer: int, values: list[Node], shift: float = 0.0) -> Node:
    channel = draft.channel()
    write = draft.node("write answer", f"{layer}.attn.out", channel)
    final = draft.node("final answer", "final", channel)
    for value in values:
        draft.wire(value, write, 1.0 / len(values))
    draft.bias(write, shift)
    double, single = (draft.tokenizer.encode(mark)[0] for mark in "\"'")
    draft.unembed(double, final, 0.8)
    draft.unembed(single, final, -0.8)
    return write


def quote_task(seed: int) -> Task:
    """Open strings that hold two escaped quotes of random kinds."""
    random = np.random.default_rng(seed)
    made: set[str] = set()

    def pair(forms: tuple[str, ...]) -> Pair:
        while True:
            form, name = str(random.choice(forms)), str(random.choice(_WORDS))
            body = [f" {word}" for word in random.choice(_WORDS, int(random.integers(4, 7)))]
            for place in (1, 3):
                body.insert(place, str(random.choice([' \\"', " \\'"])))
            body[0] = body[0].strip()
            texts = [_FORMS[form].format(name=name, quote=q, body="".join(body)) for q in "\"'"]
            if not made.intersection(texts):
                made.update(texts)
                return Pair(texts[0], texts[1], "double", "single", form)

    def pairs(count: int, *forms: str) -> tuple[Pair, ...]:
        return tuple(pair(forms) for _ in range(count))

    return Task(
        name="planted/close_quote",
        description="Close a string with the quote that opened it",
        local=False,
        answers={"double": Answers(tokens=('"',)), "single": Answers(tokens=("'",))},
        fit=pairs(SPLIT_SIZES["fit"], "assign", "call"),
        select=pairs(SPLIT_SIZES["select"], "assign", "call"),
        report=pairs(SPLIT_SIZES["report"], *_FORMS),
    )
