"""The one error a user's mistake raises: a code, what went wrong, expected, got, try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WireworkError(ValueError):
    """A mistake that the user can mend.

    `code` is stable and kebab-case (`circuit-model-mismatch`); `docs/errors.md` lists them all.
    `expected`, `got` and `hint` may be empty; `hint` is a command, argument or value that works.
    Our own bugs are `assert`ed instead.
    """

    def __init__(
        self, code: str, message: str, *, expected: str = "", got: str = "", hint: str = ""
    ) -> None:
        super().__init__(code, message, expected, got, hint)
        self.code = code
        self.message = message
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.message}"]
        for label, text in (("expected", self.expected), ("got", self.got), ("try", self.hint)):
            if text:
                lines.append(f"  {label:<9} {text}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, str]:
        return {
            "code": self.code,
            "message": self.message,
            "expected": self.expected,
            "got": self.got,
            "try": self.hint,
        }


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice most like `word`, or an empty string where none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return near[0] if near else ""


def unknown_choice(code: str, noun: str, word: str, choices: Iterable[str]) -> WireworkError:
    """The error for a name that is none of `choices`, with the nearest right one."""
    known = sorted(choices)
    return WireworkError(
        code,
        f"there is no {noun} called {word!r}",
        expected=f"one of {', '.join(known)}",
        got=word,
        hint=nearest(word, known) or (known[0] if known else ""),
    )
