"""Labels read off the text: what is still open where a piece of Python ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from wirework.tasks import Pair, Task

CLOSERS = {"(": ")", "[": "]", "{": "}"}
QUOTES = ('"', "'")

Kind = Literal["quote", "brackets"]


@dataclass(frozen=True)
class Open:
    """What is open at the end of a text: `quote`, empty outside of a string; `brackets`, the
    innermost last."""

    quote: str = ""
    brackets: str = ""

    @property
    def closing(self) -> str:
        """The brackets that close what is open, in their order."""
        return "".join(CLOSERS[bracket] for bracket in reversed(self.brackets))


def read_open(text: str) -> Open | None:
    """None where the text ends in a comment, or is no beginning of Python: a bracket closed by
    another, an end of line in a string of one line."""
    brackets = ""
    place = 0
    while place < len(text):
        char = text[place]
        if char == "#":
            place = text.find("\n", place)
            if place < 0:
                return None
        elif char in QUOTES:
            mark = char * 3 if text.startswith(char * 3, place) else char
            end = _end_of_string(text, place + len(mark), mark)
            if end is None:
                closed = len(mark) == 1 and "\n" in text[place:]
                return None if closed else Open(mark, brackets)
            place = end - 1
        elif char in CLOSERS:
            brackets += char
        elif char in CLOSERS.values():
            if not brackets or CLOSERS[brackets[-1]] != char:
                return None
            brackets = brackets[:-1]
        place += 1
    return Open("", brackets)


def _end_of_string(text: str, place: int, mark: str) -> int | None:
    """Behind the closing mark; None where there is none, or not on this line where it must be."""
    while place < len(text):
        if text.startswith(mark, place):
            return place + len(mark)
        if text[place] == "\n" and len(mark) == 1:
            return None
        place += 2 if text[place] == "\\" else 1
    return None


@dataclass(frozen=True)
class LabelRule:
    """The right answers follow from one thing that is open; `names`: that thing -> answer set."""

    kind: Kind
    names: Mapping[str, str]

    def answer(self, text: str) -> str | None:
        """The name of the right answer set; None for what the task never asked."""
        found = _READERS[self.kind](text)
        return None if found is None else self.names.get(found)

    def keeps(self, pair: Pair) -> bool:
        """Whether both sides have the labels that the pair says."""
        sides = self.answer(pair.prompt), self.answer(pair.counterfactual)
        return sides == (pair.answer, pair.counter_answer)


def rule_of(task: Task) -> LabelRule | None:
    """The rule that is right on every pair of the task; None where neither is."""
    for kind, read in _READERS.items():
        names: dict[str, str] = {}
        for pair in (pair for pairs in task.splits.values() for pair in pairs):
            sides = (pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)
            found = [(read(text), name) for text, name in sides]
            if any(key is None or names.setdefault(key, name) != name for key, name in found):
                break
        else:
            return LabelRule(kind, names)
    return None


def _open_quote(text: str) -> str | None:
    found = read_open(text)
    return found.quote or None if found else None


def _open_brackets(text: str) -> str | None:
    found = read_open(text)
    return found.closing or None if found and not found.quote else None


_READERS: Mapping[Kind, Callable[[str], str | None]] = {
    "quote": _open_quote,
    "brackets": _open_brackets,
}
