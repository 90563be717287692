"""Builders for published data sets, where the user has the data: folders by class, tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wirework.core.errors import WireworkError
from wirework.data import Skipped
from wirework.probing.feature import NO, NOT_ASKED, YES, Feature, LabelledTexts, Marks, Span
from wirework.probing.user_labels import marks_set

_WORD = re.compile(r"[^\W_][\w'.-]*")
SHORTEST_NAME = 8
"""Characters of the shortest name of an entity that is looked for (sparse_probing.md §2.4)."""


def class_folders(folder: Path, *, piece: int | None = None) -> LabelledTexts:
    """Documents by class: every folder in `folder` is a class, every file under it a document.

    For languages (EuroParl), programming languages and sources of text (sparse_probing.md §2.4).
    Features are `is_CLASS`, one against all others. With `piece`, longer files are cut into
    documents of about so many characters at ends of lines. Files that are not UTF-8 or hold
    nothing are counted in `skipped`. Raises `folder-missing`, `classes-too-few`.
    """
    if not folder.is_dir():
        raise WireworkError("folder-missing", f"there is no folder {folder}", got=str(folder))
    documents: dict[str, str] = {}
    class_of: dict[str, str] = {}
    skipped = []
    for path in sorted(p for p in folder.glob("*/**/*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            skipped.append(Skipped(name, "not-text", str(error)))
            continue
        if not text.strip():
            skipped.append(Skipped(name, "empty"))
            continue
        for number, part in enumerate(_pieces(text, piece)):
            document = name if piece is None else f"{name}:{number}"
            documents[document], class_of[document] = part, name.partition("/")[0]
    classes = sorted(set(class_of.values()))
    if len(classes) < 2:
        raise WireworkError(
            "classes-too-few", f"{folder} holds documents of fewer than two classes",
            expected="folders named after classes, with text files in them",
            got=", ".join(classes) or f"no text, {len(skipped)} files skipped",
        )  # fmt: skip
    features = tuple(
        Feature(f"is_{kind}", folder.name, f"a token of a document of {kind!r}",
                mirrors=(), limits="the folder's word for it: parts in another language count too")
        for kind in classes
    )  # fmt: skip
    marks = {}
    for document, text in documents.items():
        column = classes.index(class_of[document])
        marks[document] = Marks.from_spans([Span(0, len(text), column)], [NO] * len(classes))
    return LabelledTexts(
        documents, marks_set(folder.name, features, documents, marks), tuple(skipped)
    )


def _pieces(text: str, size: int | None) -> Iterator[str]:
    if size is None:
        yield text
        return
    part = ""
    for line in text.splitlines(keepends=True):
        if part and len(part) + len(line) > size:
            yield part
            part = ""
        part += line
    yield part


def entity_table(
    path: Path, texts: Mapping[str, str], *, properties: Sequence[str] | None = None
) -> LabelledTexts:
    """Facts about people or things, on the last word of their names, found in `texts`.

    For Wikidata (sparse_probing.md §2.4). `path` is a CSV file with a column `name` and one column
    per property, whose cells hold a class or several parted by `|`. Features are
    `PROPERTY=CLASS`; asked is the last word of a name that has exactly one class of the property.
    Names of fewer than 8 characters or without a space are passed over; of equal names the row
    with the most properties counts. Raises `file-missing`, `entities-malformed`,
    `entities-not-found`.
    """
    rows = _rows(path)
    known = [key for key in rows[0] if key != "name"]
    wanted = known if properties is None else list(properties)
    if "name" not in rows[0] or not wanted or not set(wanted) <= set(known):
        raise WireworkError(
            "entities-malformed", f"{path} lacks columns",
            expected=f"name, {', '.join(wanted) or 'and at least one property'}",
            got=", ".join(rows[0]),
        )  # fmt: skip
    entities = _entities(rows, wanted)
    pairs = sorted({(p, c) for facts in entities.values() for p, c in facts.items()})
    column = {pair: number for number, pair in enumerate(pairs)}
    marks, kept = {}, {}
    for document, text in texts.items():
        spans = []
        for start, end, name in _mentions(text, entities):
            for asked, value in entities[name].items():
                spans += [Span(start, end, number, YES if kind == value else NO)
                          for (prop, kind), number in column.items() if prop == asked]  # fmt: skip
        if spans:
            kept[document] = text
            marks[document] = Marks.from_spans(spans, [NOT_ASKED] * len(pairs))
    if not kept:
        raise WireworkError(
            "entities-not-found", f"no text names an entity of {path}",
            expected=f"names such as {next(iter(entities), 'Ada Lovelace')!r} in the texts",
            got=f"{len(entities)} names, {len(texts)} texts",
        )  # fmt: skip
    features = tuple(
        Feature(f"{prop}={kind}", prop, f"the last word of a name whose {prop} is {kind}",
                among=f"last words of names with one known {prop}",
                limits="people with the same name are taken for one",
                risks="facts about living people, who may not see themselves in these classes")
        for prop, kind in pairs
    )  # fmt: skip
    return LabelledTexts(kept, marks_set(path.stem, features, kept, marks))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = [{k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file)]
    except (FileNotFoundError, IsADirectoryError):
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected="a CSV file", got=str(path)
        ) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise WireworkError(
            "entities-malformed", f"{path} cannot be read", expected="CSV in UTF-8", got=str(error)
        ) from None
    if not found:
        raise WireworkError(
            "entities-malformed", f"{path} has no rows", expected="a header and rows", got="nothing"
        )
    return found


def _entities(rows: Sequence[dict[str, str]], wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Name -> property -> its only class."""
    best: dict[str, tuple[int, dict[str, str]]] = {}
    for row in rows:
        name = row["name"].strip()
        if len(name) < SHORTEST_NAME or " " not in name:
            continue
        size = sum(bool(value.strip()) for value in row.values())
        facts = {p: row[p].strip() for p in wanted if row[p].strip() and "|" not in row[p]}
        if size > best.get(name, (0, {}))[0]:
            best[name] = (size, facts)
    return {name: facts for name, (_, facts) in best.items()}


def _mentions(text: str, names: Mapping[str, object]) -> Iterator[tuple[int, int, str]]:
    """(start, end of the last word, name) of every name, the longest where several start."""
    by_first: dict[str, list[str]] = {}
    for name in sorted(names, key=len, reverse=True):
        by_first.setdefault(name.partition(" ")[0], []).append(name)
    for match in _WORD.finditer(text):
        for name in by_first.get(match.group(), ()):
            end = match.start() + len(name)
            if text.startswith(name, match.start()) and not text[end : end + 1].isalnum():
                yield end - len(name.rpartition(" ")[2]), end, name
                break
