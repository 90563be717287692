"""The English Web Treebank, or any other in CoNLL-U, as labelled texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wirework.core.errors import WireworkError
from wirework.probing.feature import NO, NOT_ASKED, YES, Feature, LabelledTexts, Marks, Span
from wirework.probing.user_labels import marks_set

TAGS = ("NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "DET", "CCONJ", "PROPN", "PRON", "X",
        "ADV", "INTJ", "VERB", "AUX")  # fmt: skip
RELATIONS = (
    *("acl", "acl:relcl", "advcl", "advmod", "amod", "appos", "aux", "aux:pass", "case", "cc"),
    *("ccomp", "compound", "conj", "cop", "det", "flat", "list", "mark", "nmod", "nmod:poss"),
    *("nsubj", "nsubj:pass", "nummod", "obj", "obl", "parataxis", "punct", "root", "xcomp"),
)
CATEGORIES = {
    "upos": TAGS,
    "dep": RELATIONS,
    "VerbForm": ("Fin", "Inf", "Ger", "Part"),
    "PronType": ("Art", "Dem", "Prs", "Rel", "Int"),
    "Person": ("1", "2", "3"),
    "Gender": ("Masc", "Fem", "Neut"),
}
"""One value against the others of its category."""

AGAINST = {"Number": ("Plur", "Sing"), "Mood": ("Imp", "Ind"), "Tense": ("Past", "Pres")}
"""One value against one other."""


@dataclass
class _Word:
    start: int
    end: int
    values: dict[str, str]
    ends_sentence: bool = False


@dataclass
class _Document:
    text: str = ""
    words: list[_Word] = field(default_factory=list)


def treebank(paths: Sequence[Path], name: str = "ewt") -> LabelledTexts:
    """16 tags, 29 relations, 20 of morphology and sentence ends (sparse_probing.md §2.4).

    Documents begin at `# newdoc id`, or else with the file; their sentences are joined by spaces.
    Words that share a contraction and words that are not in the text are not asked. `eos` is the
    last word of a sentence if it holds one of . ! ?, `first_eos` the first of a document, asked
    of the others alone. Raises `file-missing`, `treebank-malformed`.
    """
    documents: dict[str, _Document] = {}
    for path in paths:
        _read(path, documents)
    if not any(document.words for document in documents.values()):
        raise _malformed(", ".join(map(str, paths)), "sentences in CoNLL-U", "none")
    features = _features()
    texts = {key: document.text for key, document in documents.items()}
    marks = {
        key: Marks.from_spans(_spans(document), [NOT_ASKED] * len(features))
        for key, document in documents.items()
    }
    return LabelledTexts(texts, marks_set(name, features, texts, marks))


def _features() -> tuple[Feature, ...]:
    found = []
    for category, values in CATEGORIES.items():
        found += [_feature(f"{category}_{value}", category, f"a word with {category} {value}",
                           f"words with a listed {category}") for value in values]  # fmt: skip
    for category, (value, other) in AGAINST.items():
        found.append(_feature(f"{category}_{value}", category, f"a word with {category} {value}",
                              f"words with {category} {value} or {other}"))  # fmt: skip
    found += [
        _feature("NumType_Card", "NumType", "a cardinal number", "every word"),
        _feature("Voice_Pass", "Voice", "a word in the passive", "those words and verbs"),
        _feature("eos", "sentence", "the last word of a sentence, with . ! or ?", "every word"),
        _feature("first_eos", "sentence", "the first `eos` of a document", "`eos` words"),
    ]
    return tuple(found)


def _feature(name: str, group: str, definition: str, among: str) -> Feature:
    return Feature(name, group, definition, among=among, limits="as its annotators saw it")


def _spans(document: _Document) -> Iterator[Span]:
    first_eos = True
    for word in document.words:
        text = document.text[word.start : word.end]
        eos = word.ends_sentence and any(char in text for char in ".!?")
        labels = _labels(word.values)
        labels += [eos, first_eos if eos else None]
        first_eos = first_eos and not eos
        for column, label in enumerate(labels):
            if label is not None:
                yield Span(word.start, word.end, column, YES if label else NO)


def _labels(values: dict[str, str]) -> list[bool | None]:
    """In the order of the features up to `eos`; None: not asked."""
    found: list[bool | None] = []
    for category, listed in CATEGORIES.items():
        own = values.get(category)
        found += [own == value if own in listed else None for value in listed]
    for category, pair in AGAINST.items():
        own = values.get(category)
        found.append(own == pair[0] if own in pair else None)
    found.append(values.get("NumType") == "Card")
    passive = values.get("Voice") == "Pass"
    found.append(passive if passive or values["upos"] == "VERB" else None)
    return found


def _read(path: Path, documents: dict[str, _Document]) -> None:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (FileNotFoundError, IsADirectoryError):
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected="a CoNLL-U file", got=str(path)
        ) from None
    except UnicodeDecodeError as error:
        raise _malformed(str(path), "text in UTF-8", str(error)) from None
    document = path.stem
    sentence: list[tuple[int, list[str]]] = []
    text = ""
    for number, line in enumerate([*lines, ""], 1):
        if line.startswith("# newdoc"):
            document = line.partition("=")[2].strip() or f"{path.stem}:{number}"
        elif line.startswith("# text ="):
            text = line.partition("=")[2].strip()
        elif line and not line.startswith("#"):
            columns = line.split("\t")
            if len(columns) != 10:
                raise _malformed(f"{path}:{number}", "10 columns", f"{len(columns)} columns")
            sentence.append((number, columns))
        elif not line.strip() and sentence:
            _add(path, documents.setdefault(document, _Document()), sentence, text)
            sentence, text = [], ""


def _add(path: Path, document: _Document, rows: list[tuple[int, list[str]]], text: str) -> None:
    """Append a sentence; a word is looked for behind the one before it."""
    text = text or _joined([columns for _, columns in rows])
    base = len(document.text) + bool(document.text)
    document.text += (" " if document.text else "") + text
    place, contracted_to = 0, 0
    words = []
    for number, columns in rows:
        index = columns[0]
        if "." in index or (index.isdigit() and int(index) <= contracted_to):
            continue
        place = text.find(columns[1], place)
        if place < 0:
            raise _malformed(f"{path}:{number}", f"a word of {text[:60]!r}", columns[1])
        end = place + len(columns[1])
        if "-" in index:
            contracted_to = int(index.partition("-")[2])
        else:
            values = {"upos": columns[3], "dep": columns[7]}
            values |= dict(p.split("=", 1) for p in columns[5].split("|") if "=" in p)
            words.append(_Word(base + place, base + end, values))
        place = end
    if words:
        words[-1].ends_sentence = not text[words[-1].end - base :].strip()
    document.words += words


def _joined(rows: Sequence[list[str]]) -> str:
    """The text of a sentence that does not give it."""
    text, contracted_to = "", 0
    for columns in rows:
        index = columns[0]
        if "." in index or (index.isdigit() and int(index) <= contracted_to):
            continue
        if "-" in index:
            contracted_to = int(index.partition("-")[2])
        text += columns[1] + ("" if "SpaceAfter=No" in columns[9] else " ")
    return text.rstrip()


def _malformed(place: str, expected: str, got: str) -> WireworkError:
    return WireworkError(
        "treebank-malformed", f"{place} is not CoNLL-U that can be aligned with its text",
        expected=expected, got=got,
    )  # fmt: skip
