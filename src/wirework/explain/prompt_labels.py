"""Labels of the prompts of a task: features asked of the prompts, completed so that they parse."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.probing.feature import NOT_ASKED, FeatureSet, Labels
from wirework.probing.label_tokens import label_tokens, tokenizer_cut
from wirework.tasks import Answers, Pair, Task

_MIDDLES = ("", "x", " x", "pass", " pass", " x else x", '"', "'", '"""', "'''")
_ENDS = ("", ": pass", " pass")
_STRING = re.compile(r"\"(\\.|[^\"\\\n])*\"|'(\\.|[^'\\\n])*'")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_BEFORE = {"else": "if x:", "elif": "if x:", "except": "try:", "finally": "try:"}


@dataclass(frozen=True, eq=False)
class PromptLabels:
    """`labels` (2N, T, F) int8 of the tokens of N prompts and, behind them, their counterfactuals;
    not asked behind the end of a prompt. `known` (2N): prompts that could be labelled."""

    labels: Labels
    known: NDArray[np.bool_]


def label_prompts(
    task: Task, pairs: Sequence[Pair], tokenizer: Tokenizer, features: FeatureSet
) -> PromptLabels:
    """Ask `features` of every prompt, completed by its right answer.

    Many sets read whole files only. An indented prompt is therefore put into the class, function
    or statement that it must stand in, and what it leaves open behind the answer (strings,
    brackets, suites) is closed in one of a few plain ways. A prompt that none of them helps is not
    known. What stands around a prompt is part of what features such as `next_is_equals` or
    `in_method` see. Raises what the set's labeller raises for other reasons than text that does
    not parse.
    """
    sides = [(pair.prompt, pair.answer) for pair in pairs]
    sides += [(pair.counterfactual, pair.counter_answer) for pair in pairs]
    cut = tokenizer_cut(tokenizer)
    cuts = [cut(prompt, task.name) for prompt, _ in sides]
    length = max(len(ids) for ids, _, _ in cuts)
    whole = np.full((len(sides), length, len(features.features)), NOT_ASKED, np.int8)
    known = np.zeros(len(sides), bool)
    helped = _MIDDLES[0], _ENDS[0]
    for row, (prompt, name) in enumerate(sides):
        ids, starts, ends = cuts[row]
        frame = _frame(prompt)
        begun = frame + prompt + _text(task.answers[name])
        stand = np.stack([starts, ends], 1) + len(frame)
        for ending in dict.fromkeys((helped, *product(_MIDDLES, _ENDS))):
            labels = _labelled(_closed(begun, *ending), ids.tolist(), stand.tolist(), features)
            if labels is not None:
                whole[row, : len(ids)], known[row], helped = labels, True, ending
                break
    return PromptLabels(whole, known)


def _text(answers: Answers) -> str:
    return (*answers.tokens, *answers.starting)[0]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _frame(prompt: str) -> str:
    """The lines in which an indented prompt can stand."""
    lines = [line for line in prompt.split("\n") if line.strip()]
    width = _indent(lines[0]) if lines else 0
    levels = range(0, width, 4)
    defaults = ["class A:", "def f(self):", *["if x:"] * len(levels)]
    if len(levels) == 1 and not lines[0].lstrip().startswith("def "):
        defaults = ["def f(self):"]
    frame = ""
    for level, default in zip(levels, defaults, strict=False):
        words = [re.split(r"\W", line.strip())[0] for line in lines if _indent(line) == level]
        frame += " " * level + _BEFORE.get(words[0] if words else "", default) + "\n"
    first = re.split(r"\W", lines[0].strip())[0] if lines else ""
    return frame + (" " * width + _BEFORE[first] + " pass\n" if first in _BEFORE else "")


def _closed(text: str, middle: str, end: str) -> str:
    """`text` with a middle, the brackets that are open then, an end, and the ends of `try`."""
    text += middle
    opened: list[str] = []
    for char in _STRING.sub("", text):
        if char in _BRACKETS:
            opened.append(_BRACKETS[char])
        elif opened and char == opened[-1]:
            opened.pop()
    text += "".join(reversed(opened)) + end
    tried: list[int] = []
    for line in text.split("\n"):
        word = line.strip()
        if word == "try:":
            tried.append(_indent(line))
        elif word.startswith(("except", "finally")) and _indent(line) in tried:
            tried.remove(_indent(line))
    return text + "".join(f"\n{' ' * level}finally: pass" for level in reversed(tried))


def _labelled(
    text: str, ids: list[int], stand: list[tuple[int, int]], features: FeatureSet
) -> Labels | None:
    """Labels of tokens that stand at these characters of a text; None where the set cannot label
    it. What is around them is one token before and one behind."""
    first, last = (0, stand[0][0]), (stand[-1][1], len(text))
    try:
        found = label_tokens(
            {"prompt": text}, lambda _: ([0, *ids, 0], [first, *stand, last]), features
        )
    except WireworkError as error:
        if error.code != "documents-empty":
            raise
        return None
    return found.labels[1:-1]
