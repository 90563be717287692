"""Labels of one's own: a JSONL file of texts with spans of characters.

The file is UTF-8, one JSON object per line; empty lines are passed over.

The first line is the header:

    {"wirework_labels": 1, "name": "my-labels",
     "features": [{"name": "is_name", "group": "people", "definition": "the name of a person"}]}

`wirework_labels` is the version of the format; `features` lists every feature, at least one.
`name` and `definition` of a feature must be there. `group`, `among`, `limits`, `risks` (text),
`positive`, `negative` and `mirrors` (lists of text) may be; they mean what they mean in `Feature`.

Every further line is a document:

    {"document": "a.txt", "text": "Ann met Bob.", "spans": [[0, 3, "is_name"], [8, 11, "is_name"]]}

`document` is its name, used once in the file. Its text is given as `text`, or as `file`: a path
from the folder of the JSONL file to a UTF-8 file, which is read without any change. A span is
`[start, end, feature]` or `[start, end, feature, value]`: characters (Unicode code points) `start`
to `end`, `end` exclusive, 0 <= start < end <= length of the text. `value` is 1 (has the feature,
the default), 0 (has it not) or -1 (was not looked at); of spans of one feature that overlap, the
later one counts. `asked` (optional) lists the features that were looked at in this document; all
characters in no span then have those features not, and are not asked about others. Without
`asked` every feature was looked at. `"rest": -1` (optional; 0 is the default) says that characters
in no span were not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wirework.core.errors import WireworkError, nearest
from wirework.core.files import write_text
from wirework.probing.feature import (
    NO,
    NOT_ASKED,
    YES,
    Feature,
    FeatureSet,
    LabelledTexts,
    Marks,
    Span,
    Text,
)

VERSION = 1
_TEXTS = ("name", "group", "definition", "among", "limits", "risks")
_LISTS = ("positive", "negative", "mirrors")
_KEYS = {"document", "text", "file", "spans", "asked", "rest"}


def read_labels(path: Path) -> LabelledTexts:
    """Read a file in the format of this module.

    Raises `file-missing`, `labels-malformed`, `labels-span-outside`, `labels-feature-unknown`,
    each naming file, line, document and feature.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected="a JSONL file", got=str(path)
        ) from None
    except UnicodeDecodeError as error:
        raise _malformed(f"{path}", "text in UTF-8", str(error)) from None
    rows = [(f"{path}:{n}", line) for n, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise _malformed(str(path), "a header and documents", "an empty file")
    name, features = _header(rows[0][0], _json(*rows[0]))
    documents: dict[str, str] = {}
    marks: dict[str, Marks] = {}
    for place, line in rows[1:]:
        record = _json(place, line)
        unknown = set(record) - _KEYS
        if unknown:
            raise _malformed(place, f"keys {', '.join(sorted(_KEYS))}", ", ".join(sorted(unknown)))
        document = record.get("document")
        if not isinstance(document, str) or document in documents:
            raise _malformed(place, "a `document` with a name of its own", repr(document))
        documents[document] = _text(place, record, path.parent)
        marks[document] = _marks(place, record, documents[document], features)
    if not documents:
        raise _malformed(str(path), "documents behind the header", "a header alone")
    return LabelledTexts(documents, marks_set(name, features, documents, marks))


def marks_set(
    name: str,
    features: Sequence[Feature],
    documents: Mapping[str, str],
    marks: Mapping[str, Marks],
) -> FeatureSet:
    """A feature set that knows the marks of these documents by name.

    Its labeller raises `labels-text-unknown` for any other name or text, and
    `labels-without-token` where a label's characters are part of no token.
    """

    def labeller(text: Text) -> Marks:
        if documents.get(text.name) != text.text:
            near = nearest(text.name, documents)
            raise WireworkError(
                "labels-text-unknown",
                f"the labels of {name!r} are not about the text called {text.name!r}",
                expected="the documents that the labels came with, unchanged",
                got="another text under that name" if text.name in documents else text.name,
                hint=near,
            )
        found = marks[text.name]
        _require_tokens(name, found, text, features)
        return found

    return FeatureSet(name, tuple(features), labeller, how="labels that came with the texts")


def write_labels(path: Path, documents: Mapping[str, str], feature_set: FeatureSet) -> None:
    """Write the marks that a set makes of these texts in the format of this module.

    To look at labels, or to correct them by hand. Raises what the set's labeller raises,
    `labels-by-token` for a set about single tokens, `disk-full`, `path-not-writable`.
    """
    if feature_set.by_token:
        raise WireworkError(
            "labels-by-token", f"{feature_set.name!r} labels tokens, and a text alone has none",
            expected="a set that labels characters", got=feature_set.name, hint="oversight",
        )  # fmt: skip
    header = {
        "wirework_labels": VERSION,
        "name": feature_set.name,
        "features": [feature.to_json() for feature in feature_set.features],
    }
    lines = [json.dumps(header, ensure_ascii=False)]
    for document, text in documents.items():
        marks = feature_set.label(text, name=document)
        rest = marks.rest.tolist()
        asked = [f.name for f, value in zip(feature_set.features, rest, strict=True) if value == NO]
        spans = [
            [int(marks.starts[row]), int(marks.ends[row]), feature_set.features[column].name,
             int(marks.values[row, column])]
            for row in range(len(marks.starts))
            for column in (marks.values[row] != marks.rest).nonzero()[0].tolist()
        ]  # fmt: skip
        record = {"document": document, "text": text, "asked": asked, "spans": spans}
        lines.append(json.dumps(record, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")


def _header(place: str, plain: dict[str, Any]) -> tuple[str, tuple[Feature, ...]]:
    version, name, listed = (plain.get(key) for key in ("wirework_labels", "name", "features"))
    if version != VERSION:
        raise _malformed(place, f'a header with "wirework_labels": {VERSION}', repr(version))
    if not isinstance(name, str) or not isinstance(listed, list) or not listed:
        raise _malformed(place, "a `name` and a list of `features`", f"{name!r}, {listed!r}"[:80])
    features = tuple(_feature(place, item) for item in listed)
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        raise _malformed(place, "features with names of their own", ", ".join(names))
    return name, features


def _feature(place: str, item: Any) -> Feature:
    if not isinstance(item, dict) or not {"name", "definition"} <= set(item):
        raise _malformed(place, "features with `name` and `definition`", repr(item)[:80])
    for key, value in item.items():
        texts = value if key in _LISTS and isinstance(value, list) else [value]
        known = key in _TEXTS or (key in _LISTS and isinstance(value, list))
        if not known or not all(isinstance(text, str) for text in texts):
            raise _malformed(
                place, f"of feature {item['name']!r}: texts {', '.join(_TEXTS)}; lists of texts "
                f"{', '.join(_LISTS)}", f"{key}: {value!r}"[:80],
            )  # fmt: skip
    return Feature.from_json({"group": "own labels"} | item)


def _text(place: str, record: Mapping[str, Any], folder: Path) -> str:
    text, file = record.get("text"), record.get("file")
    if (text is None) == (file is None) or not isinstance(file if text is None else text, str):
        raise _malformed(place, "either `text` or `file`", f"text {text!r}, file {file!r}"[:80])
    if isinstance(text, str):
        return text
    try:
        return (folder / str(file)).read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise _malformed(place, f"a file {file} in UTF-8", str(error)) from None


def _marks(place: str, record: Mapping[str, Any], text: str, features: Sequence[Feature]) -> Marks:
    names = {feature.name: column for column, feature in enumerate(features)}
    where = f"{place} ({record['document']})"
    listed, asked = record.get("spans", []), record.get("asked", list(names))
    rest = record.get("rest", NO)
    if rest not in (NO, NOT_ASKED) or not isinstance(listed, list) or not isinstance(asked, list):
        raise _malformed(where, "lists `spans` and `asked`, `rest` 0 or -1", repr(record)[:80])
    for name in asked:
        _require_feature(where, name, names)
    spans = [_span(where, item, len(text), names) for item in listed]
    return Marks.from_spans(spans, [rest if name in asked else NOT_ASKED for name in names])


def _span(where: str, item: Any, length: int, names: Mapping[str, int]) -> Span:
    sound = isinstance(item, list) and len(item) in (3, 4)
    start, end, name, value = (*item, YES)[:4] if sound else (None, None, "", YES)
    if type(start) is not int or type(end) is not int or value not in (YES, NO, NOT_ASKED):
        raise _malformed(where, "spans [start, end, feature] or [..., value]", repr(item)[:80])
    _require_feature(where, name, names)
    if not 0 <= start < end <= length:
        raise WireworkError(
            "labels-span-outside", f"{where}: a span of {name!r} is not part of the text",
            expected=f"0 <= start < end <= {length}, in characters", got=f"{start} to {end}",
        )  # fmt: skip
    return Span(start, end, names[name], int(value))


def _require_feature(where: str, name: Any, names: Mapping[str, int]) -> None:
    if not isinstance(name, str) or name not in names:
        raise WireworkError(
            "labels-feature-unknown", f"{where}: {name!r} is no feature of the header",
            expected=f"one of {', '.join(names)}", got=str(name), hint=nearest(str(name), names),
        )  # fmt: skip


def _require_tokens(name: str, marks: Marks, text: Text, features: Sequence[Feature]) -> None:
    """Every stretch that has a feature must share a character with a token."""
    order = text.ends > text.starts
    starts, ends = text.starts[order], text.ends[order]
    next_token = ends.searchsorted(marks.starts, side="right")
    for row in ((marks.values == YES).any(1)).nonzero()[0].tolist():
        token = int(next_token[row])
        if token >= len(starts) or starts[token] >= marks.ends[row]:
            column = int((marks.values[row] == YES).argmax())
            raise WireworkError(
                "labels-without-token",
                f"a label of {features[column].name!r} in {text.name!r} belongs to no token",
                expected=f"tokens for characters {marks.starts[row]} to {marks.ends[row]}",
                got=f"the tokenizer passes over {text.text[marks.starts[row] : marks.ends[row]]!r}",
                hint=f"drop that span from {name}, or use the model's own tokenizer",
            )


def _json(place: str, line: str) -> dict[str, Any]:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _malformed(place, "one JSON object per line", str(error)) from None
    if not isinstance(plain, dict):
        raise _malformed(place, "one JSON object per line", line[:80])
    return plain


def _malformed(place: str, expected: str, got: str) -> WireworkError:
    return WireworkError(
        "labels-malformed", f"{place} is not what a file of labels holds", expected=expected,
        got=got, hint="the format is written down in wirework.probing.user_labels",
    )  # fmt: skip
