"""Features: what a label means, examples of it, and marks over the characters of a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import unknown_choice
from wirework.data import Skipped

Integers = NDArray[np.int64]
Labels = NDArray[np.int8]

YES, NO, NOT_ASKED = 1, 0, -1
"""What a label may be."""

OPEN, CLOSE, CUT = "«", "»", "¦"
"""How examples are written: see `Feature`."""


@dataclass(frozen=True)
class Feature:
    """One yes-or-no question about tokens.

    `positive` and `negative` are texts; `«` and `»` stand around exactly what has the feature and
    are no part of the text, so that negative examples hold none. Where the question is about
    single tokens, a text is cut into tokens at the marks and at `¦`. `among`: which tokens are
    asked at all. `mirrors`: names of features of the same set whose tokens are the hard negatives
    (sparse_probing.md §2.4). `limits`: where the label is wrong; `risks`: what it may be misused
    for or mistaken for.
    """

    name: str
    group: str
    definition: str
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    among: str = "every token"
    mirrors: tuple[str, ...] = ()
    limits: str = ""
    risks: str = ""

    def to_json(self) -> dict[str, Any]:
        found = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Feature:
        """Inverse of `to_json`; the keys must be known."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()
        }
        return cls(**values)


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) get `value` for the feature with that index."""

    start: int
    end: int
    feature: int
    value: int = YES


@dataclass(frozen=True, eq=False)
class Text:
    """A text to be labelled: its name, and where its tokens start and end, in characters."""

    text: str
    starts: Integers
    ends: Integers
    name: str = ""


@dataclass(frozen=True, eq=False)
class Marks:
    """Labels of a text: stretches that do not overlap, in order.

    `starts`, `ends` (S) in characters, end exclusive; `values` (S, F) in {1, 0, -1}; `rest` (F):
    the labels of characters in no stretch.
    """

    starts: Integers
    ends: Integers
    values: Labels
    rest: Labels

    @classmethod
    def from_spans(cls, spans: Iterable[Span], rest: Sequence[int]) -> Marks:
        """From spans that may overlap: where two of one feature do, the later one counts."""
        spans = [span for span in spans if span.start < span.end]
        around = np.array(rest, np.int8)
        edges = np.array([(span.start, span.end) for span in spans], np.int64).reshape(-1, 2)
        cuts = np.unique(edges)
        values = np.tile(around, (max(len(cuts) - 1, 0), 1))
        places = np.searchsorted(cuts, edges)
        for span, (low, high) in zip(spans, places.tolist(), strict=True):
            values[low:high, span.feature] = span.value
        return cls(cuts[:-1], cuts[1:], values, around)

    def of_characters(self, length: int, feature: int) -> Labels:
        """The labels of one feature, character by character: (length) int8."""
        found = np.full(length, self.rest[feature], np.int8)
        for start, end, value in zip(
            self.starts.tolist(), self.ends.tolist(), self.values[:, feature].tolist(), strict=True
        ):
            found[start:end] = value
        return found

    def only(self, columns: Sequence[int]) -> Marks:
        chosen = list(columns)
        return Marks(self.starts, self.ends, self.values[:, chosen], self.rest[chosen])


@dataclass(frozen=True)
class FeatureSet:
    """Features that one pass over a text labels together.

    `labeller` gives the marks of a text. `by_token`: the features are about single tokens as they
    are cut; the stretches of the marks are then the tokens themselves. `how`: how labels are made.
    """

    name: str
    features: tuple[Feature, ...]
    labeller: Callable[[Text], Marks] = field(repr=False)
    by_token: bool = False
    how: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def label(
        self,
        text: str,
        starts: Sequence[int] | Integers | None = None,
        ends: Sequence[int] | Integers | None = None,
        name: str = "",
    ) -> Marks:
        """The marks of a text; without `starts` and `ends` all of it is one token.

        Raises what the set's labeller raises, such as `text-not-python`.
        """
        first = [0] if starts is None else starts
        last = [len(text)] if ends is None else ends
        cut = Text(text, np.asarray(first, np.int64), np.asarray(last, np.int64), name)
        return self.labeller(cut)

    def index(self, name: str) -> int:
        """The column of a feature. Raises `feature-unknown`."""
        return feature_index(self.features, name)

    def only(self, names: Sequence[str]) -> FeatureSet:
        """The set with these features alone, in this order. Raises `feature-unknown`."""
        columns = [self.index(name) for name in names]
        kept = tuple(self.features[column] for column in columns)
        whole = self.labeller
        return FeatureSet(
            self.name, kept, lambda text: whole(text).only(columns), self.by_token, self.how
        )


@dataclass(frozen=True)
class LabelledTexts:
    """Texts that come with their labels: a user's own, or a published data set.

    `feature_set` knows these `documents` by name, and no others. `skipped`: what could not be read.
    """

    documents: Mapping[str, str]
    feature_set: FeatureSet
    skipped: tuple[Skipped, ...] = ()


def feature_index(features: Sequence[Feature], name: str) -> int:
    """Raises `feature-unknown`."""
    names = [feature.name for feature in features]
    if name not in names:
        raise unknown_choice("feature-unknown", "feature", name, names)
    return names.index(name)


@dataclass(frozen=True)
class ParsedExample:
    """An example without its marks: text, marked spans, and where its pieces start and end."""

    text: str
    spans: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]


def parse_example(example: str) -> ParsedExample:
    """Take the marks `«`, `»` and `¦` out of an example."""
    plain, spans, cuts, opened = "", [], [0], 0
    for char in example:
        if char not in (OPEN, CLOSE, CUT):
            plain += char
            continue
        cuts.append(len(plain))
        if char == OPEN:
            opened = len(plain)
        elif char == CLOSE:
            spans.append((opened, len(plain)))
    edges = sorted({*cuts, len(plain)})
    return ParsedExample(plain, tuple(spans), tuple(edges[:-1]), tuple(edges[1:]))


def check_examples(feature_set: FeatureSet) -> list[str]:
    """Where the examples of a set and its labeller disagree, in words; empty where they agree.

    In every example the labeller must mark what stands between `«` and `»` and nothing else;
    blanks and ends of lines inside the marks may be left out. A feature without an example of
    either kind is a complaint too.
    """
    found = []
    for column, feature in enumerate(feature_set.features):
        if not feature.positive or not feature.negative:
            found.append(f"{feature.name}: an example of either kind is needed")
        if not all(OPEN in example for example in feature.positive):
            found.append(f"{feature.name}: a positive example without marks")
        if any(OPEN in example for example in feature.negative):
            found.append(f"{feature.name}: a negative example with marks")
        for example in (*feature.positive, *feature.negative):
            found += _disagreements(feature_set, column, example)
    return found


def _disagreements(feature_set: FeatureSet, column: int, example: str) -> list[str]:
    wanted = parse_example(example)
    marks = feature_set.label(wanted.text, wanted.starts, wanted.ends, "example")
    labels = marks.of_characters(len(wanted.text), column).tolist()
    inside = [False] * len(labels)
    found, name = [], feature_set.features[column].name
    for start, end in wanted.spans:
        inside[start:end] = [True] * (end - start)
        if YES not in labels[start:end]:
            found.append(f"{name}: {wanted.text[start:end]!r} is not marked in {example!r}")
    for place, (label, yes) in enumerate(zip(labels, inside, strict=True)):
        blank = feature_set.by_token is False and wanted.text[place].isspace()
        if (label == YES) != yes and not (yes and blank):
            found.append(f"{name}: character {place} of {wanted.text!r} is {label} in {example!r}")
            break
    return found
