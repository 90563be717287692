"""The lexemes of a Python file, as columns: what `tokenize` finds, several times as fast.

Counted as lexemes are names, numbers, strings, comments, operators and the ends of logical lines
(NEWLINE); not blank lines, ends of lines inside brackets (NL), indents and dedents. An f-string
is one lexeme on every version of Python, with all that stands in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.probing.feature import Integers

NAME, NUMBER, STRING, COMMENT, NEWLINE, OPERATOR = 1, 2, 3, 4, 5, 6

_DIGITS = r"[0-9](?:_?[0-9])*"
_EXPONENT = rf"(?:[eE][-+]?{_DIGITS})"
LEXEME = re.compile(
    r"(?P<string>(?:[rRbBuUfFtT]{1,2})?(?:"
    r"'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    r'|"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"))'
    r"|(?P<name>[^\W\d]\w*)"
    rf"|(?P<number>0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+"
    rf"|(?:(?:{_DIGITS}\.(?:{_DIGITS})?|\.{_DIGITS}){_EXPONENT}?|{_DIGITS}{_EXPONENT}?)[jJ]?)"
    r"|(?P<operator>\.\.\.|\*\*=?|//=?|>>=?|<<=?|->|:=|[-+*/%&|^@=<>!]=?|~|[()\[\]{},:.;])"
    r"|(?P<newline>\r?\n)"
    r"|(?P<comment>#[^\r\n]*)"
    r"|(?P<joined>\\\r?\n)"
    r"|(?P<blank>[ \t\f]+)"
    r"|(?P<odd>.)",
    re.DOTALL,
)
_KINDS = {"name": NAME, "number": NUMBER, "string": STRING, "comment": COMMENT,
          "newline": NEWLINE, "operator": OPERATOR}  # fmt: skip

_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True)
class Lexemes:
    """Columns (L) over the lexemes of a text, in order.

    `starts`, `ends` in characters; `strings`; `kinds`; `lines` (of the start, from 1) and
    `columns` (from 0); `depth`: brackets that were opened before and are not closed yet;
    `innermost`: the last of them, 1 to 3 for `(`, `[`, `{`, 0 for none. A bracket lies outside of
    itself. `line_starts` (lines): in characters.
    """

    text: str
    starts: Integers
    ends: Integers
    strings: list[str]
    kinds: NDArray[np.int8]
    lines: Integers
    columns: Integers
    depth: Integers
    innermost: NDArray[np.int8]
    line_starts: Integers

    def __len__(self) -> int:
        return len(self.strings)


def lex_python(text: str) -> Lexemes:
    """Cut a Python file into its lexemes. Raises `text-not-python`.

    A file without an end of line at its end is read as if it had one, as Python does.
    """
    whole = text if text.endswith("\n") or not text else text + "\n"
    matches = list(LEXEME.finditer(whole))
    groups = np.array([match.lastindex for match in matches], np.int64)
    odd = np.flatnonzero(groups == LEXEME.groupindex["odd"])
    if len(odd):
        first = matches[odd[0]]
        raise not_python(f"{first.group()!r} at character {first.start()}")
    kind_of = np.zeros(LEXEME.groups + 1, np.int8)
    for name, kind in _KINDS.items():
        kind_of[LEXEME.groupindex[name]] = kind
    real = kind_of[groups] > 0
    matches = [matches[place] for place in np.flatnonzero(real).tolist()]
    kinds = kind_of[groups[real]]
    strings = [match.group() for match in matches]
    spans = np.array([match.span() for match in matches], np.int64).reshape(-1, 2)
    depth, innermost = _brackets(strings)
    kept = _is_kept(kinds, depth)
    places = np.flatnonzero(kept).tolist()
    starts = spans[kept, 0]
    breaks = (
        np.flatnonzero(np.frombuffer(whole.encode("utf-32-le", "surrogatepass"), np.uint32) == 0x0A)
        + 1
    )
    line_starts = np.concatenate(([0], breaks)).astype(np.int64)
    lines = np.searchsorted(line_starts, starts, side="right")
    return Lexemes(
        text=text,
        starts=starts,
        ends=spans[kept, 1],
        strings=[strings[place] for place in places],
        kinds=kinds[kept],
        lines=lines,
        columns=starts - line_starts[lines - 1],
        depth=depth[kept],
        innermost=innermost[kept],
        line_starts=line_starts,
    )


def _brackets(strings: list[str]) -> tuple[Integers, NDArray[np.int8]]:
    """Open brackets before every lexeme, and the innermost. Raises `text-not-python`."""
    innermost = np.zeros(len(strings), np.int8)
    depth = np.zeros(len(strings), np.int64)
    stack: list[int] = []
    before = 0
    brackets = [i for i, s in enumerate(strings) if s in _OPENING or s in _CLOSING]
    for place in brackets:
        depth[before:place] = len(stack)
        innermost[before:place] = stack[-1] if stack else 0
        opens = _OPENING.find(strings[place])
        if opens < 0 and (not stack or stack.pop() != _CLOSING.find(strings[place]) + 1):
            raise not_python(f"a {strings[place]!r} that closes nothing")
        depth[place] = len(stack)
        innermost[place] = stack[-1] if stack else 0
        if opens >= 0:
            stack.append(opens + 1)
        before = place + 1
    if stack:
        raise not_python(f"a {_OPENING[stack[-1] - 1]!r} that is not closed")
    return depth, innermost


def _is_kept(kinds: NDArray[np.int8], depth: Integers) -> NDArray[np.bool_]:
    """All but ends of lines that end no statement: blank lines, comments alone, in brackets."""
    newline = kinds == NEWLINE
    ends = np.flatnonzero(newline & (depth == 0))
    code = np.cumsum(~newline & (kinds != COMMENT))[ends]
    kept: NDArray[np.bool_] = ~newline
    kept[ends] = np.diff(code, prepend=0) > 0
    return kept


def not_python(reason: str) -> WireworkError:
    return WireworkError(
        "text-not-python",
        "the text is no Python file that can be labelled",
        expected="a whole file that this Python parses",
        got=reason,
    )
