"""Marks over characters, and how they become labels of tokens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.probing.feature import (
    Feature,
    FeatureSet,
    Marks,
    Span,
    Text,
    check_examples,
    parse_example,
)
from wirework.probing.feature_sets import FEATURE_SETS, feature_set
from wirework.probing.token_marks import Straddling, token_labels

SPANS = st.lists(
    st.builds(
        lambda start, size, feature, value: Span(start, start + size, feature, value),
        st.integers(0, 18), st.integers(0, 8), st.integers(0, 2), st.sampled_from([1, 0, -1]),
    ),
    max_size=8,
)  # fmt: skip
RESTS = st.lists(st.sampled_from([0, -1, 1]), min_size=3, max_size=3)


def by_character(spans: list[Span], rest: list[int], length: int) -> list[list[int]]:
    found = [list(rest) for _ in range(length)]
    for span in spans:
        for place in range(span.start, min(span.end, length)):
            found[place][span.feature] = span.value
    return found


@given(SPANS, RESTS)
def test_marks_are_what_their_spans_say(spans: list[Span], rest: list[int]) -> None:
    marks = Marks.from_spans(spans, rest)
    wanted = np.array(by_character(spans, rest, 30))
    for feature in range(3):
        assert marks.of_characters(30, feature).tolist() == wanted[:, feature].tolist()
    assert (marks.starts < marks.ends).all() and (marks.ends[:-1] <= marks.starts[1:]).all()


def label_of(values: list[int], straddling: Straddling) -> int:
    """The rule in words: of the asked characters at least half, or none, or all."""
    if straddling == "first":
        return values[0]
    asked = [value for value in values if value != -1]
    if not asked:
        return -1
    if all(value == 0 for value in asked):
        return 0
    bar = len(asked) / 2 if straddling == "majority" else len(asked)
    return 1 if sum(asked) >= bar else -1


@given(
    SPANS,
    RESTS,
    st.text(alphabet="ab \n\té", min_size=26, max_size=26),
    st.lists(st.integers(0, 26), max_size=9),
    st.sampled_from(["majority", "drop", "first"]),
)
def test_tokens_get_the_labels_of_their_characters(
    spans: list[Span], rest: list[int], text: str, cuts: list[int], straddling: Straddling
) -> None:
    edges = sorted({0, 26, *cuts})
    starts, ends = np.array([*edges[:-1], 3]), np.array([*edges[1:], 3])
    marks = Marks.from_spans(spans, rest)
    labels = token_labels(marks, Text(text, starts, ends), straddling)
    characters = by_character(spans, rest, 26)
    for token, (start, end) in enumerate(pairwise(edges)):
        counted = [i for i in range(start, end) if text[i] not in " \t"] or list(range(start, end))
        for feature in range(3):
            values = [characters[i][feature] for i in counted]
            assert labels[token, feature] == label_of(values, straddling)
    assert (labels[-1] == -1).all()


def test_an_example_is_a_text_with_marks() -> None:
    parsed = parse_example("a «b»¦ c«d»")
    assert parsed.text == "a b cd"
    assert parsed.spans == ((2, 3), (5, 6))
    assert parsed.starts == (0, 2, 3, 5) and parsed.ends == (2, 3, 5, 6)


def toy(positive: tuple[str, ...], negative: tuple[str, ...]) -> FeatureSet:
    feature = Feature("is_x", "letters", "the letter x", positive, negative)

    def labeller(text: Text) -> Marks:
        return Marks.from_spans(
            [Span(i, i + 1, 0) for i, c in enumerate(text.text) if c == "x"], [0]
        )

    return FeatureSet("toy", (feature,), labeller)


def test_examples_that_fit_are_no_complaint() -> None:
    assert check_examples(toy(("a«x»b«x»",), ("ab",))) == []


@pytest.mark.parametrize(
    ("positive", "negative", "complaint"),
    [
        (("a«x»x",), ("a",), "character 2"),
        (("«a»x",), ("a",), "is not marked"),
        (("«ax»",), ("a",), "character 0"),
        (("«x»",), ("x",), "character 0"),
        (("«x»",), ("«x»",), "a negative example with marks"),
        (("x",), ("a",), "a positive example without marks"),
        ((), ("a",), "an example of either kind"),
    ],
)
def test_examples_that_do_not_fit_are_named(
    positive: tuple[str, ...], negative: tuple[str, ...], complaint: str
) -> None:
    assert any(complaint in line for line in check_examples(toy(positive, negative)))


@pytest.mark.parametrize("name", sorted(FEATURE_SETS))
def test_every_example_of_every_set_is_labelled_as_it_says(name: str) -> None:
    chosen = feature_set(name)
    assert check_examples(chosen) == []
    assert len(set(chosen.names)) == len(chosen.names)
    for feature in chosen.features:
        assert feature.definition and feature.group
        assert set(feature.mirrors) <= set(chosen.names) - {feature.name}


def test_part_of_a_set_labels_alike() -> None:
    whole = feature_set("python")
    part = whole.only(["in_for", "is_keyword"])
    text = "for i in x:\n    f(i)\n"
    assert part.names == ("in_for", "is_keyword")
    columns = [whole.index("in_for"), whole.index("is_keyword")]
    assert np.array_equal(part.label(text).values, whole.label(text).values[:, columns])


def test_names_that_are_unknown_are_refused_with_the_nearest() -> None:
    with pytest.raises(WireworkError) as error:
        feature_set("pyton")
    assert error.value.code == "feature-set-unknown" and error.value.hint == "python"
    with pytest.raises(WireworkError) as error:
        feature_set("python").index("in_fro")
    assert error.value.code == "feature-unknown" and error.value.hint == "in_for"
