"""The data of a task: answer sets and pairs of prompts, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import model_validator

from wirework.core.config import Config
from wirework.core.errors import WireworkError, nearest
from wirework.tasks.complaint import Complaint, Source

Split = Literal["fit", "select", "report"]
SPLITS: tuple[Split, ...] = ("fit", "select", "report")
"""Gates and calibration; sizes and thresholds; every published figure (design.md §4)."""


class Answers(Config):
    """A set of tokens of which any is a right answer; its probability is the sum over the set.

    `tokens`: texts, each standing for its first token as it would follow the prompt.
    `starting`: texts, each standing for every vocabulary token whose bytes start with it, less
    the tokens that start with one of `except_starting`. A text or a list of texts in place of
    the table stands for `tokens`. Raises `answers-empty` where no token can come of it.
    """

    tokens: tuple[str, ...] = ()
    starting: tuple[str, ...] = ()
    except_starting: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _texts_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [value]
        table = {"tokens": value} if isinstance(value, list) else value
        if not isinstance(table, dict):
            return table
        # After a Python validator, strict checking wants the tuples themselves.
        return {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}

    @model_validator(mode="after")
    def _not_empty(self) -> Answers:
        texts = (*self.tokens, *self.starting, *self.except_starting)
        if not (self.tokens or self.starting) or "" in texts:
            raise WireworkError(
                "answers-empty",
                "a set of answers holds no text" if "" not in texts else "an answer is empty",
                expected="at least one text in `tokens` or `starting`, none of them empty",
                got=str(self.plain()),
                hint='starting = ["]"]',
            )
        return self

    def __str__(self) -> str:
        parts = [repr(text) for text in self.tokens]
        parts += [f"{text!r}…" for text in self.starting]
        excepted = [f"{text!r}…" for text in self.except_starting]
        return " | ".join(parts) + (" but not " + ", ".join(excepted) if excepted else "")


@dataclass(frozen=True)
class Pair:
    """A prompt and its counterfactual, which differ in the contrast only.

    `answer`, `counter_answer`: names of the answer sets that are right after `prompt` and after
    `counterfactual`. `line`: where it stands (JSONL) or where its template stands (TOML).
    """

    prompt: str
    counterfactual: str
    answer: str
    counter_answer: str
    template: str
    line: int | None = None


def pair_complaints(
    splits: Mapping[Split, Sequence[Pair]], answers: Mapping[str, Answers], source: Source
) -> list[Complaint]:
    """Everything that can be said about pairs without a tokenizer."""
    found = [
        Complaint(
            "task-split-empty",
            f"the split {split!r} holds no pair",
            source.where(),
            expected="at least one pair in each of fit, select and report",
            got=", ".join(f"{name}: {len(splits[name])}" for name in SPLITS),
        )
        for split in SPLITS
        if not splits[split]
    ]
    first: dict[str, tuple[Split, Pair]] = {}
    for split in SPLITS:
        for pair in splits[split]:
            where = source.where(pair.line)
            found += _one_pair(pair, answers, where)
            for text in dict.fromkeys((pair.prompt, pair.counterfactual)):
                if text in first:
                    found.append(_repeated(text, split, where, *first[text], source))
                else:
                    first[text] = (split, pair)
    return found + _held_out(splits, source)


def _one_pair(pair: Pair, answers: Mapping[str, Answers], where: str) -> list[Complaint]:
    found = []
    if pair.prompt == pair.counterfactual:
        found.append(
            Complaint(
                "task-pair-same",
                "the prompt and its counterfactual are the same text",
                where,
                expected="two prompts that ask for different answers",
                got=repr(pair.prompt),
            )
        )
    unknown = [name for name in (pair.answer, pair.counter_answer) if name not in answers]
    for name in unknown:
        found.append(
            Complaint(
                "task-answers-unknown",
                f"no set of answers is called {name!r}",
                where,
                expected=f"one of {', '.join(answers)}",
                got=name,
                hint=nearest(name, answers),
            )
        )
    if not unknown:
        found += _leaks(pair, answers, where)
    if not unknown and answers[pair.answer] == answers[pair.counter_answer]:
        found.append(
            Complaint(
                "task-answers-coincide",
                "both sides of the pair want the same answers",
                where,
                expected="different answers after the prompt and after the counterfactual",
                got=str(answers[pair.answer]),
            )
        )
    return found


def _leaks(pair: Pair, answers: Mapping[str, Answers], where: str) -> list[Complaint]:
    """A side that ends in an answer of its own, where the other side does not end alike."""
    sides = (pair.prompt, pair.answer), (pair.counterfactual, pair.counter_answer)
    ends = [
        [text for text in (*answers[name].tokens, *answers[name].starting) if prompt.endswith(text)]
        for prompt, name in sides
    ]
    return [
        Complaint(
            "task-answer-in-prompt",
            "a prompt ends in its own answer, so that it gives the answer away",
            where,
            expected="a prompt that ends before its answer, or both sides with the same end",
            got=f"{prompt[-30:]!r} before {text!r}",
        )
        for (prompt, _), found, (other, _) in zip(sides, ends, sides[::-1], strict=True)
        for text in found[:1]
        if not other.endswith(text)
    ]


def _repeated(
    text: str, split: Split, where: str, first_split: Split, first: Pair, source: Source
) -> Complaint:
    return Complaint(
        "task-prompt-repeated",
        f"a prompt of {split} is there already",
        where,
        expected="every prompt once, in one split",
        got=f"{text!r}, also in {first_split} at {source.where(first.line)}",
    )


def _held_out(splits: Mapping[Split, Sequence[Pair]], source: Source) -> list[Complaint]:
    seen = {pair.template for split in ("fit", "select") for pair in splits[split]}
    if not splits["report"] or any(pair.template not in seen for pair in splits["report"]):
        return []
    return [
        Complaint(
            "task-no-report-only",
            "every template of report is also in fit or select, so a published figure says "
            "nothing about prompts of another form",
            source.where(),
            expected="some templates with `report_only = true`",
            level="note",
        )
    ]
