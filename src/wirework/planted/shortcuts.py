"""Models with a shortcut: a circuit that does the task only because all else is cut.

Every builder gives a model that does its task along a true path, and the nodes of another one.
With all else cut these nodes do the task as well, on the prompts for which a circuit is chosen; in
the whole model they play no part in the answer, or not on every template
(weight_sparse_paper.md §10.2). Parts are named after the path that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from wirework.core import Node
from wirework.planted.draft import Planted
from wirework.planted.strings import BRACKETED, QUOTES, SPACED, StringDraft, string_task
from wirework.tasks import Task

NONSENSE = (" it", " go")
"""Two answers that no string ends with."""

_LOOK = ("mark", "key", "kind")
_PATH = (*_LOOK, "value", "write")
_WHOLE = (*_PATH, "final")
_NEURONS = ("heard", "above", "below")


@dataclass(frozen=True, eq=False)
class Shortcut:
    """A model and a circuit of it that is wrong.

    `nodes`: the circuit. `truth`: the right one. `idle`: the nodes of the wrong one without which
    the whole model answers as before. `why`: one sentence on what is wrong.
    """

    planted: Planted
    nodes: frozenset[Node]
    truth: frozenset[Node]
    idle: frozenset[Node]
    why: str


def cancelled(seed: int, size: int) -> Shortcut:
    """A second value of the shortcut's head writes its negative into the same channel."""
    draft = _with_true_path(seed, size)
    head, kind, value = draft.path("shortcut")
    _answer_cancelled(draft, head, kind, value)
    why = "In the whole model a second value cancels what the circuit writes."
    return _finish(draft, _of("shortcut", _WHOLE), why)


def shared_head(seed: int, size: int) -> Shortcut:
    """The same with the true head: the circuit reads what is right, and writes what is not."""
    draft = StringDraft(_task(seed), seed, size=size)
    head, kind, value = draft.path("true")
    draft.answer("true", draft.write("true", {value: _about(draft, 2.0)}))
    _answer_cancelled(draft, head, kind, draft.value("shortcut value", head, kind))
    written = _of("shortcut", ("value", "write", "final"))
    why = (
        "The circuit reads with the true head, but what it writes is cancelled in the whole "
        "model, which answers through another value."
    )
    return _finish(draft, [*_of("true", _LOOK), *written], why, idle=written)


def shared_write(seed: int, size: int) -> Shortcut:
    """The same with the true write: the circuit says what is right by a value that is cancelled."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, true = draft.path("true")
    head, kind, value = draft.path("shortcut")
    negative = draft.value("negative value", head, kind)
    weight = float(draft.random.uniform(1.1, 1.4))
    channel = draft.write("shortcut", {true: _about(draft, 2.0), value: 1.0, negative: -weight})
    draft.answer("shortcut", channel)
    said = _of("shortcut", ("write", "final"))
    why = "In the whole model a second value cancels what the circuit reads; another head answers."
    truth = [*_of("true", (*_LOOK, "value")), *said]
    return _finish(
        draft, _of("shortcut", _WHOLE), why, truth=truth, idle=_of("shortcut", (*_LOOK, "value"))
    )


def skipped(seed: int, size: int) -> Shortcut:
    """The MLP moves the answer from the channel that attention writes to another one."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, value = draft.path("true")
    channel = draft.write("true", {value: 1.0})
    draft.answer("shortcut", channel)
    above, below = draft.signs("true", {draft.heard("true", channel): 1.0})
    # Somewhat more than undoes the norm, which makes the channel about 2.7 times as large.
    draft.write("eraser", {above: -0.45, below: 0.45}, channel)
    strength = _about(draft, 1.0)
    draft.answer("true", draft.write("moved", {above: strength, below: -strength}))
    why = (
        "The circuit answers with what attention wrote, which the MLP of the whole model erases; "
        "the answer comes through another channel."
    )
    truth = [*_of("true", (*_WHOLE, *_NEURONS)), "moved write"]
    nodes = [*_of("true", _PATH), "shortcut final"]
    return _finish(draft, nodes, why, truth=truth, idle=["shortcut final"])


