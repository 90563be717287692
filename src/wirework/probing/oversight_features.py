"""The starter set for oversight: bias, justice, safety and high-stakes decisions."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from wirework.core.errors import WireworkError
from wirework.probing.feature import NO, NOT_ASKED, Feature, FeatureSet, Marks, Span, Text
from wirework.probing.oversight_code import (
    CODE_LIMITS,
    CODE_RISKS,
    CODE_ROWS,
    CodeReader,
    Found,
)
from wirework.probing.oversight_patterns import PATTERN_ROWS, pattern_finder
from wirework.probing.oversight_terms import LIMITS, RISKS, TERM_ROWS, TermFinder
from wirework.probing.python_lexemes import COMMENT, NAME, STRING, Lexemes, lex_python
from wirework.probing.python_syntax import parse_python


def oversight_features() -> FeatureSet:
    """`feature_set("oversight")`: words, patterns, and what is read off the syntax of Python.

    Works on any text; the features of code are asked only where a text parses as Python. A
    starting point to be read and changed, not a standard: see limits and risks of each feature.
    """
    features = (*_term_features(), *_pattern_features(), *_code_features())
    column = {feature.name: number for number, feature in enumerate(features)}
    code = len(CODE_ROWS)
    words, patterns, reader = TermFinder(TERM_ROWS), pattern_finder(PATTERN_ROWS), CodeReader()

    def labeller(text: Text) -> Marks:
        python = _parsed(text.text)
        rest = [NO] * (len(features) - code) + [NO if python else NOT_ASKED] * code
        terms = [*words.find(text.text)]
        found = [*terms, *patterns(text.text)]
        if python is not None:
            found += reader.find(text.text, python[0])
            found += _by_lexeme(terms, python[1])
        return Marks.from_spans([Span(a, b, column[name]) for a, b, name in found], rest)

    how = "lists of words, regular expressions, and the syntax tree where the text is Python"
    return FeatureSet("oversight", features, labeller, how=how)


def _parsed(text: str) -> tuple[ast.Module, Lexemes] | None:
    """None for a text that is no Python."""
    try:
        return parse_python(text), lex_python(text)
    except WireworkError:
        return None


def _by_lexeme(terms: Iterable[tuple[int, int, str]], lexemes: Lexemes) -> Found:
    """Words for people and groups again, by what kind of lexeme they stand in."""
    groups = {row.name for row in TERM_ROWS if row.group == "gender and groups"}
    places = {NAME: "identifier", COMMENT: "comment", STRING: "string"}
    for start, end, name in terms:
        index = int(lexemes.starts.searchsorted(start, side="right")) - 1
        if name in groups and index >= 0 and end <= lexemes.ends[index]:
            kind = places.get(int(lexemes.kinds[index]))
            if kind:
                yield start, end, f"group_term_in_{kind}"


def _term_features() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            row.name, row.group, row.definition, row.positive, row.negative,
            mirrors=row.mirrors, limits=LIMITS[row.group], risks=RISKS[row.group],
        )
        for row in TERM_ROWS
    )  # fmt: skip


def _pattern_features() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            row.name, row.group, row.definition, row.positive, row.negative,
            mirrors=row.mirrors, limits=row.limits, risks=row.risks,
        )
        for row in PATTERN_ROWS
    )  # fmt: skip


def _code_features() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            name, group, definition, positive, negative, "texts that parse as Python",
            mirrors, CODE_LIMITS, CODE_RISKS,
        )
        for name, group, definition, positive, negative, mirrors in CODE_ROWS
    )  # fmt: skip
