"""The starter set for oversight, on real code and on prose."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from wirework.probing.feature import FeatureSet
from wirework.probing.feature_sets import feature_set
from wirework.probing.oversight_code import CODE_ROWS
from wirework.probing.oversight_terms import TERM_ROWS, TermFinder, TermRow


@cache
def oversight() -> FeatureSet:
    return feature_set("oversight")


def found(feature: str, text: str) -> list[str]:
    marks = oversight().label(text)
    labels = marks.of_characters(len(text), oversight().index(feature)) == 1
    edges = np.flatnonzero(np.diff(np.concatenate(([0], labels.astype(int), [0]))))
    return [text[a:b] for a, b in edges.reshape(-1, 2).tolist()]


def test_every_area_that_was_asked_for_is_there() -> None:
    groups = {feature.group for feature in oversight().features}
    assert groups == {
        "secrets", "unsafe calls", "licence", "personal data", "gender and groups",
        "protected attributes", "decisions about people", "medical and legal",
    }  # fmt: skip


def test_every_feature_says_its_limits_and_risks() -> None:
    for feature in oversight().features:
        assert feature.limits and feature.risks and feature.positive and feature.negative


def test_features_of_code_are_not_asked_of_prose() -> None:
    marks = oversight().label("She asked him for the loan.")
    names = {row[0] for row in CODE_ROWS}
    for column, feature in enumerate(oversight().features):
        assert marks.rest[column] == (-1 if feature.name in names else 0)
    assert found("feminine_term", "She asked him for the loan.") == ["She"]
    assert found("lending_term", "She asked him for the loan.") == ["loan"]


def test_words_are_found_in_names_of_every_style() -> None:
    row = TermRow("dob", "g", "d", "date of birth, race", "race condition", ("",), ("",))
    text = "date_of_birth dateOfBirth DATE-OF-BIRTH Date of births race racecar RaceCondition races"
    spans = [text[a:b] for a, b, _ in TermFinder([row]).find(text)]
    assert spans == [
        "date_of_birth",
        "dateOfBirth",
        "DATE-OF-BIRTH",
        "Date of births",
        "race",
        "races",
    ]


def test_a_longer_phrase_of_one_row_leaves_others_alone() -> None:
    names = {name for _, _, name in TermFinder(TERM_ROWS).find("a black woman")}
    assert names == {"ethnicity_term", "feminine_term"}


def test_a_protected_attribute_counts_where_it_decides() -> None:
    text = (
        "class LoanModel:\n"
        "    def score(self, p):\n"
        "        if p.age < 25 and p.income > 3:\n"
        "            return [x for x in p.debts if x > 9]\n"
        "        return p.gender == 'f'\n"
        "def greet(p):\n"
        "    return 'x' if p.gender == 'f' else 'y'\n"
    )
    assert found("protected_in_decision", text) == [
        "p.age < 25 and p.income > 3", "p.gender == 'f'"
    ]  # fmt: skip
    assert found("other_test_in_decision", text) == ["x > 9"]
    assert found("protected_outside_decision", text) == ["p.gender == 'f'"]
    assert found("in_decision_code", text) == [text[: text.index("\ndef greet")]]


def test_places_are_right_beyond_ascii() -> None:
    assert found("dynamic_code", "é = 'ü😀'; x = eval(é)\n") == ["eval(é)"]
    assert found("secret_in_code", "# é\npasswörd = 1; password = 'hünter2'\n") == ["'hünter2'"]


@pytest.mark.parametrize(
    ("feature", "module", "least"),
    [("dynamic_code", "dataclasses", 1), ("dynamic_code", "timeit", 1), ("shell_call", "pydoc", 1),
     ("unsafe_deserialisation", "trace", 1), ("email_address", "smtplib", 1),
     ("permissive_licence", "platform", 1), ("copyright_line", "platform", 1)],
)  # fmt: skip
def test_real_files_hold_what_is_known_to_be_in_them(feature: str, module: str, least: int) -> None:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert len(found(feature, text)) >= least


def test_a_check_digit_is_checked() -> None:
    assert found("payment_card_number", "4111111111111111 4111111111111112") == ["4111111111111111"]
    assert found("iban_number", "DE89370400440532013000") == ["DE89370400440532013000"]
    assert found("iban_number", "DE88370400440532013000") == []
    assert found("ip_address", "10.0.0.255 10.0.0.256") == ["10.0.0.255"]