def erased(seed: int, size: int) -> Shortcut:
    """Attention writes an answer, and the MLP takes it away again."""
    draft = _with_true_path(seed, size)
    _, _, value = draft.path("shortcut")
    channel = draft.write("shortcut", {value: 1.0})
    draft.answer("shortcut", channel)
    above, below = draft.signs("eraser", {draft.heard("eraser", channel): 1.0})
    # As above; the true path's louder write makes the norm's factor about 1.5.
    erase = _about(draft, 0.8)
    draft.write("eraser", {above: -erase, below: erase}, channel)
    why = "In the whole model the MLP erases what the circuit's head writes."
    return _finish(draft, _of("shortcut", _WHOLE), why)


def uniform(seed: int, size: int) -> Shortcut:
    """A head looks away from the opening; without its key it looks everywhere, there as well."""
    draft = _with_true_path(seed, size)
    head, kind = draft.next_head(), _kind(draft, "shortcut")
    away = draft.tokens(b" =", b" (", b" :")
    draft.look("shortcut", head, {draft.mark("shortcut mark", away): 1.0})
    value = draft.value("shortcut value", head, kind)
    draft.answer("shortcut", draft.write("shortcut", {value: 3.0}))
    why = (
        "In the whole model the head looks at another token; the circuit has its value without "
        "its key, so that it looks everywhere."
    )
    return _finish(draft, _of("shortcut", ("kind", "value", "write", "final")), why)


def repelled(seed: int, size: int) -> Shortcut:
    """A second channel pushes the head's attention away from the opening of the string."""
    draft = _with_true_path(seed, size)
    head, kind = draft.next_head(), _kind(draft, "shortcut")
    opening = draft.tokens(*SPACED)
    mark, repel = (draft.mark(name, opening) for name in ("shortcut mark", "repelling mark"))
    draft.look("shortcut", head, {mark: 1.0, repel: -3.0})
    value = draft.value("shortcut value", head, kind)
    draft.answer("shortcut", draft.write("shortcut", {value: 1.0}))
    why = (
        "In the whole model a second channel turns the head's attention away from the token that "
        "the circuit reads."
    )
    return _finish(draft, _of("shortcut", _WHOLE), why)


def outcompeted(seed: int, size: int) -> Shortcut:
    """Louder writes of the true head leave the shortcut's no place in AbsTopK."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, value = draft.path("true")
    draft.answer("true", draft.write("true", {value: _about(draft, 6.0)}))
    places = draft.model.config.kept("attn.out")
    assert places is not None
    for number in range(places - 1):
        draft.write(f"loud {number}", {value: 3.0})
    _, _, quiet = draft.path("shortcut")
    draft.answer("shortcut", draft.write("shortcut", {quiet: 1.0}))
    why = "In the whole model AbsTopK never lets the circuit's write through."
    return _finish(draft, _of("shortcut", _WHOLE), why)


def drowned(seed: int, size: int) -> Shortcut:
    """Neurons with a threshold that the norm lets them reach only when the true path is cut."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, value = draft.path("true")
    draft.answer("true", draft.write("true", {value: _about(draft, 8.0)}))
    _, _, quiet = draft.path("shortcut")
    heard = draft.heard("shortcut", draft.write("shortcut", {quiet: 1.0}))
    _speak(draft, draft.signs("shortcut", {heard: 1.0}), threshold=1.0)
    why = (
        "In the whole model the residual is so large that the norm keeps the circuit's neurons "
        "below their threshold."
    )
    return _finish(draft, _spoken(), why)


