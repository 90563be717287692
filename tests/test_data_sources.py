"""Sources: what is read, what is passed over and named, what is refused."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from wirework.core import WireworkError
from wirework.data import CorpusConfig, Document, Skipped, read_documents


def _read(source: object, **settings: Any) -> tuple[dict[str, str], dict[str, str]]:
    """Texts by name, and reasons by name."""
    items = list(read_documents(CorpusConfig(source=str(source), **settings)))
    texts = {item.name: item.text for item in items if isinstance(item, Document)}
    reasons = {item.name: item.reason for item in items if isinstance(item, Skipped)}
    assert len(texts) + len(reasons) == len(items)
    return texts, dict(reasons)


def _refused(source: object, **settings: Any) -> WireworkError:
    with pytest.raises(WireworkError) as caught:
        _read(source, **settings)
    return caught.value


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a little of everything that is found in folders."""
    root = tmp_path / "project"
    files = {
        "a.py": b"x = 1\r\n",
        "b/latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\n",
        "b/broken.py": b"def f(:\n",
        "b/nulls.py": b"x = 1\0\n",
        "b/bytes.py": b"x = 1\n\n\n# \xff\n",
        "b/cookie.py": b"# coding: klingon\n",
        "b/hex.py": b"# coding: hex\n6869\n",
        "b/warns.py": b"x = '\\d'\nassert (1, 'always')\n",
        "b/deep.py": b"x = " + b"-" * 20000 + b"1\n",
        "empty.py": b"\n",
        "notes.txt": "\ufeffgrün\n".encode(),
        "picture.png": b"\x89PNG\r\n\x1a\n\0\0\0",
        "late.bin": b"text" * 4000 + b"\xff",
        ".git/config": b"hidden\n",
        ".hidden": b"hidden\n",
        "b/__pycache__/a.pyc": b"cache\n",
        "runs/checksums.json": b"{}",
        "runs/metrics.txt": b"made by us\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_a_folder_gives_its_text_and_names_the_rest(project: Path) -> None:
    texts, reasons = _read(project)
    assert texts == {
        "a.py": "x = 1\n",
        "b/latin.py": "# -*- coding: latin-1 -*-\nx = 'é'\n",
        "b/warns.py": "x = '\\d'\nassert (1, 'always')\n",
        "notes.txt": "grün\n",
    }
    assert reasons == {
        "b/broken.py": "not-python",
        "b/nulls.py": "not-text",
        "b/bytes.py": "not-text",
        "b/cookie.py": "not-python",
        "b/hex.py": "not-python",
        "b/deep.py": "not-python",
        "empty.py": "empty",
        "picture.png": "not-text",
        "late.bin": "not-text",
    }


def test_order_is_by_name_and_a_broken_file_says_where(project: Path) -> None:
    items = list(read_documents(CorpusConfig(source=str(project))))
    assert [item.name for item in items] == sorted(item.name for item in items)
    broken = next(item for item in items if item.name == "b/broken.py")
    assert isinstance(broken, Skipped)
    assert broken.detail.startswith("line 1: ")


def test_one_file_and_globs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _read(project / "notes.txt")[0] == {"notes.txt": "grün\n"}
    assert set(_read(f"{project}/b/*s.py")[0]) == {"warns.py"}
    assert set(_read(f"{project}/**/*.py")[0]) == {"a.py", "b/latin.py", "b/warns.py"}
    monkeypatch.chdir(project)
    assert set(_read("[an]*.*")[0]) == {"a.py", "notes.txt"}
    (project / "odd[1].txt").write_text("literal name")
    assert set(_read("odd[1].txt")[0]) == {"odd[1].txt"}


@pytest.mark.parametrize(
    ("source", "code", "hint"),
    [
        ("python-stdlibb", "source-missing", "python-stdlib"),
        ("projcet", "source-missing", "project"),
        ("project/bb/x.py", "source-missing", "project/b"),
        ("project/*.tx", "source-no-match", "project/*.txt"),
        ("project/notess*", "source-no-match", "project/notes.txt"),
        ("projekt/*.py", "source-missing", "project"),
        ("project/notes.txt/*.py", "source-missing", "python-stdlib"),
    ],
)
def test_what_is_not_there_gets_the_nearest_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: str, hint: str
) -> None:
    monkeypatch.chdir(project.parent)
    error = _refused(source)
    assert (error.code, error.hint) == (code, hint)


def test_nothing_usable_is_refused_with_the_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "binaries"
    folder.mkdir()
    assert _refused(folder).code == "corpus-empty"
    for i in range(3):
        (folder / f"{i}.bin").write_bytes(b"\0\1")
    error = _refused(folder)
    assert error.code == "corpus-empty"
    assert error.got == "3 not-text"


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    (tmp_path / "fine.txt").write_text("fine")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    texts, reasons = _read(tmp_path)
    assert texts == {"fine.txt": "fine"}
    assert reasons == {"gone.txt": "unreadable", "pipe.txt": "unreadable"}


def test_max_bytes_picks_by_seed_and_never_exceeds(tmp_path: Path) -> None:
    for i in range(50):
        (tmp_path / f"{i:02}.txt").write_text(f"{i:02}" + "x" * 98)
    first = _read(tmp_path, max_bytes=1050)[0]
    assert len(first) == 10
    assert first == _read(tmp_path, max_bytes=1050)[0]
    assert first != _read(tmp_path, max_bytes=1050, seed=1)[0]
    assert set(first) != {f"{i:02}.txt" for i in range(10)}
    assert "max_bytes" in _refused(tmp_path, max_bytes=99).message


