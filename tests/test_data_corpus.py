"""A corpus: every distinct document in one split, repeatable, cached, checked when opened."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.core.files import write_folder
from wirework.core.progress import Progress
from wirework.data import Corpus, CorpusConfig, Tokenizer, prepare_corpus


def _write(folder: Path, texts: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder


def _texts(n: int = 40) -> dict[str, str]:
    return {f"{i:03}.py": f"value_{i} = {i * i}\nprint(value_{i})\n" for i in range(n)}


def _documents(corpus: Corpus, split: str) -> list[str]:
    """The texts of a split, cut at end-of-text."""
    found: list[str] = []
    ids: list[int] = []
    for token in getattr(corpus, split).tolist():
        if token == corpus.tokenizer.end_of_text:
            found.append(corpus.tokenizer.decode(ids))
            ids = []
        else:
            ids.append(token)
    assert ids == [], "the last document ends in end-of-text too"
    return found


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return _write(tmp_path / "source", _texts())


def _config(source: Path, **changes: Any) -> CorpusConfig:
    values = {"source": str(source), "vocab_size": 300, "validation_share": 0.2, **changes}
    return CorpusConfig.parse(values)


def test_each_distinct_document_lies_whole_in_one_split(source: Path, tmp_path: Path) -> None:
    _write(source, {"copy.py": _texts()["007.py"], "broken.py": "def f(:\n"})
    corpus = prepare_corpus(_config(source), tmp_path / "corpus")
    train, validation = _documents(corpus, "train"), _documents(corpus, "validation")
    assert sorted(train + validation) == sorted(_texts().values())
    assert 3 <= len(validation) <= 14
    manifest = corpus.manifest
    assert manifest["duplicates"] == [{"name": "copy.py", "same_as": "007.py"}]
    assert manifest["skipped_counts"] == {"not-python": 1}
    assert [item["name"] for item in manifest["skipped"]] == ["broken.py"]
    for split, texts in (("train", train), ("validation", validation)):
        counts = manifest["splits"][split]
        assert counts["documents"] == len(texts)
        assert counts["bytes"] == sum(len(text) for text in texts)
        assert counts["tokens"] == len(getattr(corpus, split))


def test_shards_are_mapped_from_disk_and_read_only(source: Path, tmp_path: Path) -> None:
    corpus = prepare_corpus(_config(source), tmp_path / "corpus")
    assert isinstance(corpus.train, np.memmap)
    assert corpus.train.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        corpus.train[0] = 1


def test_equal_calls_give_equal_bytes_and_the_seed_moves_the_split(
    source: Path, tmp_path: Path
) -> None:
    one = prepare_corpus(_config(source), tmp_path / "one")
    two = prepare_corpus(_config(source), tmp_path / "two")
    names = {path.name for path in one.folder.iterdir()}
    assert names == {"checksums.json", "manifest.json", "tokenizer.json"} | {
        "train.bin",
        "validation.bin",
    }
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    assert one.hash() == two.hash()
    other = prepare_corpus(_config(source, seed=1), tmp_path / "three")
    assert _documents(other, "validation") != _documents(one, "validation")
    assert other.hash() != one.hash()


def test_a_ready_corpus_is_reused_until_text_or_settings_change(
    source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    config = _config(source)

    def made() -> int:
        prepare_corpus(config, folder)
        return (folder / "train.bin").stat().st_ino

    first = made()
    (source / "000.py").touch()
    assert made() == first
    (source / "000.py").write_text("changed = 1\n")
    second = made()
    assert second != first
    (source / "999.py").write_text("new = 1\n")
    third = made()
    assert third != second
    config = _config(source, validation_share=0.5)
    fourth = made()
    assert fourth != third
    with (folder / "train.bin").open("r+b") as file:
        file.truncate(10)
    assert made() != fourth
    assert Corpus.open(folder).manifest["config"]["validation_share"] == 0.5


def test_a_corpus_inside_its_source_does_not_read_itself(source: Path) -> None:
    first = prepare_corpus(_config(source), source / "corpus")
    shard = (source / "corpus" / "train.bin").stat().st_ino
    again = prepare_corpus(_config(source), source / "corpus")
    assert again.hash() == first.hash()
    assert (source / "corpus" / "train.bin").stat().st_ino == shard


def test_a_given_tokenizer_is_used(source: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["something else"], 260)
    corpus = prepare_corpus(_config(source), tmp_path / "corpus", tokenizer)
    assert corpus.tokenizer.hash() == tokenizer.hash()
    assert corpus.manifest["vocab_size"] == tokenizer.vocab_size
    assert sorted(_documents(corpus, "train") + _documents(corpus, "validation")) == sorted(
        _texts().values()
    )
    again = prepare_corpus(_config(source), tmp_path / "corpus")
    assert again.tokenizer.hash() != tokenizer.hash()


def test_a_large_vocabulary_takes_four_bytes(source: Path, tmp_path: Path) -> None:
    plain = json.loads(Tokenizer.train(["text"], 257).to_json())
    for number in range(256, 70_000):
        plain["model"]["vocab"][f"word{number}"] = number
    plain["added_tokens"][0]["id"] = 70_000
    corpus = prepare_corpus(
        _config(source), tmp_path / "corpus", Tokenizer.from_json(json.dumps(plain))
    )
    assert corpus.train.dtype == np.uint32
    assert sorted(_documents(corpus, "train") + _documents(corpus, "validation")) == sorted(
        _texts().values()
    )


@settings(max_examples=10, deadline=None)
@given(n=st.integers(2, 5), share=st.sampled_from([0.001, 0.5, 0.999]), seed=st.integers(0, 99))
def test_neither_split_is_empty_from_two_documents_on(
    tmp_path_factory: pytest.TempPathFactory, n: int, share: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("few")
    source = _write(folder / "source", _texts(n))
    corpus = prepare_corpus(
        _config(source, validation_share=share, seed=seed), folder / "corpus", TINY
    )
    assert len(_documents(corpus, "train")) >= 1
    assert len(_documents(corpus, "validation")) >= 1


TINY = Tokenizer.train(["x"], 257)


def test_a_single_document_is_cut_at_the_end_of_a_line(tmp_path: Path) -> None:
    text = "".join(f"line {i}\n" for i in range(100))
    path = tmp_path / "book.txt"
    path.write_text(text)
    corpus = prepare_corpus(_config(path, validation_share=0.1), tmp_path / "corpus")
    (head,), (tail,) = _documents(corpus, "train"), _documents(corpus, "validation")
    assert head + tail == text
    assert head.endswith("\n")
    assert 80 <= len(tail) <= 100
    path.write_text("no line ends here")
    corpus = prepare_corpus(_config(path), tmp_path / "corpus")
    assert _documents(corpus, "train") == ["no line ends here"]
    assert len(corpus.validation) == 0


def test_tables_end_up_in_shards_like_files(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"code": text}) + "\n" for text in _texts().values()))
    corpus = prepare_corpus(_config(path, column="code"), tmp_path / "corpus")
    assert sorted(_documents(corpus, "train") + _documents(corpus, "validation")) == sorted(
        _texts().values()
    )


@pytest.mark.parametrize("name", ["train.bin", "manifest.json", "tokenizer.json"])
def test_edited_truncated_or_lost_files_are_found(source: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "corpus"
    prepare_corpus(_config(source), folder)
    path = folder / name
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    for damaged in (data[:-2], flipped, b""):
        path.write_bytes(damaged)
        with pytest.raises(WireworkError) as caught:
            Corpus.open(folder)
        assert caught.value.code == "checksum-mismatch"
    path.unlink()
    with pytest.raises(WireworkError) as caught:
        Corpus.open(folder)
    assert caught.value.code == "checksum-mismatch"


def test_what_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with write_folder(tmp_path / "other") as draft:
        (draft / "config.json").write_text("{}")
    with write_folder(tmp_path / "later") as draft:
        (draft / "manifest.json").write_text('{"kind": "corpus", "format": 99}')
    with write_folder(tmp_path / "alien") as draft:
        (draft / "manifest.json").write_text('["something"]')
    (tmp_path / "plain").mkdir()
    for name, code in (
        ("absent", "folder-missing"),
        ("plain", "folder-foreign"),
        ("other", "corpus-foreign"),
        ("alien", "corpus-foreign"),
        ("later", "corpus-version"),
    ):
        with pytest.raises(WireworkError) as caught:
            Corpus.open(tmp_path / name)
        assert caught.value.code == code


def test_a_folder_with_something_else_is_never_replaced(source: Path, tmp_path: Path) -> None:
    taken = _write(tmp_path / "taken", {"thesis.txt": "years of work"})
    corpus = tmp_path / "corpus"
    prepare_corpus(_config(source), corpus)
    (corpus / "notes.txt").write_text("mine")
    for folder in (taken, corpus, taken / "thesis.txt"):
        with pytest.raises(WireworkError) as caught:
            prepare_corpus(_config(source, seed=3), folder)
        assert caught.value.code == "corpus-folder-taken"
    assert (taken / "thesis.txt").read_text() == "years of work"
    assert (corpus / "notes.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    prepare_corpus(_config(source), tmp_path / "empty")


def test_a_source_without_text_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "x.bin").write_bytes(b"\0")
    with pytest.raises(WireworkError) as caught:
        prepare_corpus(_config(folder), tmp_path / "out" / "corpus")
    assert caught.value.code == "corpus-empty"
    assert list((tmp_path / "out").iterdir()) == []


class _Recorder:
    """Counts what each bar was told; may break off at a named bar."""

    def __init__(self, stop_at: str = "") -> None:
        self.totals: dict[str, int] = {}
        self.advanced: dict[str, int] = {}
        self._stop_at = stop_at

    def __call__(self, label: str, total: int, done: int = 0) -> Progress:
        if label == self._stop_at:
            raise KeyboardInterrupt
        self.totals[label] = total
        self.advanced[label] = done
        return _Bar(self.advanced, label)


class _Bar:
    def __init__(self, advanced: dict[str, int], label: str) -> None:
        self._advanced = advanced
        self._label = label

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        self._advanced[self._label] += steps


def test_bars_end_at_their_totals(source: Path, tmp_path: Path) -> None:
    recorder = _Recorder()
    prepare_corpus(_config(source), tmp_path / "corpus", start=recorder)
    assert list(recorder.totals) == ["reading", "training the tokenizer", "encoding"]
    assert recorder.advanced == recorder.totals
    again = _Recorder()
    prepare_corpus(_config(source), tmp_path / "corpus", start=again)
    assert again.totals == {}


def test_an_interruption_keeps_the_old_corpus(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "corpus"
    old = prepare_corpus(_config(source), folder).hash()
    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(_config(source, seed=9), folder, start=_Recorder("encoding"))
    assert Corpus.open(folder).hash() == old
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 256},
        {"validation_share": 0.0},
        {"validation_share": 1.0},
        {"max_bytes": 0},
        {"source": ""},
        {"seed": -1},
    ],
)
def test_settings_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(WireworkError) as caught:
        CorpusConfig.parse(change)
    assert caught.value.code == "config-invalid"


@pytest.mark.long
def test_the_standard_library_is_ready_within_forty_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    corpus = prepare_corpus(CorpusConfig(), tmp_path / "corpus")
    assert time.monotonic() - began < 40
    assert corpus.tokenizer.vocab_size == 2048
    assert len(corpus.train) > 2_000_000
    assert 0.005 < len(corpus.validation) / len(corpus.train) < 0.1
    for text in ('"', "'", '")', "')", "]\n", ":", "\n", '("', "('"):
        assert len(corpus.tokenizer.encode(text)) == 1