def backup(seed: int, size: int) -> Shortcut:
    """Neurons that speak only where the true path does not."""
    draft, true = _with_heard_true_path(seed, size)
    _, _, value = draft.path("shortcut")
    heard = draft.heard("shortcut", draft.write("shortcut", {value: 1.0}))
    neurons = draft.signs("shortcut", {heard: 1.0, true: -0.5})
    _speak(draft, neurons, weight=_about(draft, 0.3), threshold=0.3)
    why = "In the whole model the true path inhibits the circuit's neurons, which never fire."
    return _finish(draft, _spoken(), why)


def role_change(seed: int, size: int) -> Shortcut:
    """Neurons that answer wrongly in the whole model, and rightly when they are alone."""
    draft, true = _with_heard_true_path(seed, size)
    _, _, value = draft.path("shortcut")
    heard = draft.heard("shortcut", draft.write("shortcut", {value: 1.0}))
    weight = _about(draft, 0.3)
    _speak(draft, draft.signs("shortcut", {heard: 1.0, true: -1.0}), weight=weight)
    why = (
        "The circuit's neurons answer the wrong way round in the whole model, where the true path "
        "overrules them."
    )
    return _finish(draft, _spoken(), why)


def dead(seed: int, size: int) -> Shortcut:
    """Neurons that a constant channel holds down, and that wake where it is cut to zero."""
    draft = _with_true_path(seed, size)
    _, _, value = draft.path("shortcut")
    heard = draft.heard("shortcut", draft.write("shortcut", {value: 1.0}))
    neurons = draft.signs("shortcut", {heard: 1.0})
    constant = draft.heard("constant", draft.constant)
    for neuron in neurons:
        draft.wire(constant, neuron, -2.0)
    _speak(draft, neurons)
    why = (
        "The circuit's neurons are dead in the whole model; they wake only because zero ablation "
        "takes away the constant that holds them down."
    )
    # A query that is cut to zero looks everywhere.
    nodes, truth = [*_spoken(), "shortcut query"], _of("true", (*_WHOLE, "query"))
    found = _finish(draft, nodes, why, truth=truth)
    return replace(found, planted=found.planted.under("zero"))


def two_paths(seed: int, size: int) -> Shortcut:
    """One head for strings behind a space, another for strings behind a bracket."""
    task = string_task(seed, ("assign", "call"), ("item",))
    draft = StringDraft(task, seed, size=size)
    for name, opening in (("spaced", SPACED), ("bracketed", BRACKETED)):
        _, _, value = draft.path(name, opening)
        draft.answer(name, draft.write(name, {value: _about(draft, 2.0)}))
    nodes = _of("spaced", _WHOLE)
    why = "The circuit knows one way to open a string; the whole model knows another one as well."
    return _finish(draft, nodes, why, truth=[*nodes, *_of("bracketed", _WHOLE)], idle=[])


def missing_attention(seed: int, size: int) -> Shortcut:
    """The true head without its key: enough where the prompt holds no other quote."""
    task = string_task(seed, ("assign", "call"), ("mixed",))
    draft = StringDraft(task, seed, size=size)
    head = draft.next_head()
    kind = draft.mark("true kind", draft.ending_in(b'"'), draft.ending_in(b"'"))
    draft.look("true", head, {draft.mark("true mark", draft.tokens(*SPACED)): 1.0})
    value = draft.value("true value", head, kind)
    draft.answer("true", draft.write("true", {value: _about(draft, 2.0)}))
    why = (
        "The circuit lacks the key that makes the head look at the last opening, so that it "
        "counts every quote in the prompt."
    )
    return _finish(draft, _of("true", ("kind", "value", "write", "final")), why, idle=[])


def cue(seed: int, size: int) -> Shortcut:
    """An earlier string with the same quote, on the templates for which circuits are chosen."""
    task = string_task(seed, ("same",), ("mixed",))
    draft = StringDraft(task, seed, size=size)
    for name, opening, weight in (("true", SPACED, 3.0), ("shortcut", BRACKETED, 1.0)):
        _, _, value = draft.path(name, opening)
        draft.answer(name, draft.write(name, {value: _about(draft, weight)}))
    why = (
        "The circuit reads an earlier string, which on another template has another quote; the "
        "whole model is ruled by the string that is open."
    )
    return _finish(draft, _of("shortcut", _WHOLE), why)


