"""Features of LaTeX text: fractions, scripts, references, math, title, author, abstract."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wirework.core.errors import WireworkError
from wirework.probing.feature import NO, Feature, FeatureSet, Marks, Span, Text

_KEYS = r"(?:(?!author:|title:|bibliography:|date:|address:|---).)*\n"
_TITLE = re.compile(r"^title:(?:\s+\||\s+'| )(.+?)(?:'|\\|\n|$)(?:\n|$)", re.MULTILINE | re.DOTALL)
_AUTHOR = re.compile(rf"author:((?:{_KEYS})*)")
_ABSTRACT = re.compile(rf"abstract:((?:{_KEYS})*)")
_FRACTION = re.compile(r"\\frac\{([^}]+)\}\{([^}]+)\}")
_SIMPLE = {
    "is_superscript": re.compile(r"\^\{(.*?)\}"),
    "is_subscript": re.compile(r"_\{(.*?)\}"),
    "is_reference": re.compile(r"\[@(.*?)\]", re.DOTALL),
}

_HEADER = {"is_title": (_TITLE, 50, 50), "is_author": (_AUTHOR, 200, 75),
           "is_abstract": (_ABSTRACT, 400, 250)}  # fmt: skip
"""Pattern; characters up to which all of it counts; characters that count of a longer one."""

_ROWS = (
    ("is_frac", "both arguments of \\frac, with their braces",
     "a \\frac«{x}{y}» b", "\\sqrt{x}", ()),
    ("is_numerator", "the first argument of \\frac", "\\frac{«x»}{y}", "\\sqrt{x}",
     ("is_denominator",)),
    ("is_denominator", "the second argument of \\frac", "\\frac{x}{«y»}", "\\sqrt{x}",
     ("is_numerator",)),
    ("is_title", "the title of the header, its first 50 characters",
     "title: «On x»\ntext", "the title: x", ()),
    ("is_abstract", "the abstract of the header; of more than 400 characters the first 250",
     "abstract:« We show x.\n»title: x\n", "abstract nonsense", ()),
    ("is_author", "the author of the header; of more than 200 characters the first 75",
     "author:« Ann\n»title: x\n", "the author", ()),
    ("is_subscript", "the inside of _{...}", "x_{«i»}^{j}", "x_i", ("is_superscript",)),
    ("is_superscript", "the inside of ^{...}", "x_{i}^{«j»}", "x^2", ("is_subscript",)),
    ("is_reference", "the inside of [@...]", "see [@«ann20»]", "[ann20]", ()),
    ("is_math", "between $ and $ or $$ and $$", "a $«x»$ b $$«y»$$", "a \\$x\\$", ()),
    ("is_inline_math", "between $ and $", "a $«x»$ b $$y$$", "$$y$$", ("is_display_math",)),
    ("is_display_math", "between $$ and $$", "a $x$ b $$«y»$$", "$x$", ("is_inline_math",)),
    ("start_math", "the $ or $$ that opens math", "a «$»x$ b «$$»y$$", "a \\$x\\$",
     ("end_math",)),
    ("end_math", "the $ or $$ that closes math", "a $x«$» b $$y«$$»", "a \\$x\\$",
     ("start_math",)),
)  # fmt: skip


def latex_features() -> FeatureSet:
    """`feature_set("latex")`: the fourteen published ones (sparse_probing.md §2.4).

    A text with an odd number of dollar signs raises `text-not-latex`. Math is marked to its last
    character (the published code stopped a token short).
    """
    features = tuple(
        Feature(
            name, "latex", definition, (positive,), (negative,), mirrors=mirrors,
            limits="patterns, not a TeX reader: nested braces end at the first closing one",
        )
        for name, definition, positive, negative, mirrors in _ROWS
    )  # fmt: skip
    column = {feature.name: number for number, feature in enumerate(features)}

    def labeller(text: Text) -> Marks:
        if text.text.count("$") % 2:
            raise WireworkError(
                "text-not-latex", "math that is opened but not closed",
                expected="an even number of dollar signs", got=str(text.text.count("$")),
            )  # fmt: skip
        found = [*_patterns(text.text), *_math(text.text)]
        spans = [Span(start, end, column[name]) for start, end, name in found]
        return Marks.from_spans(spans, [NO] * len(features))

    return FeatureSet("latex", features, labeller, how="regular expressions and a state machine")


def _patterns(text: str) -> Iterator[tuple[int, int, str]]:
    for name, pattern in _SIMPLE.items():
        yield from ((*match.span(1), name) for match in pattern.finditer(text))
    for match in _FRACTION.finditer(text):
        yield match.start(1) - 1, match.end(2) + 1, "is_frac"
        yield *match.span(1), "is_numerator"
        yield *match.span(2), "is_denominator"
    for name, (pattern, whole, part) in _HEADER.items():
        if first := pattern.search(text):
            start, end = first.span(1)
            yield start, end if end - start < whole else start + part, name


def _math(text: str) -> Iterator[tuple[int, int, str]]:
    """Stretches between unescaped dollar signs, and the signs."""
    place, opened, sign = 0, 0, ""
    while place < len(text):
        if text[place] == "\\":
            place += 2
            continue
        here = "$$" if text.startswith("$$", place) else text[place]
        if sign and text.startswith(sign, place):
            yield opened, place, "is_math"
            yield opened, place, "is_inline_math" if sign == "$" else "is_display_math"
            yield opened - len(sign), opened, "start_math"
            yield place, place + len(sign), "end_math"
            place, sign = place + len(sign), ""
        elif not sign and here in ("$", "$$"):
            place, sign = place + len(here), here
            opened = place
        else:
            place += 1
