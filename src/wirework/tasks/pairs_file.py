"""Task files in JSONL: one pair a line, each checked with file and line."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any

from wirework.core.config import Config
from wirework.core.errors import WireworkError, nearest
from wirework.tasks.complaint import Complaint, Source, unknown_keys
from wirework.tasks.pairs import SPLITS, Answers, Pair, Split, pair_complaints
from wirework.tasks.task import Task


class Head(Config):
    """The first line of a pairs file, if it holds no prompt: what is said of the whole task."""

    name: str = ""
    description: str = ""
    local: bool = False


class PairLine(Config):
    """One line of a pairs file. `answers` and `counter_answers`: a text, a list, or a table."""

    prompt: str
    counterfactual: str
    answers: Answers
    counter_answers: Answers
    split: str
    template: str = "pairs"


def parse_pairs_file(source: Source) -> tuple[Task | None, list[Complaint]]:
    """Read a JSONL task file; None where a line cannot be used. Never raises for its content."""
    head, head_line = Head(), 1
    found: list[Complaint] = []
    answers: dict[str, Answers] = {}
    splits: dict[Split, list[Pair]] = {split: [] for split in SPLITS}
    started = False
    for number, text in enumerate(source.text.split("\n"), 1):
        if not text.strip():
            continue
        value, complaints = _read_object(text, source.where(number))
        if value is not None and not started and not set(value) & set(PairLine.model_fields):
            head_line = number
            head, complaints = _parse_head(value, source.where(number))
        elif value is not None:
            complaints += _read_pair(value, number, source, answers, splits)
        started = True
        found += complaints
    if found:
        return None, found
    name = head.name or PurePath(source.name).stem
    task = Task(
        name=name,
        description=head.description,
        local=head.local,
        answers=answers,
        fit=tuple(splits["fit"]),
        select=tuple(splits["select"]),
        report=tuple(splits["report"]),
        source=source.name,
        line=head_line if head.local else None,
    )
    return task, pair_complaints(task.splits, answers, source)


def _read_object(text: str, where: str) -> tuple[dict[str, Any] | None, list[Complaint]]:
    try:
        value = json.loads(text)
    except ValueError as error:
        got = f"{error}: {text[:80]}"
    else:
        if isinstance(value, dict):
            return value, []
        got = text[:80]
    return None, [
        Complaint(
            "task-line-malformed",
            "the line is no pair",
            where,
            expected="one JSON object a line",
            got=got,
            hint='{"prompt": "…", "counterfactual": "…", "answers": ["…"], '
            '"counter_answers": ["…"], "split": "fit", "template": "…"}',
        )
    ]


def _parse_head(value: dict[str, Any], where: str) -> tuple[Head, list[Complaint]]:
    unknown = unknown_keys(value, Head, Source(where))
    if unknown:
        return Head(), unknown
    try:
        return Head.parse(value, where), []
    except WireworkError as error:
        return Head(), [_invalid(error, where)]


def _invalid(error: WireworkError, where: str) -> Complaint:
    message = error.message.removeprefix(f"{where}: ")
    return Complaint("task-value-invalid", message, where, error.expected, error.got)


def _read_pair(
    value: dict[str, Any],
    number: int,
    source: Source,
    answers: dict[str, Answers],
    splits: dict[Split, list[Pair]],
) -> list[Complaint]:
    """Put the pair of one line into `answers` and `splits`, or say what is wrong with it."""
    where = source.where(number)
    found = unknown_keys(value, PairLine, Source(where))
    for key, field in PairLine.model_fields.items():
        if field.is_required() and key not in value:
            found.append(
                Complaint(
                    "task-missing-key",
                    f"the pair has no {key!r}",
                    where,
                    expected=key,
                    got=", ".join(value),
                )
            )
    if found:
        return found
    try:
        line = PairLine.parse(value, where)
    except WireworkError as error:
        if error.code == "answers-empty":
            return [Complaint.from_error(error, where)]
        return [_invalid(error, where)]
    split = next((name for name in SPLITS if name == line.split), None)
    if split is None:
        return [
            Complaint(
                "task-split-unknown",
                f"there is no split {line.split!r}",
                where,
                expected=f"one of {', '.join(SPLITS)}",
                got=line.split,
                hint=nearest(line.split, SPLITS),
            )
        ]
    for answer in (line.answers, line.counter_answers):
        answers.setdefault(str(answer), answer)
    splits[split].append(
        Pair(
            line.prompt,
            line.counterfactual,
            str(line.answers),
            str(line.counter_answers),
            line.template,
            number,
        )
    )
    return []
