"""Labels of one's own: the JSONL format, read, written, and refused where it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.probing.feature_sets import feature_set
from wirework.probing.label_tokens import label_tokens
from wirework.probing.user_labels import read_labels, write_labels

HEADER: dict[str, Any] = {
    "wirework_labels": 1,
    "name": "people",
    "features": [
        {"name": "is_name", "definition": "the name of a person", "risks": "names real people"},
        {"name": "is_verb", "definition": "a verb", "group": "words", "positive": ["«met»"]},
    ],
}
DOCUMENTS: list[dict[str, Any]] = [
    {"document": "a", "text": "Ann met Bøb.", "spans": [[0, 3, "is_name"], [8, 11, "is_name"]]},
    {"document": "b", "text": "é met.", "spans": [[2, 5, "is_verb"]], "asked": ["is_verb"]},
    {"document": "c", "file": "c.txt", "spans": [[0, 1, "is_name", 0]], "rest": -1},
]


def written(folder: Path, *lines: dict[str, Any] | str) -> Path:
    (folder / "c.txt").write_bytes(b"x\r\ny")
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "own.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder / "own.jsonl"


def test_labels_are_those_of_the_file(tmp_path: Path) -> None:
    own = read_labels(written(tmp_path, HEADER, *DOCUMENTS))
    assert dict(own.documents) == {"a": "Ann met Bøb.", "b": "é met.", "c": "x\r\ny"}
    assert own.feature_set.features[0].risks == "names real people"
    assert own.feature_set.features[1].positive == ("«met»",)
    found = {}
    for name, text in own.documents.items():
        marks = own.feature_set.label(text, name=name)
        found[name] = [marks.of_characters(len(text), f).tolist() for f in (0, 1)]
    assert found["a"] == [[1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 0], [0] * 12]
    assert found["b"] == [[-1] * 6, [0, 0, 1, 1, 1, 0]]
    assert found["c"] == [[0, -1, -1, -1], [-1] * 4]


def test_own_labels_become_labels_of_tokens(tmp_path: Path) -> None:
    own = read_labels(written(tmp_path, HEADER, *DOCUMENTS))
    tokenizer = Tokenizer.train(own.documents.values(), 257)
    found = label_tokens(own.documents, tokenizer, own.feature_set)
    names = found.column("is_name")[found.document == 0]
    # One token per byte; ø has two.
    assert names.tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    assert found.documents == ("a", "b", "c")


def test_written_and_read_again(tmp_path: Path) -> None:
    texts = {"a.py": "password = 'hunter2'  # é\nx = eval(y)\n", "b.txt": "She met him. (c) 2020"}
    oversight = feature_set("oversight")
    write_labels(tmp_path / "own.jsonl", texts, oversight)
    own = read_labels(tmp_path / "own.jsonl")
    assert own.feature_set.features == oversight.features
    for name, text in texts.items():
        ours, again = oversight.label(text), own.feature_set.label(text, name=name)
        for feature in range(len(oversight.features)):
            assert np.array_equal(
                ours.of_characters(len(text), feature), again.of_characters(len(text), feature)
            )


A = DOCUMENTS[0]


@pytest.mark.parametrize(
    ("lines", "code", "place"),
    [
        ([""], "labels-malformed", "own.jsonl"),
        ([HEADER], "labels-malformed", "own.jsonl"),
        ([{**HEADER, "wirework_labels": 2}, A], "labels-malformed", "own.jsonl:1"),
        ([{**HEADER, "features": []}, A], "labels-malformed", "own.jsonl:1"),
        ([{**HEADER, "features": [{"name": "x"}]}, A], "labels-malformed", "own.jsonl:1"),
        ([{**HEADER, "features": [{"name": "x", "definition": 3}]}, A], "labels-malformed", "'x'"),
        ([{**HEADER, "features": HEADER["features"] * 2}, A], "labels-malformed", "own.jsonl:1"),
        ([HEADER, "{broken"], "labels-malformed", "own.jsonl:2"),
        ([HEADER, "[1]"], "labels-malformed", "own.jsonl:2"),
        ([HEADER, A, A], "labels-malformed", "own.jsonl:3"),
        ([HEADER, {"document": "d"}], "labels-malformed", "own.jsonl:2"),
        ([HEADER, {**A, "file": "c.txt"}], "labels-malformed", "own.jsonl:2"),
        ([HEADER, {"document": "d", "file": "none"}], "labels-malformed", "none"),
        ([HEADER, {**A, "span": []}], "labels-malformed", "span"),
        ([HEADER, {**A, "rest": 1}], "labels-malformed", "own.jsonl:2"),
        ([HEADER, {**A, "spans": [[0, 3]]}], "labels-malformed", "own.jsonl:2 (a)"),
        ([HEADER, {**A, "spans": [[0.0, 3, "is_name"]]}], "labels-malformed", "own.jsonl:2 (a)"),
        ([HEADER, {**A, "spans": [[0, 3, "is_name", 2]]}], "labels-malformed", "own.jsonl:2 (a)"),
        ([HEADER, {**A, "spans": [[0, 3, "is_nam"]]}], "labels-feature-unknown", "is_nam"),
        ([HEADER, {**A, "spans": [[0, 3, ["is_name"]]]}], "labels-feature-unknown", "is_name"),
        ([HEADER, {**A, "asked": ["is_nam"]}], "labels-feature-unknown", "is_nam"),
        ([HEADER, {**A, "spans": [[8, 13, "is_name"]]}], "labels-span-outside", "is_name"),
        ([HEADER, {**A, "spans": [[-1, 2, "is_name"]]}], "labels-span-outside", "is_name"),
        ([HEADER, {**A, "spans": [[3, 3, "is_name"]]}], "labels-span-outside", "is_name"),
    ],
)
def test_what_is_broken_is_refused_with_its_place(
    tmp_path: Path, lines: list[dict[str, Any] | str], code: str, place: str
) -> None:
    with pytest.raises(WireworkError) as error:
        read_labels(written(tmp_path, *lines))
    assert error.value.code == code
    assert place in error.value.message + error.value.expected + error.value.got


def test_labels_of_another_text_are_refused(tmp_path: Path) -> None:
    own = read_labels(written(tmp_path, HEADER, A))
    for name, text in (("a", "Ann met Bob."), ("z", A["text"])):
        with pytest.raises(WireworkError) as error:
            own.feature_set.label(text, name=name)
        assert error.value.code == "labels-text-unknown"


def test_a_label_without_a_token_is_refused(tmp_path: Path) -> None:
    own = read_labels(written(tmp_path, HEADER, A))

    def first_word(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return [7], [(0, 3)]

    with pytest.raises(WireworkError) as error:
        label_tokens(own.documents, first_word, own.feature_set)
    assert error.value.code == "labels-without-token"
    assert "is_name" in error.value.message and "'Bøb'" in error.value.got


def test_other_mistakes_have_codes(tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as error:
        read_labels(tmp_path / "none.jsonl")
    assert error.value.code == "file-missing"
    (tmp_path / "latin.jsonl").write_bytes(b"\xff")
    with pytest.raises(WireworkError) as error:
        read_labels(tmp_path / "latin.jsonl")
    assert error.value.code == "labels-malformed"
    with pytest.raises(WireworkError) as error:
        write_labels(tmp_path / "x.jsonl", {"a": "b"}, feature_set("text"))
    assert error.value.code == "labels-by-token"