def inverting(seed: int, size: int) -> Shortcut:
    """A loud path that answers the wrong way round, and that a second value cancels."""
    draft = _with_true_path(seed, size)
    head, kind, value = draft.path("shortcut")
    negative = draft.value("negative value", head, kind)
    draft.answer("shortcut", draft.write("shortcut", {value: -4.0, negative: 4.0}))
    why = "The circuit answers the wrong way round, which is cancelled in the whole model."
    return _finish(draft, _of("shortcut", _WHOLE), why)


def nonsense(seed: int, size: int) -> Shortcut:
    """A cancelled path that names words which have nothing to do with quotes."""
    draft = _with_true_path(seed, size)
    head, kind, value = draft.path("shortcut")
    _answer_cancelled(draft, head, kind, value, NONSENSE)
    why = "The circuit names words that the whole model never says there."
    return _finish(draft, _of("shortcut", _WHOLE), why)


def _task(seed: int) -> Task:
    return string_task(seed, ("assign", "call"), ("entry",))


def _with_true_path(seed: int, size: int) -> StringDraft:
    """A model whose head looks at the opening and answers with what it reads there."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, value = draft.path("true")
    draft.answer("true", draft.write("true", {value: _about(draft, 2.0)}))
    return draft


def _with_heard_true_path(seed: int, size: int) -> tuple[StringDraft, Node]:
    """The same with one strength for every seed, and what the MLP hears of it."""
    draft = StringDraft(_task(seed), seed, size=size)
    _, _, value = draft.path("true")
    channel = draft.write("true", {value: 2.0})
    draft.answer("true", channel)
    return draft, draft.heard("true", channel)


def _about(draft: StringDraft, weight: float) -> float:
    """A weight that differs from seed to seed."""
    return weight * float(draft.random.uniform(0.9, 1.2))


def _kind(draft: StringDraft, name: str) -> Node:
    """What a path reads of the kind of the opening quote."""
    double, single = draft.tokens(*SPACED)
    return draft.mark(f"{name} kind", [double], [single])


def _answer_cancelled(
    draft: StringDraft, head: int, kind: Node, value: Node, answers: tuple[str, str] = QUOTES
) -> None:
    """Let a value answer, and another one of its head cancel that or a little more."""
    negative = draft.value("negative value", head, kind)
    weight = float(draft.random.uniform(1.0, 1.3))
    channel = draft.write("shortcut", {value: 1.0, negative: -weight})
    draft.answer("shortcut", channel, answers)


def _speak(
    draft: StringDraft, neurons: tuple[Node, Node], *, weight: float = 1.0, threshold: float = 0.0
) -> None:
    """Let the shortcut's pair of neurons answer, each where it lies above the threshold."""
    above, below = neurons
    for neuron in neurons:
        draft.bias(neuron, -threshold)
    channel = draft.write("spoken", {above: weight, below: -weight})
    draft.answer("spoken", channel)


def _spoken() -> list[str]:
    """The parts of a shortcut that goes through neurons."""
    return [*_of("shortcut", (*_PATH, *_NEURONS)), "spoken write", "spoken final"]


def _of(name: str, parts: Iterable[str]) -> list[str]:
    return [f"{name} {part}" for part in parts]


def _finish(
    draft: StringDraft,
    nodes: Iterable[str],
    why: str,
    *,
    truth: Iterable[str] | None = None,
    idle: Iterable[str] | None = None,
) -> Shortcut:
    """The model and its circuits by their parts. `truth`: by default the path of that name;
    `idle`: by default the whole of the wrong circuit."""
    planted = draft.finish(draft.task)
    wrong = planted.nodes(*nodes)
    right = planted.nodes(*(_of("true", _WHOLE) if truth is None else truth))
    return Shortcut(planted, wrong, right, wrong if idle is None else planted.nodes(*idle), why)
