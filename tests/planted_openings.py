"""A planted model that reads strings opened in two ways, and circuits that lack a part of it."""

from __future__ import annotations

from pathlib import Path

from planted_circuits import all_nodes, circuit_of
from wirework.circuit import Circuit
from wirework.core import Node
from wirework.data import Tokenizer
from wirework.planted import Draft, Planted
from wirework.tasks import load_task
from wirework.validation.subject import Subject

WORDS = ("it", "go", "no", "sun", "red", "hat", "box")
STRANGER = "zap"
"""A name that the model reads and that no filling holds."""

_FILE = """
[answers.double]
tokens = ['"']
[answers.single]
tokens = ["'"]
[contrast.quote]
double = '"'
single = "'"
[slots]
word = ["it", "go", "no", "sun", "red", "hat", "box"]
begin = ["= ", "f("]
[counts]
fit = 24
select = 8
report = 40
[[template]]
name = "plain"
text = '{word:1} {begin}{quote}{word:2} {word:3}'
[[template]]
name = "longer"
text = '{word:1} {word:2} {begin}{quote}{word:3} {word:4}'
report_only = true
"""


def two_openings(folder: Path) -> Planted:
    """Close the quote that opened a string behind a blank or behind a bracket.

    One head finds the opening; its value reads the kind from one channel for openings behind a
    blank, from another for those behind a bracket. A second head looks for the name `STRANGER`
    and lets two values write equal and opposite numbers for it.
    """
    path = folder / "two_openings.toml"
    path.write_text(_FILE, encoding="utf-8")
    task = load_task(path)
    texts = [text for pair in task.fit for text in (pair.prompt, pair.counterfactual)]
    texts += [f" {word} {STRANGER}" for word in WORDS] * 4
    draft = Draft(
        Tokenizer.train(texts, 320), 0, size=16, context=128, n_layer=1, afrac=1.0
    )  # fmt: skip
    draft.embed(range(draft.tokenizer.vocab_size), draft.channel(), 1.0)
    write = draft.node("write", "0.attn.out", draft.channel())
    final = draft.node("final", "final", write.index)
    head = draft.head()
    value = draft.node("value", "0.attn.v", draft.channel("attn.v", head))
    draft.wire(value, write, 1.0)
    _look_for(draft, "opening", [' "', " '", '("', "('"], head)
    for name, marks in (("blank", (' "', " '")), ("bracket", ('("', "('"))):
        read = _reading(draft, name, {marks[0]: 1.0, marks[1]: -0.8})
        draft.wire(read, value, 1.0)
    other = 1 - head
    names = [f" {STRANGER}"]
    _look_for(draft, "stranger", names, other)
    read = _reading(draft, "name", {names[0]: 1.0})
    for name, weight in (("push", 3.0), ("pull", -3.0)):
        unit = draft.node(name, "0.attn.v", draft.channel("attn.v", other))
        draft.wire(read, unit, 1.0)
        draft.wire(unit, write, weight)
    for mark, weight in (('"', 0.8), ("'", -0.8)):
        draft.unembed(draft.tokenizer.encode(mark)[0], final, weight)
    return draft.finish(task)


def _look_for(draft: Draft, name: str, texts: list[str], head: int) -> None:
    """A head whose query is a constant and whose key marks these tokens."""
    query = draft.node(f"query {name}", "0.attn.q", draft.channel("attn.q", head))
    key = draft.node(f"key {name}", "0.attn.k", query.index)
    draft.bias(query, 3.5)
    draft.wire(_reading(draft, f"{name} mark", dict.fromkeys(texts, 1.0)), key, 3.5)


def _reading(draft: Draft, name: str, heights: dict[str, float]) -> Node:
    """A residual channel that single tokens raise."""
    channel = draft.channel()
    for text, height in heights.items():
        (token,) = draft.tokenizer.encode(text)
        draft.embed([token], channel, height)
    return draft.node(f"read {name}", "0.attn.in", channel)


def lacking(planted: Planted, *names: str) -> Circuit:
    """The circuit of every node but those parts."""
    return circuit_of(planted, all_nodes(planted) - planted.nodes(*names))


def subject_of(planted: Planted, circuit: Circuit) -> Subject:
    return Subject.of(circuit, planted.checkpoint, planted.task)