def test_the_standard_library_is_python_without_installed_packages() -> None:
    texts, reasons = _read("python-stdlib", max_bytes=400_000)
    assert 100_000 < sum(len(text.encode()) for text in texts.values()) <= 400_000
    names = [*texts, *reasons]
    assert all(name.endswith(".py") for name in names)
    assert not any("-packages" in name for name in names)


def _rows() -> list[Any]:
    return [
        {"code": "one\n", "id": 1},
        {"code": "two\n", "id": 2},
        {"code": None, "id": 3},
        {"code": "", "id": 4},
    ]


def test_jsonl_rows(tmp_path: Path) -> None:
    lines = [json.dumps(row) for row in _rows()]
    lines += ["", "{broken", "[1]", '{"id": 5}', '{"code": 7}', '{"code": "\\ud800"}', "[" * 9999]
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode() + b'\n{"code": "\xff"}\n{"code": "last"}')
    texts, reasons = _read(path, column="code")
    assert texts == {
        "rows.jsonl:1": "one\n",
        "rows.jsonl:2": "two\n",
        "rows.jsonl:13": "last",
    }
    assert reasons == {
        "rows.jsonl:3": "empty",
        "rows.jsonl:4": "empty",
        "rows.jsonl:6": "bad-row",
        "rows.jsonl:7": "bad-row",
        "rows.jsonl:8": "no-column",
        "rows.jsonl:9": "bad-row",
        "rows.jsonl:10": "not-text",
        "rows.jsonl:11": "bad-row",
        "rows.jsonl:12": "bad-row",
    }


def test_parquet_rows_and_many_tables(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(_rows())
    for name in ("x.parquet", "y.parquet"):
        pyarrow.parquet.write_table(table, tmp_path / name)
    texts, reasons = _read(tmp_path, column="code")
    assert list(texts) == ["x.parquet:0", "x.parquet:1", "y.parquet:0", "y.parquet:1"]
    assert reasons["x.parquet:2"] == "empty"
    # Rows of a table are taken in their order until the limit.
    assert list(_read(tmp_path, column="code", max_bytes=9)[0]) == ["x.parquet:0", "x.parquet:1"]


def test_a_missing_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.Table.from_pylist(_rows()), tmp_path / "x.parquet")
    (tmp_path / "x.jsonl").write_text('{"body": "a", "id": 1}\n' * 200)
    error = _refused(tmp_path / "x.parquet", column="cod")
    assert (error.code, error.hint) == ("column-missing", "column=code")
    error = _refused(tmp_path / "x.jsonl", column="bodi")
    assert (error.code, error.hint) == ("column-missing", "column=body")
    assert _refused(tmp_path, column="zzz").code == "column-missing"


def test_a_table_without_the_column_or_damaged_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("kept")
    (tmp_path / "b.jsonl").write_text('{"body": "a"}\n' * 3)
    (tmp_path / "c.parquet").write_bytes(b"PAR1 not really")
    texts, reasons = _read(tmp_path)
    assert texts == {"a.txt": "kept"}
    assert reasons["b.jsonl"] == "no-column"
    assert reasons["c.parquet"] == "unreadable"


@pytest.fixture
def data_set() -> Iterator[Any]:
    import datasets

    datasets.disable_progress_bars()
    yield datasets.Dataset.from_list(_rows())
    datasets.enable_progress_bars()


def test_a_saved_hugging_face_data_set(tmp_path: Path, data_set: Any) -> None:
    import datasets

    data_set.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": data_set, "test": data_set.select([1])}).save_to_disk(
        tmp_path / "many"
    )
    texts, reasons = _read(f"hf:{tmp_path / 'one'}", column="code")
    assert list(texts.values()) == ["one\n", "two\n"]
    assert list(reasons.values()) == ["empty", "empty"]
    assert list(_read(f"hf:{tmp_path / 'many'}:test", column="code")[0].values()) == ["two\n"]
    assert _refused(f"hf:{tmp_path / 'one'}:test", column="code").code == "hub-unreadable"
    error = _refused(f"hf:{tmp_path / 'many'}:tset", column="code")
    assert error.code == "hub-unreadable"
    assert "test, train" in error.got
    error = _refused(f"hf:{tmp_path / 'one'}", column="cod")
    assert (error.code, error.hint) == ("column-missing", "column=code")


def test_a_folder_goes_through_the_loader_of_named_data_sets(tmp_path: Path, data_set: Any) -> None:
    for split in ("train", "test"):
        lines = [json.dumps({"code": f"{split} {i}"}) for i in range(3)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    texts, _ = _read(f"hf:{tmp_path}", column="code")
    assert list(texts.values()) == ["train 0", "train 1", "train 2"]
    assert "test 0" in _read(f"hf:{tmp_path}:test", column="code")[0].values()
    assert _refused(f"hf:{tmp_path}:dev", column="code").code == "hub-unreadable"


def test_a_data_set_that_is_not_named_or_not_there() -> None:
    assert _refused("hf:").code == "source-malformed"
    assert _refused("hf:./nowhere:train").code == "source-missing"


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # What `import datasets` meets where the extra is not installed.
    monkeypatch.setitem(sys.modules, "datasets", None)
    error = _refused("hf:anything")
    assert error.code == "extra-missing"
    assert "wirework[hf]" in error.hint
