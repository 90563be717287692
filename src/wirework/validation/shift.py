"""Prompts that are none of the task's, with labels known by construction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from wirework.ablation import PromptTensors
from wirework.tasks import NO_TOKEN, Pair
from wirework.validation.subject import Subject

NEUTRAL_LINES = (
    "import os",
    "pass",
    "# checked",
    "assert True",
    "import sys",
    "from time import sleep",
)
"""Lines of code that open nothing, close nothing and name nothing that a prompt speaks of."""

MOST_LINES = 3


def shifted(subject: Subject, seed: int) -> PromptTensors | None:
    """The pairs of `report` with 1 to 3 neutral lines of code before each prompt.

    A line ends before the prompt begins, opens no quote, bracket or block, and is the same on both
    sides of a pair, so the right answers stay; the context grows and every token moves. Lines
    stand at the indentation of the prompt if both sides are indented alike, else at none. Left
    out: lines that hold an answer token of the task, and pairs that do not fit into the model's
    context even with one line, or whose own tokens come out otherwise behind a line. None where no
    pair is left.
    """
    random = np.random.default_rng([seed, 3])
    report, tokenizer = subject.report, subject.checkpoint.tokenizer
    answers = set(np.unique(report.wanted.numpy()).tolist()) - {NO_TOKEN}
    rows: dict[int, list[list[int]]] = {}
    for index, pair in enumerate(subject.task.report):
        count = int(random.integers(1, MOST_LINES + 1))
        lines = [NEUTRAL_LINES[i] for i in random.permutation(len(NEUTRAL_LINES))]
        lines = [_indent(pair) + line for line in lines]
        lines = [line for line in lines if answers.isdisjoint(tokenizer.encode(line))]
        found = _longest(subject, pair, index, lines[:count])
        if found is not None:
            rows[index] = found
    if not rows:
        return None
    left = report.pairs(torch.tensor(list(rows)))
    return _with_tokens(left, list(zip(*rows.values(), strict=True)), tokenizer.end_of_text)


def _indent(pair: Pair) -> str:
    """What both sides are indented by; nothing where they differ."""
    sides = (pair.prompt, pair.counterfactual)
    first, second = (side[: len(side) - len(side.lstrip(" "))] for side in sides)
    return first if first == second else ""


def _longest(
    subject: Subject, pair: Pair, index: int, lines: Sequence[str]
) -> list[list[int]] | None:
    """Both sides of a pair behind as many of `lines` as fit; None where not one does."""
    checkpoint, report = subject.checkpoint, subject.report
    own = [
        report.tokens[row, : int(report.last[row]) + 1].tolist()
        for row in (index, index + len(report))
    ]
    for count in range(len(lines), 0, -1):
        front = "".join(f"{line}\n" for line in lines[:count])
        texts = [front + pair.prompt, front + pair.counterfactual]
        found = checkpoint.tokenizer.encode_many(texts)
        before = checkpoint.tokenizer.encode(front)
        alike = found == [before + row for row in own]
        if alike and max(map(len, found)) <= checkpoint.config.context:
            return found
    return None


def _with_tokens(
    prompts: PromptTensors, sides: Sequence[Sequence[Sequence[int]]], padding: int
) -> PromptTensors:
    """The same pairs with other tokens: `sides` are the rows of both."""
    rows = [row for side in sides for row in side]
    width = max(map(len, rows))
    tokens = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])
    return replace(prompts, tokens=tokens, last=torch.tensor([len(row) - 1 for row in rows]))
