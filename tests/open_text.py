"""What is open where a piece of Python ends, by Python's own tokenizer."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator

CLOSERS = {"(": ")", "[": "]", "{": "}"}


def open_quote(text: str) -> str:
    """The quote that closes the string in which `text` ends."""
    flat = _flat(text)
    found = [quote for quote in "\"'" if _ends_in_string(flat, quote)]
    assert len(found) == 1, (text, found)
    return found[0]


def _ends_in_string(text: str, quote: str) -> bool:
    """Whether a string of `text` goes on to its end and is closed by `quote`."""
    tokens = list(_tokens(text + quote + "\n"))
    # Of a quote that nothing closes some versions make a token of its own.
    if any(t.type == tokenize.ERRORTOKEN and t.string[0] in "\"'" for t in tokens):
        return False
    strings = [token for token in tokens if token.type == tokenize.STRING]
    return bool(strings) and _offset(text, strings[-1].end) == len(text) + 1 and (
        _offset(text, strings[-1].start) < len(text)
    )  # fmt: skip


def open_brackets(text: str) -> str:
    """The brackets that close `text`, in their order."""
    stack = ""
    for token in _tokens(_flat(text) + "\n"):
        if token.type == tokenize.OP and token.string in CLOSERS:
            stack += token.string
        elif token.type == tokenize.OP and token.string in CLOSERS.values():
            assert CLOSERS[stack[-1]] == token.string, text
            stack = stack[:-1]
    return "".join(CLOSERS[bracket] for bracket in reversed(stack))


def _flat(text: str) -> str:
    """Without indentation, which a piece of code may begin or end anywhere in."""
    return "\n".join(line.lstrip(" ") for line in text.split("\n"))


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except tokenize.TokenError:
        # The text is a beginning: its brackets are never closed.
        return


def _offset(text: str, place: tuple[int, int]) -> int:
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: place[0] - 1]) + place[1]
