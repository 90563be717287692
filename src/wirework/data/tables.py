"""Rows of JSONL, Parquet and Hugging Face tables as documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from wirework.core.errors import WireworkError, nearest
from wirework.data.documents import CorpusConfig, Document, Skipped

HUB = "hf:"
_ROWS_TO_TRY = 100
"""A table whose first rows all lack the column is given up, however long it is."""


def read_jsonl(path: Path, name: str, column: str) -> Iterator[Document | Skipped]:
    """One document per line that is an object with text in `column`. Raises `column-missing`."""
    return _documents(name, _json_rows(path), column)


def read_parquet(path: Path, name: str, column: str) -> Iterator[Document | Skipped]:
    """One document per row. Raises `column-missing`."""
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            if column not in table.schema_arrow.names:
                raise _column_missing(name, column, table.schema_arrow.names)
            values = _parquet_values(table, column)
            yield from _documents(name, ((i, {column: v}) for i, v in values), column)
    except (OSError, pyarrow.ArrowException) as error:
        yield Skipped(name, "unreadable", str(error))


def read_hub(config: CorpusConfig) -> Iterator[Document | Skipped]:
    """Stream a Hugging Face data set, or one that was saved in a local folder.

    Raises `extra-missing` without the library, `hub-unreadable`, `column-missing`.
    """
    name, split = parse_hub(config.source)
    if find_spec("datasets") is None:
        raise WireworkError(
            "extra-missing",
            "Hugging Face data sets need a library that is not installed",
            expected="the extra wirework[hf]",
            got="no module datasets",
            hint="pip install 'wirework[hf]'",
        )
    import datasets

    try:
        table = _open_hub(name, split, config.subset)
        yield from _documents(f"{name}:{split or 'train'}", enumerate(table), config.column)
    except WireworkError:
        raise
    # What goes wrong in the library or on the network comes as one of these.
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise WireworkError(
            "hub-unreadable",
            f"the data set {name!r} cannot be read",
            expected="hf:NAME_OR_FOLDER[:split] of an existing data set",
            got=f"{type(error).__name__}: {error}",
            hint="set `split` behind a colon, `subset` where the data set has several",
        ) from error


def parse_hub(source: str) -> tuple[str, str | None]:
    """`hf:NAME[:split]` as (name, split). Raises `source-malformed`, `source-missing`."""
    name, _, split = source.removeprefix(HUB).partition(":")
    if not name:
        raise WireworkError(
            "source-malformed",
            "the source names no data set",
            expected="hf:NAME_OR_FOLDER[:split]",
            got=source,
        )
    # The library would take a mistyped folder for a name and ask the network for it.
    if name.startswith((".", "/", "~")) and not Path(name).expanduser().exists():
        raise WireworkError(
            "source-missing",
            f"there is no folder {name}",
            expected="a folder that holds a data set",
            got=source,
        )
    return name, split or None


def _open_hub(name: str, split: str | None, subset: str | None) -> Iterable[Any]:
    import datasets

    folder = Path(name).expanduser()
    if not any((folder / f).is_file() for f in ("dataset_dict.json", "state.json")):
        source = str(folder) if folder.is_dir() else name
        streamed: Iterable[Any] = datasets.load_dataset(
            source, name=subset, split=split or "train", streaming=True
        )
        return streamed
    saved = datasets.load_from_disk(str(folder))
    single = not isinstance(saved, datasets.DatasetDict)
    parts = {str(saved.split or "train"): saved} if single else saved
    wanted = split or (next(iter(parts)) if len(parts) == 1 else "train")
    if wanted not in parts:
        raise ValueError(f"no split {wanted!r}; there are {', '.join(sorted(parts))}")
    chosen: Iterable[Any] = parts[wanted]
    return chosen


def _json_rows(path: Path) -> Iterator[tuple[int, object]]:
    """Line numbers from 1 and their values; an error stands for a line that is not JSON."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                yield number, error


def _parquet_values(table: Any, column: str) -> Iterator[tuple[int, object]]:
    row = 0
    for batch in table.iter_batches(batch_size=1024, columns=[column]):
        for value in batch.column(0).to_pylist():
            yield row, value
            row += 1


def _documents(
    name: str, rows: Iterable[tuple[int, object]], column: str
) -> Iterator[Document | Skipped]:
    without, last, found = 0, [], False
    for number, row in rows:
        item = _document(f"{name}:{number}", row, column)
        if isinstance(item, Skipped) and item.reason == "no-column" and isinstance(row, dict):
            without, last = without + 1, [str(key) for key in row]
        found = found or (isinstance(row, dict) and column in row)
        if not found and without == _ROWS_TO_TRY:
            break
        yield item
    if without and not found:
        raise _column_missing(name, column, last)


def _document(name: str, row: object, column: str) -> Document | Skipped:
    if isinstance(row, Exception):
        return Skipped(name, "bad-row", str(row) or type(row).__name__)
    if not isinstance(row, dict):
        return Skipped(name, "bad-row", f"{type(row).__name__} instead of an object")
    if column not in row:
        return Skipped(name, "no-column", f"no column {column!r}")
    text = row[column]
    if text is None or text == "":
        return Skipped(name, "empty")
    if not isinstance(text, str):
        return Skipped(name, "bad-row", f"{type(text).__name__} instead of text in {column!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return Skipped(name, "not-text", str(error))
    return Document(name, text)


def _column_missing(name: str, column: str, columns: list[str]) -> WireworkError:
    return WireworkError(
        "column-missing",
        f"{name} has no column {column!r}",
        expected=f"one of {', '.join(columns)}",
        got=column,
        hint=f"column={nearest(column, columns) or columns[0]}" if columns else "",
    )
