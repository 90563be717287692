"""Label documents: cut them into tokens, ask a feature set, carry its marks over to the tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.data import Skipped, Tokenizer
from wirework.probing.feature import NOT_ASKED, FeatureSet, Integers, Labels, Text
from wirework.probing.labelled import LabelledTokens
from wirework.probing.token_marks import Straddling, require_straddling, token_labels

Cut = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int]]]]
"""A text to its ids and their (start, end) in characters, as Hugging Face's fast tokenizers give
them; special tokens have (0, 0)."""

NamedCut = Callable[[str, str], tuple[Integers, Integers, Integers]]
"""A text and its name to ids, starts and ends (T) in characters."""

_SKIPPED: Mapping[str, Literal["not-python", "not-text"]] = {
    "text-not-python": "not-python",
    "text-not-latex": "not-text",
}
"""What a document is passed over for, rather than the whole set given up: code -> reason."""


def label_tokens(
    documents: Mapping[str, str],
    tokenizer: Tokenizer | Cut,
    feature_set: FeatureSet,
    *,
    straddling: Straddling = "majority",
    start: StartProgress = silent,
) -> LabelledTokens:
    """Label every token of every document, in the order of `documents` (name -> text).

    Labels are made on whole documents, before any window is cut. Takes len(tokens) * features
    bytes of memory. Documents that the set cannot label are counted in `skipped`. Raises
    `documents-empty` where none is left, `tokenizer-offsets-wrong`, `straddling-unknown`, and
    what the set's labeller raises about labels that come with the texts.
    """
    require_straddling(straddling)
    cut = tokenizer_cut(tokenizer) if isinstance(tokenizer, Tokenizer) else checked_cut(tokenizer)
    cuts: list[tuple[str, Integers, Integers, Integers]] = []
    with start("tokens", len(documents)) as progress:
        for name, text in documents.items():
            cuts.append((name, *cut(text, name)))
            progress.advance()
    total = sum(len(ids) for _, ids, _, _ in cuts)
    labels: Labels = np.empty((total, len(feature_set.features)), np.int8)
    kept: list[tuple[str, Integers]] = []
    skipped: list[Skipped] = []
    done = 0
    with start("labels", len(documents)) as progress:
        for name, ids, starts, ends in cuts:
            progress.advance()
            try:
                rows = _labels(feature_set, Text(documents[name], starts, ends, name), straddling)
            except WireworkError as error:
                reason = _SKIPPED.get(error.code)
                if reason is None:
                    raise
                skipped.append(Skipped(name, reason, error.got))
                continue
            labels[done : done + len(ids)] = rows
            kept.append((name, ids))
            done += len(ids)
    if not done:
        raise _empty(feature_set, len(documents), skipped)
    lengths = [len(ids) for _, ids in kept]
    return LabelledTokens(
        tokens=np.concatenate([ids for _, ids in kept]),
        document=np.repeat(np.arange(len(kept)), lengths),
        position=np.concatenate([np.arange(length) for length in lengths]),
        labels=labels[:done],
        features=feature_set.features,
        documents=tuple(name for name, _ in kept),
        feature_set=feature_set.name,
        tokenizer=tokenizer.hash() if isinstance(tokenizer, Tokenizer) else "",
        skipped=tuple(skipped),
    )


def tokenizer_cut(tokenizer: Tokenizer) -> NamedCut:
    """A function from a text and its name to ids, starts and ends (T) in characters.

    Tokens that hold a part of a character get the whole of it.
    """
    sizes = np.array([len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)], np.int64)

    def cut(text: str, name: str) -> tuple[Integers, Integers, Integers]:
        ids = np.array(tokenizer.encode(text), np.int64)
        ends = np.cumsum(sizes[ids])
        starts = ends - sizes[ids]
        data = np.frombuffer(text.encode(), np.uint8)
        if len(ids) and ends[-1] != len(data):
            raise _wrong(name, f"tokens of {ends[-1]} bytes for a text of {len(data)}")
        if not text.isascii():
            # The character that every byte belongs to.
            character = np.cumsum((data & 0xC0) != 0x80) - 1
            starts, ends = character[starts], character[ends - 1] + 1
        return ids, starts, ends

    return cut


def checked_cut(cut: Cut) -> NamedCut:
    """The same for a callable from elsewhere. What it gives raises `tokenizer-offsets-wrong`."""

    def checked(text: str, name: str) -> tuple[Integers, Integers, Integers]:
        ids, offsets = cut(text)
        if len(ids) != len(offsets):
            raise _wrong(name, f"{len(ids)} ids and {len(offsets)} offsets")
        edges: NDArray[np.int64] = np.array(offsets, np.int64).reshape(-1, 2)
        starts, ends = edges[:, 0], edges[:, 1]
        real = ends > starts
        if (starts > ends).any() or (edges < 0).any() or (edges > len(text)).any():
            raise _wrong(name, f"offsets outside of its {len(text)} characters")
        if (np.diff(starts[real]) < 0).any():
            raise _wrong(name, "offsets that go back")
        if text.strip() and not real.any():
            raise _wrong(name, "no token that covers a character")
        return np.array(ids, np.int64), starts, ends

    return checked


def _labels(feature_set: FeatureSet, text: Text, straddling: Straddling) -> Labels:
    marks = feature_set.labeller(text)
    assert marks.values.shape[1] == len(marks.rest) == len(feature_set.features)
    if not feature_set.by_token:
        return token_labels(marks, text, straddling)
    labels = marks.values.copy()
    labels[text.ends <= text.starts] = NOT_ASKED
    return labels


def _empty(feature_set: FeatureSet, count: int, skipped: Sequence[Skipped]) -> WireworkError:
    reason = f"; {skipped[0].name}: {skipped[0].detail}" if skipped else ""
    return WireworkError(
        "documents-empty",
        f"no document has a token that the features of {feature_set.name!r} could be asked of",
        expected="at least one text with tokens that the set can label",
        got=f"{count} documents, {len(skipped)} of them skipped{reason}",
    )


def _wrong(name: str, got: str) -> WireworkError:
    return WireworkError(
        "tokenizer-offsets-wrong",
        f"the tokenizer does not say where the tokens of {name!r} stand in it",
        expected="one (start, end) in characters for every id, inside the text, in order",
        got=got,
        hint="the tokenizer that the model was trained with, with its offsets in characters",
    )
