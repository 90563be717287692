"""What a TOML task file holds: slots, contrasts and templates with their placeholders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeInt

from wirework.core.config import Config
from wirework.core.errors import WireworkError
from wirework.tasks.pairs import Answers

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER = re.compile(r"^([A-Za-z_]\w*)(?::(\d+))?$")


def _as_texts(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]
"""A list of texts; one text stands for a list of one."""


class Counts(Config):
    """Pairs wanted in each split."""

    fit: NonNegativeInt = 512
    select: NonNegativeInt = 256
    report: NonNegativeInt = 256


class Template(Config):
    """A prompt with `{slot}` placeholders; `{{` and `}}` stand for braces.

    `{slot}` twice is the same filling twice; `{slot:1}` and `{slot:2}` are two different ones.
    `answer`: what is right after the prompt, with placeholders of the prompt; only for templates
    whose sides differ by an exchange.
    """

    name: str
    text: str
    answer: Texts = ()
    report_only: bool = False


class TaskFile(Config):
    """A task file as it is written; `docs/tasks.md` explains it.

    `contrast`: slot -> {answer set -> fillings}: the filling decides which answer set is right.
    The n-th fillings of the two sides belong together; contrast slots of one template change
    sides together.

    `exchange`: slot -> fillings, of which `{slot:1}` and `{slot:2}` change places in the
    counterfactual; what is right after either side is the template's `answer`.
    """

    name: str = ""
    description: str = ""
    seed: NonNegativeInt = 0
    local: bool = False
    counts: Counts = Counts()
    answers: dict[str, Answers] = Field(default_factory=dict)
    contrast: dict[str, dict[str, Texts]] = Field(default_factory=dict)
    exchange: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    slots: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    template: tuple[Template, ...]


@dataclass(frozen=True)
class Placeholder:
    """`{slot}` (number 0) or `{slot:number}` in a template."""

    slot: str
    number: int = 0


Piece = str | Placeholder


def is_slot_name(name: str) -> bool:
    """Whether a placeholder can name such a slot."""
    return ":" not in name and _PLACEHOLDER.match(name) is not None


def split_text(text: str) -> list[Piece]:
    """A template's text as literal pieces and placeholders.

    Raises `template-brace` for a brace that is neither doubled nor around a slot's name.
    """
    pieces: list[Piece] = []
    end = 0
    for match in _PIECE.finditer(text):
        pieces.append(text[end : match.start()])
        end = match.end()
        inside = match.group(1)
        if inside is None and len(match.group()) == 2:
            pieces.append(match.group()[0])
            continue
        named = _PLACEHOLDER.match(inside or "")
        if named is None:
            raise WireworkError(
                "template-brace",
                f"{match.group()!r} is no placeholder",
                expected="{slot} or {slot:2}; a brace that belongs to the prompt is doubled",
                got=match.group(),
                hint=match.group().replace("{", "{{").replace("}", "}}"),
            )
        pieces.append(Placeholder(named.group(1), int(named.group(2) or 0)))
    pieces.append(text[end:])
    return [piece for piece in pieces if piece != ""]
