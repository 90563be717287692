"""Labelled tokens: documents cut, labelled, split, sampled, stored."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.probing.data_cards import cards_markdown, data_cards
from wirework.probing.feature_sets import feature_set
from wirework.probing.label_tokens import label_tokens, tokenizer_cut
from wirework.probing.labelled import LabelledTokens
from wirework.probing.measured_rates import DOCUMENTS, MEASURED
from wirework.probing.python_features import label_lexemes
from wirework.probing.sampling import sample_rows

MODULES = ("textwrap", "contextlib", "types", "bisect", "heapq")


@cache
def documents() -> dict[str, str]:
    """Real files, one with characters beyond ASCII, and one that is no Python."""
    found = {}
    for module in MODULES:
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        found[f"{module}.py"] = Path(spec.origin).read_text(encoding="utf-8")
    found["beyond.py"] = "é = 'ü€😀'  # naïve\nfor ß in é:\n    é.print(ß)\n" * 20
    found["broken.py"] = "def f(:\n"
    return found


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.train(documents().values(), 700)


@cache
def labelled() -> LabelledTokens:
    return label_tokens(documents(), tokenizer(), feature_set("python"))


def test_tokens_stand_where_the_tokenizer_cut_them() -> None:
    cut = tokenizer_cut(tokenizer())
    for name, text in documents().items():
        ids, starts, ends = cut(text, name)
        assert ids.tolist() == tokenizer().encode(text)
        assert starts[0] == 0 and ends[-1] == len(text)
        assert (starts[1:] <= ends[:-1]).all() and (ends > starts).all()
        for token, start, end in zip(ids.tolist(), starts, ends, strict=True):
            data = tokenizer().token_bytes(token)
            assert data in text[start:end].encode()
            assert len(text[start:end].encode()) < len(data) + 8


def test_tokens_are_flat_over_the_documents_in_their_order() -> None:
    found = labelled()
    kept = [name for name in documents() if name != "broken.py"]
    assert found.documents == tuple(kept)
    assert found.tokens.tolist() == [
        token for name in kept for token in tokenizer().encode(documents()[name])
    ]
    for number, name in enumerate(kept):
        inside = found.document == number
        assert found.position[inside].tolist() == list(range(int(inside.sum())))
        assert int(inside.sum()) == len(tokenizer().encode(documents()[name]))
    assert found.labels.shape == (len(found), 170) and found.labels.dtype == np.int8


def test_a_document_that_cannot_be_labelled_is_named() -> None:
    (skipped,) = labelled().skipped
    assert skipped.name == "broken.py" and skipped.reason == "not-python"
    assert "line 1" in skipped.detail


@pytest.mark.parametrize("feature", ["in_for", "is_keyword", "is_attribute_name", "is_newline"])
def test_tokens_inside_one_lexeme_have_its_label(feature: str) -> None:
    found = labelled()
    cut = tokenizer_cut(tokenizer())
    for number, name in enumerate(found.documents[:2]):
        text = documents()[name]
        lexemes, columns = label_lexemes(text)
        labels = found.column(feature)[found.document == number]
        _, starts, ends = cut(text, name)
        checked = 0
        for token, (start, end) in enumerate(zip(starts, ends, strict=True)):
            piece = text[start:end]
            first = int(start) + len(piece) - len(piece.lstrip(" "))
            inside = np.flatnonzero((lexemes.starts <= first) & (lexemes.ends >= end))
            if first < end and len(inside):
                checked += 1
                assert labels[token] == columns[feature][inside[0]]
        assert checked > 500


def characters(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    return [ord(char) for char in text], [(i, i + 1) for i in range(len(text))]


def test_blanks_and_blank_lines_outside_of_lexemes_are_not_asked() -> None:
    text = "if x:\n  y('a b',\n\n z)\n\n"
    asked = (label_tokens({"a": text}, characters, feature_set("python")).labels != -1).any(1)
    shown = "".join(char if yes else "-" for char, yes in zip(text, asked.tolist(), strict=True))
    assert shown == "if-x:\n--y('a b',---z)\n-"


def test_ways_to_label_tokens_agree_where_a_token_is_one_lexeme() -> None:
    ways = {way: label_tokens(documents(), tokenizer(), feature_set("python"), straddling=way)
            for way in ("majority", "drop", "first")}  # fmt: skip
    majority, drop = ways["majority"].labels, ways["drop"].labels
    asked = drop != -1
    assert np.array_equal(majority[asked], drop[asked])
    assert (majority != -1).sum() > (drop != -1).sum()
    both = asked & (ways["first"].labels != -1)
    assert both.sum() > 0.99 * asked.sum()
    assert np.array_equal(ways["first"].labels[both], drop[both])


def test_whole_documents_are_split() -> None:
    found = labelled()
    train, test = found.split(3, test=0.34)
    assert (train ^ test).all()
    assert not set(found.document[train]) & set(found.document[test])
    assert len(set(found.document[test])) == 2
    assert np.array_equal(found.split(3, test=0.34)[1], test)
    draws = {tuple(np.unique(found.document[found.split(seed)[1]])) for seed in range(9)}
    assert len(draws) > 2


def test_the_next_tokens_labels() -> None:
    found, ahead = labelled(), labelled().next_token()
    last = np.append(found.document[1:] != found.document[:-1], True)
    assert (ahead.labels[last] == -1).all()
    inside = np.flatnonzero(~last)
    assert np.array_equal(ahead.labels[inside], found.labels[inside + 1])


def test_base_rates_are_counts() -> None:
    found = labelled()
    rate = found.base_rates()["in_for"]
    column = found.column("in_for")
    assert rate.positives == int((column == 1).sum()) > 100
    assert rate.asked == int((column >= 0).sum())
    assert rate.rate == rate.positives / rate.asked
    assert found.only(["in_for"]).base_rates() == {"in_for": rate}


def test_features_that_can_be_probed_have_enough_of_either_kind() -> None:
    found = labelled()
    for least in (1, 100, 5000):
        labels = found.labels
        enough = np.minimum((labels == 1).sum(0), (labels == 0).sum(0)) >= least
        names = [feature.name for feature in found.features]
        assert list(found.probeable(least)) == [n for n, y in zip(names, enough, strict=True) if y]


def test_labels_of_two_sets_side_by_side() -> None:
    kept = {name: documents()[name] for name in labelled().documents}
    text = label_tokens(kept, tokenizer(), feature_set("text"))
    both = labelled().beside(text)
    assert both.feature_set == "python+text" and both.labels.shape[1] == 170 + 16
    assert np.array_equal(both.column("in_for"), labelled().column("in_for"))
    assert np.array_equal(both.column("all_digits"), text.column("all_digits"))
    whole = label_tokens(documents(), tokenizer(), feature_set("text"))
    for other in (labelled(), whole):
        with pytest.raises(WireworkError) as error:
            labelled().beside(other)
        assert error.value.code == "labels-differ"


def test_stored_and_read_again(tmp_path: Path) -> None:
    found = labelled()
    found.save(tmp_path / "labels.safetensors")
    again = LabelledTokens.load(tmp_path / "labels.safetensors")
    for name in ("tokens", "document", "position", "labels"):
        assert np.array_equal(getattr(again, name), getattr(found, name))
    assert (again.features, again.documents) == (found.features, found.documents)
    assert (again.skipped, again.tokenizer) == (found.skipped, tokenizer().hash())
    again.require_tokenizer(tokenizer().hash(), "the model")


def test_labels_of_another_tokenizer_are_refused() -> None:
    other = Tokenizer.train(["a b c"], 257)
    with pytest.raises(WireworkError) as error:
        labelled().require_tokenizer(other.hash(), "runs/tiny")
    assert error.value.code == "labels-tokenizer-mismatch"
    assert "runs/tiny" in error.value.message


def test_any_tokenizer_with_offsets_will_do() -> None:
    def words(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """A special token, then one token for every character that is no blank."""
        places = [i for i, char in enumerate(text) if not char.isspace()]
        return [0] + [ord(text[i]) for i in places], [(0, 0)] + [(i, i + 1) for i in places]

    found = label_tokens({"a": "x = 12\n"}, words, feature_set("python"))
    assert found.column("is_number").tolist() == [-1, 0, 0, 1, 1]
    assert found.tokenizer == ""
    digits = label_tokens({"a": "x = 12\n"}, words, feature_set("text"))
    assert digits.column("contains_digit").tolist() == [-1, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("ids", "offsets", "reason"),
    [([1], [(0, 1), (1, 2)], "1 ids"), ([1], [(0, 99)], "outside"), ([1], [(-1, 1)], "outside"),
     ([1, 2], [(2, 3), (0, 1)], "go back"), ([1], [(0, 0)], "no token")],
)  # fmt: skip
def test_a_tokenizer_that_does_not_fit_the_text_is_refused(
    ids: list[int], offsets: list[tuple[int, int]], reason: str
) -> None:
    with pytest.raises(WireworkError) as error:
        label_tokens({"a.py": "x = 12\n"}, lambda text: (ids, offsets), feature_set("python"))
    assert error.value.code == "tokenizer-offsets-wrong"
    assert reason in error.value.got and "a.py" in error.value.message


def test_mistakes_have_codes() -> None:
    python = feature_set("python")
    cases: dict[str, Callable[[], object]] = {
        "documents-empty": lambda: label_tokens({"a.py": "("}, tokenizer(), python),
        "documents-too-few": lambda: label_tokens({"a.py": "x"}, tokenizer(), python).split(0),
        "test-share-malformed": lambda: labelled().split(0, test=1.0),
        "feature-unknown": lambda: labelled().column("in_fro"),
        "labels-shape-wrong": lambda: replace(labelled(), labels=labelled().labels[1:]),
        "positives-too-few": lambda: sample_rows(labelled(), "in_await"),
        "sample-malformed": lambda: sample_rows(labelled(), "in_for", positives=0.0),
        "file-missing": lambda: LabelledTokens.load(Path("there-is-none")),
        "card-labels-mismatch": lambda: data_cards(feature_set("text"), labelled(), "x"),
    }
    for code, act in cases.items():
        with pytest.raises(WireworkError) as error:
            act()
        assert error.value.code == code


def test_a_sample_has_the_asked_shares_and_hard_negatives() -> None:
    found = labelled()
    train, _ = found.split(0)
    rows = sample_rows(found, "in_if_body", 1000, least=50, among=train, seed=5)
    labels = found.column("in_if_body")[rows]
    assert (np.diff(rows) > 0).all() and train[rows].all() and (found.position[rows] >= 10).all()
    assert len(rows) == 1000 and int((labels == 1).sum()) == 200 and (labels != -1).all()
    hard = found.column("in_else_or_elif_body")[rows][labels == 0] == 1
    available = (found.column("in_else_or_elif_body") == 1) & (found.column("in_if_body") == 0)
    assert int(hard.sum()) >= min(int((available & train & (found.position >= 10)).sum()), 400)
    assert np.array_equal(
        rows, sample_rows(found, "in_if_body", 1000, least=50, among=train, seed=5)
    )


def test_a_sample_of_few_positives_keeps_the_share() -> None:
    rows = sample_rows(labelled(), "is_number", 100_000, least=50, mirror=0.0)
    labels = labelled().column("is_number")[rows]
    assert abs((labels == 1).mean() - 0.2) < 0.01


def test_cards_say_what_how_and_how_often() -> None:
    cards = data_cards(feature_set("python"), labelled(), "five files")
    card = next(card for card in cards if card["name"] == "in_dict_key")
    assert card["hard_negatives"] == ["in_dict_value"]
    assert card["base_rate"]["positives"] == labelled().base_rates()["in_dict_key"].positives
    assert card["base_rate"]["documents_skipped"] == 1
    page = cards_markdown(cards)
    assert page.count("\n## ") == 169 and "five files" in page and "«" in page


def test_cards_without_a_corpus_have_the_shipped_rates() -> None:
    for name in ("python", "oversight"):
        chosen = feature_set(name)
        cards = data_cards(chosen)
        assert set(MEASURED[name]) == set(chosen.names)
        assert all(card["base_rate"]["documents"] == DOCUMENTS for card in cards)
        assert cards_markdown(cards).count("**Base rate:**") == len(cards)
    assert data_cards(feature_set("text"))[0]["base_rate"] is None
    assert "not measured" in cards_markdown(data_cards(feature_set("text")))
