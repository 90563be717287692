"""Task files in TOML, read and checked: every mistake with its file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from wirework.core.errors import WireworkError, nearest
from wirework.tasks.complaint import Complaint, Source, unknown_keys
from wirework.tasks.pairs import Answers
from wirework.tasks.template import Counts, TaskFile, Template, is_slot_name
from wirework.tasks.template_check import check_template


def parse_task_file(source: Source) -> tuple[TaskFile | None, list[Complaint]]:
    """Read a TOML task file; None where it is too broken to go on. Never raises for its content."""
    try:
        table = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        where = source.where(int(at.group(1)) if at else None)
        return None, [
            Complaint("task-not-toml", "not TOML", where, expected="key = value", got=str(error))
        ]
    found = _unknown_anywhere(table, source)
    if found:
        return None, found
    try:
        file = TaskFile.parse(table, source.name)
    except WireworkError as error:
        return None, [_located(error, table, source)]
    return file, check_task_file(file, source)


def _unknown_anywhere(table: Mapping[str, Any], source: Source) -> list[Complaint]:
    found = unknown_keys(table, TaskFile, source)
    if isinstance(table.get("counts"), dict):
        found += unknown_keys(table["counts"], Counts, source, "counts")
    answers = table.get("answers")
    for name, value in answers.items() if isinstance(answers, dict) else ():
        if isinstance(value, dict):
            found += unknown_keys(value, Answers, source, "answers", name)
    templates = table.get("template")
    for index, value in enumerate(templates if isinstance(templates, list) else ()):
        if isinstance(value, dict):
            found += unknown_keys(value, Template, source, "template", index)
    return found


def _located(error: WireworkError, table: Mapping[str, Any], source: Source) -> Complaint:
    """A configuration's error as a complaint, with the line of the key that it names."""
    named = re.match(rf"{re.escape(source.name)}: (\S+) cannot be used", error.message)
    if named is None:
        answers = table.get("answers", {})
        empty = [name for name, value in answers.items() if not _is_usable(value)]
        return Complaint.from_error(error, source.where(source.line_of("answers", *empty[:1])))
    keys = tuple(int(key) if key.isdecimal() else key for key in named.group(1).split("."))
    return Complaint(
        "task-value-invalid",
        f"{named.group(1)} is missing or cannot be used",
        source.where(source.line_of(*keys)),
        expected=error.expected,
        got=error.got,
    )


def _is_usable(answers: Any) -> bool:
    try:
        Answers.parse(answers)
    except WireworkError:
        return False
    return True


def check_task_file(file: TaskFile, source: Source) -> list[Complaint]:
    """Every mistake in a task file that can be seen without expanding it."""
    found = _check_answers(file, source)
    for name, sides in file.contrast.items():
        found += _check_contrast(name, sides, file, source)
    for name, fillings in file.exchange.items():
        found += _check_slot("exchange", name, fillings, file, source)
    for name, fillings in file.slots.items():
        found += _check_slot("slots", name, fillings, file, source)
    used: set[str] = set()
    called: set[str] = set()
    for index, template in enumerate(file.template):
        complaints, placeholders = check_template(index, template, file, source)
        found += complaints
        used |= placeholders
        if template.name in called:
            where = source.where(source.line_of("template", index, "name"))
            found.append(
                Complaint(
                    "template-name-repeated",
                    f"two templates are called {template.name!r}",
                    where,
                    expected="a name of its own for each template",
                    got=template.name,
                )
            )
        called.add(template.name)
    wanted = {side for sides in file.contrast.values() for side in sides}
    for table, users in (
        ("slots", used),
        ("exchange", used),
        ("contrast", used),
        ("answers", wanted),
    ):
        names = getattr(file, table)
        found += [_unused(table, name, source) for name in names if name not in users]
    return found


def _check_answers(file: TaskFile, source: Source) -> list[Complaint]:
    found = []
    if len(file.answers) < 2 and (file.answers or file.contrast or not file.exchange):
        found.append(
            Complaint(
                "task-answers-missing",
                "a task needs two sets of answers",
                source.where(source.line_of("answers")),
                expected="[answers.NAME] twice: one for the prompt, one for its counterfactual",
                got=", ".join(file.answers) or "none",
            )
        )
    return found


def _check_contrast(
    name: str, sides: Mapping[str, Sequence[str]], file: TaskFile, source: Source
) -> list[Complaint]:
    where = source.where(source.line_of("contrast", name))
    found = [
        Complaint(
            "task-answers-unknown",
            f"contrast {name!r} names a set of answers that is not there: {side!r}",
            where,
            expected=f"one of {', '.join(file.answers)}",
            got=side,
            hint=nearest(side, file.answers),
        )
        for side in sides
        if side not in file.answers
    ]
    lengths = {len(fillings) for fillings in sides.values()}
    if len(sides) != 2 or len(lengths) != 1 or lengths == {0}:
        found.append(
            Complaint(
                "contrast-malformed",
                f"contrast {name!r} does not say what stands on either side",
                where,
                expected="two sets of answers with equally many fillings",
                got=", ".join(f"{side}: {len(texts)}" for side, texts in sides.items()) or "none",
                hint=f"[contrast.{name}] with a line ANSWERS = 'filling' for each side",
            )
        )
        return found
    first, second = sides.values()
    same = [text for text, other in zip(first, second, strict=True) if text == other]
    if same:
        found.append(
            Complaint(
                "contrast-same",
                f"contrast {name!r} has the same filling on both sides",
                where,
                expected="different fillings",
                got=repr(same[0]),
            )
        )
    return found


def _check_slot(
    table: str, name: str, fillings: Sequence[str], file: TaskFile, source: Source
) -> list[Complaint]:
    where = source.where(source.line_of(table, name))
    found = []
    tables = {"slot": [*file.slots], "exchange": [*file.exchange], "contrast": [*file.contrast]}
    taken = [kind for kind, names in tables.items() if name in names]
    if len(taken) > 1:
        found.append(
            Complaint(
                "slot-name-taken",
                f"{name!r} is both a {' and a '.join(taken)}",
                where,
                expected="two different names",
                got=name,
            )
        )
    if not is_slot_name(name):
        found.append(
            Complaint(
                "slot-name-malformed",
                f"{name!r} cannot stand in a placeholder",
                where,
                expected="letters, digits and _, beginning with a letter",
                got=name,
            )
        )
    repeated = sorted({text for text in fillings if fillings.count(text) > 1})
    if repeated or not fillings:
        found.append(
            Complaint(
                "slot-fillings-repeated" if repeated else "slot-empty",
                f"slot {name!r} holds a filling twice" if repeated else f"slot {name!r} is empty",
                where,
                expected="at least one filling, each of them once",
                got=", ".join(map(repr, repeated)) or "[]",
            )
        )
    elif table == "exchange" and len(fillings) < 2:
        found.append(
            Complaint(
                "exchange-too-few",
                f"nothing can change places with the only filling of {name!r}",
                where,
                expected="at least two fillings",
                got=repr(fillings[0]),
            )
        )
    return found


def _unused(table: str, name: str, source: Source) -> Complaint:
    user = "contrast" if table == "answers" else "template"
    return Complaint(
        "answers-unused"
        if table == "answers"
        else ("contrast-unused" if table == "contrast" else "slot-unused"),
        f"no {user} uses {name!r}",
        source.where(source.line_of(table, name)),
        expected=f"a {user} that uses it, or nothing of that name under {table}",
        got=name,
    )
