"""The words of an error: code, what, expected, got, try."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.core.errors import nearest, unknown_choice


def test_the_form_of_a_message() -> None:
    error = WireworkError(
        "circuit-model-mismatch",
        "quote.circuit was found in another model",
        expected="a model with the same weights hash",
        got="runs/tiny",
        hint="wirework validate quote.circuit --model runs/other",
    )
    assert str(error).splitlines() == [
        "error[circuit-model-mismatch]: quote.circuit was found in another model",
        "  expected  a model with the same weights hash",
        "  got       runs/tiny",
        "  try       wirework validate quote.circuit --model runs/other",
    ]


def test_empty_parts_are_left_out() -> None:
    assert str(WireworkError("a-b", "what")) == "error[a-b]: what"
    assert str(WireworkError("a-b", "what", got="x")) == "error[a-b]: what\n  got       x"


def test_json_holds_every_part() -> None:
    error = WireworkError("a-b", "what", expected="e", got="g", hint="h")
    parts = {"code": "a-b", "message": "what", "expected": "e", "got": "g", "try": "h"}
    assert json.loads(json.dumps(error.to_json())) == parts


def test_it_is_a_value_error() -> None:
    assert isinstance(WireworkError("a-b", "what"), ValueError)


def test_an_unknown_choice_names_the_nearest_and_lists_all() -> None:
    error = unknown_choice("preset-unknown", "preset", "tny", ["tiny", "small"])
    assert error.code == "preset-unknown"
    assert error.message == "there is no preset called 'tny'"
    assert error.expected == "one of small, tiny"
    assert error.hint == "tiny"


def test_an_unknown_choice_with_nothing_near_still_offers_one() -> None:
    assert unknown_choice("a-b", "thing", "zzzz", ["tiny", "small"]).hint == "small"
    assert unknown_choice("a-b", "thing", "zzzz", []).hint == ""


@given(st.lists(st.text("abcdef.", min_size=1), min_size=1), st.data())
def test_a_right_word_is_nearest_to_itself(words: list[str], data: st.DataObject) -> None:
    word = data.draw(st.sampled_from(words))
    assert nearest(word, words) == word


@given(st.text(), st.lists(st.text()))
def test_the_nearest_is_a_choice_or_nothing(word: str, words: list[str]) -> None:
    assert nearest(word, words) in {*words, ""}
