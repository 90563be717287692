"""Compound words: is this lexeme the last of `for i in range`, or does it only look like it?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from wirework.core.errors import WireworkError
from wirework.probing.feature import NO, NOT_ASKED, YES, Feature, FeatureSet, Marks, Span, Text
from wirework.probing.python_lexemes import COMMENT, NEWLINE, STRING, lex_python

CODE_WORDS = (
    "for i in range", "if __name__ ==", "def __init__", "self . name", "is not", "not in",
    "import numpy as np", "return None", "raise ValueError", "except Exception as",
)  # fmt: skip
"""Compound words of Python (sparse_probing.md §9), lexemes parted by spaces."""

TEXT_WORDS = (
    "high school", "living room", "social security", "credit card", "blood pressure",
    "prime factors", "social media", "gene expression", "control group", "magnetic field",
    "cell lines", "trial court", "second derivative", "north america", "human rights",
    "side effects", "public health", "federal government", "third party", "clinical trials",
    "mental health",
)  # fmt: skip
"""The published compound words (sparse_probing.md §2.4)."""

_WORD = re.compile(r"\w+|[^\w\s]")

Lexeme = tuple[str, int, int]
"""Its text as it is compared, its start and its end."""


def python_words(phrases: Sequence[str] = CODE_WORDS) -> FeatureSet:
    """`feature_set("python-words")`: compound words among the lexemes of Python files.

    Strings and comments are no words; ends of lines part words. Files need only be cut into
    lexemes, not parsed. Raises `phrase-malformed`; a file that cannot be cut `text-not-python`.
    """
    return _compounds("python-words", phrases, _python_lexemes)


def text_words(phrases: Sequence[str] = TEXT_WORDS) -> FeatureSet:
    """`feature_set("words")`: compound words of any text, capitals as small letters."""
    lowered = [phrase.lower() for phrase in phrases]
    return _compounds("words", lowered, _words)


def frequent_pairs(texts: Iterable[str], top: int = 20, least: int = 50) -> tuple[str, ...]:
    """The commonest pairs of neighbouring words of a corpus, as phrases, the commonest first.

    Both are words of letters; pairs seen fewer than `least` times are left out.
    """
    count: Counter[tuple[str, str]] = Counter()
    for text in texts:
        words = [word for word, _, _ in _words(text)]
        count.update(pairwise(words))
    common = (
        (pair, n) for pair, n in count.most_common() if pair[0].isalpha() and pair[1].isalpha()
    )
    return tuple(" ".join(pair) for pair, n in common if n >= least)[:top]


def _compounds(
    name: str, phrases: Sequence[str], cut: Callable[[str], Sequence[Lexeme]]
) -> FeatureSet:
    """Three features per phrase: the compound, and its two kinds of hard negatives.

    Asked are the last word of the phrase wherever it stands, and what follows the first words.
    The hard negatives are features of their own, so that half of the negatives can be drawn from
    either.
    """
    parted = [tuple(phrase.split()) for phrase in phrases]
    if not parted or any(len(words) < 2 for words in parted) or len(set(parted)) < len(parted):
        raise WireworkError(
            "phrase-malformed", "compound words have at least two parts, and differ",
            expected="phrases of two words or more, parted by spaces",
            got=", ".join(repr(phrase) for phrase in phrases), hint="is not",
        )  # fmt: skip
    features = tuple(f for words in parted for f in _features(words))
    rest = [NOT_ASKED] * len(features)

    def labeller(text: Text) -> Marks:
        return Marks.from_spans(_spans(cut(text.text), parted), rest)

    return FeatureSet(name, features, labeller, how="neighbouring lexemes compared one by one")


def _features(words: tuple[str, ...]) -> tuple[Feature, Feature, Feature]:
    phrase, head, last = " ".join(words), " ".join(words[:-1]), words[-1]
    first, second = f"{phrase} (missing first)", f"{phrase} (missing second)"
    asked = f"`{last}` anywhere, and whatever stands behind `{head}`"
    other = "other" if last != "other" else "another"
    limits = "lexemes are compared one by one; other spellings of the phrase are not found"
    return (
        Feature(
            phrase, "compound word", f"`{last}` that stands behind `{head}`",
            (f"{head} «{last}»",), (f"{head} {other}", f"{other} {last}"),
            asked, (first, second), limits,
        ),
        Feature(
            first, "compound word, hard negatives", f"`{last}` that does not stand behind `{head}`",
            (f"{other} «{last}»",), (f"{head} {last}",), asked, (phrase,), limits,
        ),
        Feature(
            second, "compound word, hard negatives", f"what stands behind `{head}`, not `{last}`",
            (f"{head} «{other}»",), (f"{head} {last}",), asked, (phrase,), limits,
        ),
    )  # fmt: skip


def _spans(lexemes: Sequence[Lexeme], parted: Sequence[tuple[str, ...]]) -> Iterable[Span]:
    strings = [string for string, _, _ in lexemes]
    places: dict[str, list[int]] = {}
    for place, string in enumerate(strings):
        places.setdefault(string, []).append(place)
    for number, words in enumerate(parted):
        column, before = 3 * number, len(words) - 1
        # Behind the first words: the place after each of their last word's places.
        behind = {
            place + 1
            for place in places.get(words[-2], ())
            if place + 1 >= before and tuple(strings[place + 1 - before : place + 1]) == words[:-1]
        }
        for place in sorted(behind.union(places.get(words[-1], ()))):
            if place >= len(lexemes) or not strings[place]:
                continue
            is_last, is_behind = strings[place] == words[-1], place in behind
            _, start, end = lexemes[place]
            labels = (is_last and is_behind, is_last and not is_behind, is_behind and not is_last)
            for offset, label in enumerate(labels):
                yield Span(start, end, column + offset, YES if label else NO)


def _python_lexemes(text: str) -> Sequence[Lexeme]:
    """Lexemes as words; of strings, comments and ends of lines only their places."""
    found = lex_python(text)
    kinds = found.kinds.tolist()
    return [
        ("" if kind in (STRING, COMMENT, NEWLINE) else string, start, end)
        for kind, string, start, end in zip(
            kinds, found.strings, found.starts.tolist(), found.ends.tolist(), strict=True
        )
    ]


def _words(text: str) -> Sequence[Lexeme]:
    return [(m.group().lower(), m.start(), m.end()) for m in _WORD.finditer(text)]
