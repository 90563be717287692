"""What is wrong with a task file, and where: complaints that are collected before one is raised."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from wirework.core.errors import WireworkError, nearest

Level = Literal["error", "note"]


@dataclass(frozen=True)
class Complaint:
    """One finding about a task. An `error` stops the task from being used, a `note` does not.

    `code` is the code of the error it becomes; `where` is `FILE:LINE`, or empty for a task that
    came from no file.
    """

    code: str
    message: str
    where: str = ""
    expected: str = ""
    got: str = ""
    hint: str = ""
    level: Level = "error"

    @classmethod
    def from_error(cls, error: WireworkError, where: str = "") -> Complaint:
        return cls(error.code, error.message, where, error.expected, error.got, error.hint)

    def error(self) -> WireworkError:
        message = f"{self.where}: {self.message}" if self.where else self.message
        return WireworkError(
            self.code, message, expected=self.expected, got=self.got, hint=self.hint
        )

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        text = str(self.error())
        return text if self.level == "error" else text.replace("error[", "note[", 1)


def raise_first(complaints: Iterable[Complaint]) -> None:
    """Raise the first complaint that is an error and say what else is wrong; else do nothing."""
    errors = [complaint for complaint in complaints if complaint.level == "error"]
    if not errors:
        return
    first, *others = errors
    if others:
        rest = "; ".join(f"{c.where or 'the task'} {c.code}" for c in others[:5])
        rest += "; …" if len(others) > 5 else ""
        first = replace(first, message=f"{first.message} (and {len(others)} more: {rest})")
    raise first.error()


@dataclass(frozen=True)
class Source:
    """The text of a task file, searched for the line that a complaint is about."""

    name: str
    text: str = ""

    @classmethod
    def read(cls, path: Path, name: str = "") -> Source:
        """Raises `task-file-missing` or `task-not-text`."""
        try:
            return cls(name or str(path), path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise WireworkError(
                "task-file-missing",
                f"there is no task file {path}",
                expected="a .toml or .jsonl file",
                got="a folder" if path.is_dir() else str(path),
            ) from None
        except UnicodeDecodeError as error:
            raise WireworkError(
                "task-not-text", f"{path} is not UTF-8 text", expected="UTF-8", got=str(error)
            ) from None

    def where(self, line: int | None = None) -> str:
        return self.name if line is None else f"{self.name}:{line}"

    def line_of(self, *path: str | int) -> int | None:
        """Line (from 1) of a TOML key given as its path, such as `("template", 2, "text")`.

        A number stands for the n-th `[[table]]` of that name. Where the key itself is not found,
        the line of the nearest table around it; None where nothing is.
        """
        lines = self.text.splitlines()
        start, best = 0, None
        for depth in range(len(path), 0, -1):
            found = _find_header(lines, path[:depth])
            if found is not None:
                start, best = found, found + 1
                path = path[depth:]
                break
        keys = [str(part) for part in path if not isinstance(part, int)]
        for key in keys:
            found = _find_key(lines, start, key, within=best is not None)
            if found is not None:
                start, best = found, found + 1
        return best

    def line_containing(self, text: str, after: int | None) -> int | None:
        """The first line at or after line `after` that holds `text`; else `after`."""
        lines = self.text.splitlines()
        for index in range((after or 1) - 1, len(lines)):
            if text in lines[index]:
                return index + 1
        return after


def _find_header(lines: list[str], path: tuple[str | int, ...]) -> int | None:
    names = [re.escape(part) for part in path if isinstance(part, str)]
    dotted = r"\s*\.\s*".join(f"[\"']?{name}[\"']?" for name in names)
    single, array = rf"\[\s*{dotted}\s*\]", rf"\[\[\s*{dotted}\s*\]\]"
    pattern = re.compile(rf"^\s*(?:{array if isinstance(path[-1], int) else single})\s*(#.*)?$")
    found = [index for index, line in enumerate(lines) if pattern.match(line)]
    position = path[-1] if isinstance(path[-1], int) else 0
    return found[position] if position < len(found) else None


def _find_key(lines: list[str], start: int, key: str, *, within: bool) -> int | None:
    pattern = re.compile(rf"(?:^|[{{,.])\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
    for index in range(start, len(lines)):
        if within and index > start and lines[index].startswith("["):
            return None
        if pattern.search(lines[index]):
            return index
    return None


def unknown_keys(
    table: Mapping[str, Any], model: type[BaseModel], source: Source, *path: str | int
) -> list[Complaint]:
    """A complaint for every key of `table` that `model` does not have."""
    known = list(model.model_fields)
    inside = ".".join(str(part) for part in path)
    return [
        Complaint(
            "task-unknown-key",
            f"{key!r} is no key of {inside}" if inside else f"{key!r} is no key here",
            source.where(source.line_of(*path, key)),
            expected=f"one of {', '.join(known)}",
            got=key,
            hint=nearest(key, known),
        )
        for key in table
        if key not in known
    ]
