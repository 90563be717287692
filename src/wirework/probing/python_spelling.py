"""Features of Python lexemes that follow from their spelling: classes, literals, punctuation."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from wirework.probing.python_catalog import LEXEME_FEATURES
from wirework.probing.python_lexemes import (
    COMMENT,
    NAME,
    NEWLINE,
    NUMBER,
    OPERATOR,
    STRING,
    Lexemes,
)

Mask = NDArray[np.bool_]

_SETS = {
    "is_def_or_class_kw": "def class",
    "is_control_kw": "if elif else for while try except finally with",
    "is_jump_kw": "return break continue raise yield pass",
    "is_bool_kw": "and or not in is",
    "is_constant_kw": "True False None",
    "is_import_kw": "import from as",
    "is_zero_or_one": "0 1",
    "is_open_bracket": "( [ {",
    "is_close_bracket": ") ] }",
    "is_comma": ",",
    "is_colon": ":",
    "is_dot": ".",
    "is_assign_op": "=",
    "is_compare_op": "== != < > <= >=",
    "is_arith_op": "+ - * / // % ** @",
    "is_bitwise_op": "& | ^ ~ << >>",
    "is_augassign_op": "+= -= *= /= //= %= **= @= &= |= ^= <<= >>=",
    "is_self": "self",
    "is_cls": "cls",
    "is_type_name": "int str list dict set tuple float bool bytes object type frozenset complex",
    "is_empty_string": "'' \"\"",
}
"""Features that are lists of lexemes."""

GROUPS = ("lexeme class", "literals", "punctuation and operators", "identifier spelling")

_DELIMITERS = frozenset("()[]{},:.;")
_PREFIX = re.compile(r"[A-Za-z]*")


def spelling(lexemes: Lexemes) -> dict[str, Mask]:
    """Groups A to D (sparse_probing.md §9): feature -> (L) bool."""
    # What a lexeme is spelt like says what kind it is.
    kind_of = dict(zip(lexemes.strings, lexemes.kinds.tolist(), strict=True))
    distinct = {string: number for number, string in enumerate(kind_of)}
    index = [distinct[string] for string in lexemes.strings]
    sets = {name: frozenset(words.split()) for name, words in _SETS.items()}
    keywords = frozenset(keyword.kwlist)
    having: dict[str, list[int]] = {}
    for string, number in distinct.items():
        for name in _spelt(kind_of[string], string, sets, keywords):
            having.setdefault(name, []).append(number)
    found = {}
    names = [row[0] for group in GROUPS for row in LEXEME_FEATURES[group]]
    for name in names:
        table = np.zeros(len(distinct), bool)
        table[having.get(name, [])] = True
        found[name] = table[index]
    return found | _in_context(lexemes, found)


def _in_context(lexemes: Lexemes, found: dict[str, Mask]) -> dict[str, Mask]:
    flat = lexemes.depth == 0
    ends = np.isin(lexemes.kinds[1:], (NEWLINE, COMMENT))
    before_end = np.concatenate((ends, [False]))[: len(lexemes)]
    return {
        "is_kwarg_equals": found["is_assign_op"] & ~flat,
        "is_block_colon": found["is_colon"] & flat & before_end,
    }


def _spelt(
    kind: int, string: str, sets: dict[str, frozenset[str]], keywords: frozenset[str]
) -> Iterator[str]:
    """The features that a lexeme of this kind and spelling has wherever it stands."""
    if kind == COMMENT:
        yield "is_comment"
        return
    if kind == NEWLINE:
        yield "is_newline"
        return
    yield from (name for name, words in sets.items() if string in words)
    if kind == NUMBER:
        yield "is_number"
        yield from _number(string.lower())
    elif kind == STRING:
        yield "is_string_lexeme"
        yield from _string(string)
    elif kind == OPERATOR:
        yield "is_delimiter" if string in _DELIMITERS else "is_operator"
    elif string in keywords:
        yield "is_keyword"
    else:
        assert kind == NAME
        yield "is_identifier"
        yield from _identifier(string)


def _number(string: str) -> Iterator[str]:
    if string[:2] in ("0x", "0o", "0b"):
        yield "is_hex_oct_bin"
    elif "." in string or "e" in string:
        yield "is_float_literal"
    elif string.isdigit():
        yield "is_int_literal"


def _string(string: str) -> Iterator[str]:
    match = _PREFIX.match(string)
    assert match is not None
    prefix, body = match.group().lower(), string[match.end() :]
    if body[:3] in ("'''", '"""') and len(body) >= 6:
        yield "is_triple_quoted"
    elif body[0] == "'":
        yield "is_single_quoted"
    if "r" in prefix:
        yield "is_raw_string"
    if "b" in prefix:
        yield "is_bytes_literal"


def _identifier(name: str) -> Iterator[str]:
    if name.islower() and "_" in name.strip("_"):
        yield "id_snake_case"
    if name[0].isupper() and any(char.islower() for char in name):
        yield "id_camel_case"
    if name.isupper() and len(name) > 1:
        yield "id_all_caps"
    if len(name) > 4 and name.startswith("__") and name.endswith("__"):
        yield "id_dunder"
    if name.startswith("_") and not name.startswith("__"):
        yield "id_private"
    if len(name) == 1:
        yield "id_single_char"
    if any(char.isdigit() for char in name):
        yield "id_has_digit"
    if len(name) >= 12:
        yield "id_long"
    if name.endswith(("Error", "Exception", "Warning")):
        yield "is_exception_name"
