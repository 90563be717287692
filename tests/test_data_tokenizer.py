"""The tokenizer: lossless, repeatable, strict about what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.data import END_OF_TEXT, Tokenizer

CODE = 'def add(left, right):\n    return left + right\n\n\nnames = ["a", "b"]\nprint(names)\n'
TEXTS = [CODE * 3, "x = 'é'  # ünïcode ✓\n" * 5, "if x:\n    y = {1: [2, 3]}\n" * 9]
SMALL = Tokenizer.train(TEXTS, 300)


@given(st.text())
def test_round_trip_of_any_text(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text)) == text


@given(st.lists(st.text(), max_size=5))
def test_many_texts_are_encoded_as_one_by_one(texts: list[str]) -> None:
    assert SMALL.encode_many(texts) == [SMALL.encode(text) for text in texts]


def test_end_of_text_is_the_last_id_and_every_byte_has_one() -> None:
    assert SMALL.vocab_size == 300
    assert SMALL.end_of_text == 299
    assert SMALL.token_text(299) == END_OF_TEXT
    assert SMALL.token_bytes(299) == b""
    single = {SMALL.token_bytes(token) for token in range(299)}
    assert {bytes([byte]) for byte in range(256)} <= single


def test_special_name_in_a_text_is_ordinary_text() -> None:
    ids = SMALL.encode(f"a{END_OF_TEXT}b")
    assert SMALL.end_of_text not in ids
    assert SMALL.decode(ids) == f"a{END_OF_TEXT}b"
    assert SMALL.decode([SMALL.end_of_text]) == END_OF_TEXT


def test_no_token_crosses_a_cut_of_the_published_pattern() -> None:
    tokenizer = Tokenizer.train(["return 12345678 hello_world( )\n" * 50], 400)
    pieces = [tokenizer.token_text(t) for t in tokenizer.encode("return 12345678 hello_world")]
    # Letters take one leading character that is no letter; digits come three at a time.
    assert pieces == ["return", " ", "123", "456", "78", " hello", "_world"]


def test_partial_characters_show_a_replacement() -> None:
    first = next(t for t in range(300) if SMALL.token_bytes(t) == b"\xc3")
    assert SMALL.token_text(first) == "\ufffd"


def test_short_texts_give_a_smaller_vocabulary() -> None:
    tokenizer = Tokenizer.train(["ab"], 2048)
    assert tokenizer.vocab_size == 258  # 256 bytes, "ab", end-of-text
    assert tokenizer.end_of_text == 257


def test_save_load_and_hash(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.to_json() == SMALL.to_json()
    assert loaded.hash() == SMALL.hash()
    assert loaded.encode(CODE) == SMALL.encode(CODE)
    other_order = json.dumps(dict(reversed(json.loads(SMALL.to_json()).items())), indent=3)
    assert Tokenizer.from_json(other_order).hash() == SMALL.hash()


def test_the_file_reads_back_in_the_library_it_comes_from(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "tokenizer.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(CODE).ids == SMALL.encode(CODE)


@pytest.mark.parametrize("threads", ["1", "5"])
def test_training_repeats_in_another_process_with_other_threads(threads: str) -> None:
    program = (
        "import json, sys; from wirework.data import Tokenizer;"
        "print(Tokenizer.train(json.loads(sys.argv[1]), 300).hash())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RAYON_NUM_THREADS": threads},
    )
    assert done.stdout.strip() == SMALL.hash()


def _plain() -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(SMALL.to_json())
    return plain


def _word_level(plain: dict[str, Any]) -> None:
    plain["model"]["type"] = "WordLevel"


def _without_end(plain: dict[str, Any]) -> None:
    plain["added_tokens"] = []


def _with_dropout(plain: dict[str, Any]) -> None:
    plain["model"]["dropout"] = 0.5


def _with_gap(plain: dict[str, Any]) -> None:
    plain["model"]["vocab"]["zzz"] = 5000
    plain["added_tokens"][0]["id"] = 300


def _without_a_byte(plain: dict[str, Any]) -> None:
    vocabulary = plain["model"]["vocab"]
    vocabulary["QQQ"] = vocabulary.pop("Q")


def _without_bytes(plain: dict[str, Any]) -> None:
    plain["model"]["vocab"]["\u4e2d"] = 299
    plain["added_tokens"][0]["id"] = 300


def _with_another_end(plain: dict[str, Any]) -> None:
    plain["added_tokens"][0]["id"] = 5000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_word_level, "WordLevel"),
        (_without_end, "no special token"),
        (_with_dropout, "dropout"),
        (_with_gap, "gaps"),
        (_without_a_byte, "no token for 1 of the 256 bytes, such as 81"),
        (_without_bytes, "stands for no bytes"),
        (_with_another_end, "5000"),
    ],
)
def test_other_kinds_of_tokenizer_are_refused(
    change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    plain = _plain()
    change(plain)
    with pytest.raises(WireworkError) as caught:
        Tokenizer.from_json(json.dumps(plain))
    assert caught.value.code == "tokenizer-foreign"
    assert reason in caught.value.got


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"model": {"type": "BPE"}}'])
def test_damaged_files_are_refused(text: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Tokenizer.from_json(text)
    assert caught.value.code == "tokenizer-damaged"


def test_a_vocabulary_the_library_cannot_read_is_damaged() -> None:
    plain = _plain()
    plain["model"]["merges"] = [["never", "there"]]
    with pytest.raises(WireworkError) as caught:
        Tokenizer.from_json(json.dumps(plain))
    assert caught.value.code == "tokenizer-damaged"


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, code in (("absent", "tokenizer-missing"), ("binary", "tokenizer-damaged")):
        with pytest.raises(WireworkError) as caught:
            Tokenizer.load(tmp_path / name)
        assert caught.value.code == code


def test_mistakes_in_use() -> None:
    with pytest.raises(WireworkError) as caught:
        Tokenizer.train(TEXTS, 256)
    assert caught.value.code == "vocab-too-small"
    with pytest.raises(WireworkError) as caught:
        SMALL.encode("half \ud800")
    assert caught.value.code == "text-not-unicode"
    for token in (-1, 300):
        with pytest.raises(WireworkError) as caught:
            SMALL.decode([token])
        assert caught.value.code == "token-unknown"
        with pytest.raises(WireworkError) as caught:
            SMALL.token_bytes(token)
        assert caught.value.code == "token-unknown"


def test_padding_truncation_and_added_words_of_a_loaded_file_do_not_bend_ids() -> None:
    backend = tokenizers.Tokenizer.from_str(SMALL.to_json())
    backend.enable_padding(length=50)
    backend.enable_truncation(2)
    loaded = Tokenizer.from_json(backend.to_str())
    assert loaded.encode(CODE) == SMALL.encode(CODE)
