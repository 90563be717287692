"""Documents cut into windows that a model can read, so that every token is computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError


@runtime_checkable
class FlatTokens(Protocol):
    """Tokens of many documents, one after the other: `LabelledTokens` is one.

    `tokens`, `document` and `position` are (N,): ids, the index of the document, which never
    falls, and the place in it, counted from 0 without a gap.
    """

    @property
    def tokens(self) -> NDArray[np.int64]: ...

    @property
    def document(self) -> NDArray[np.int64]: ...

    @property
    def position(self) -> NDArray[np.int64]: ...


Documents = FlatTokens | Sequence[Sequence[int]] | NDArray[np.integer[Any]]
"""Flat tokens, or one sequence of ids for each document: a list of lists, rows of an array."""


@dataclass(frozen=True, eq=False)
class TokenStream:
    """Checked `FlatTokens`. Raises `documents-malformed`, naming the first token that is wrong."""

    tokens: NDArray[np.int64]
    document: NDArray[np.int64]
    position: NDArray[np.int64]

    def __post_init__(self) -> None:
        arrays = {"tokens": self.tokens, "document": self.document, "position": self.position}
        for name, array in arrays.items():
            if array.dtype != np.int64 or array.shape != (len(self.tokens),):
                raise _malformed(f"{name}: {array.dtype} {array.shape}")
        if len(self.tokens) == 0:
            raise _malformed("no token")
        # Position 0 begins a document, and nothing else does.
        starts = np.concatenate([[True], np.diff(self.document) != 0])
        gaps = np.concatenate([[self.position[0]], np.diff(self.position) - 1])
        falls = np.concatenate([[False], np.diff(self.document) < 0])
        wrong = falls | np.where(starts, self.position != 0, gaps != 0) | (self.tokens < 0)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise _malformed(
                f"token {i}: id {self.tokens[i]}, document {self.document[i]}, "
                f"position {self.position[i]}"
            )

    @classmethod
    def of(cls, data: Documents) -> TokenStream:
        """Raises `documents-malformed`."""
        if isinstance(data, FlatTokens):
            arrays = (data.tokens, data.document, data.position)
            return cls(*(np.asarray(array, dtype=np.int64) for array in arrays))
        lengths = [len(document) for document in data]
        parts = [np.asarray(document, dtype=np.int64) for document in data if len(document)]
        return cls(
            tokens=np.concatenate(parts) if parts else np.zeros(0, np.int64),
            document=np.repeat(np.arange(len(data), dtype=np.int64), lengths),
            position=_counted(np.array(lengths, dtype=np.int64)),
        )

    def hash(self) -> str:
        """sha256 of the three arrays: the data that activations belong to."""
        digest = hashlib.sha256()
        for array in (self.tokens, self.document, self.position):
            digest.update(np.ascontiguousarray(array).astype("<i8", copy=False).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Windows:
    """W windows as places in the flat tokens, in their order.

    A window reads `first` : `last`, and the activations of `keep` : `end` are taken from it. The
    kept ranges follow each other without gap or overlap.
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    keep: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)


def cut_windows(stream: TokenStream, context: int, overlap: int, *, causal: bool) -> Windows:
    """Windows of at most `context` tokens of one document each.

    A token behind the first window of its document sees at least `overlap` earlier tokens of it.
    Where the model also reads what follows (not `causal`), a token before the last window sees at
    least `overlap` later ones as well. Raises `overlap-too-large`.
    """
    after = 0 if causal else overlap
    stride = context - overlap - after
    if overlap < 0 or stride < 1:
        raise WireworkError(
            "overlap-too-large",
            f"windows of {context} tokens that share {overlap} never get on",
            expected=f"an overlap of 0 to {(context - 1) // (1 if causal else 2)} tokens",
            got=str(overlap),
            hint=str(context // 4),
        )
    begins = np.flatnonzero(stream.position == 0)
    lengths = np.diff(np.append(begins, len(stream.tokens)))
    counts = 1 + np.maximum(0, -(-(lengths - context) // stride))
    which = _counted(counts)
    begin, stop = np.repeat(begins, counts), np.repeat(begins + lengths, counts)
    first = begin + which * stride
    last = np.minimum(first + context, stop)
    is_last = which == np.repeat(counts, counts) - 1
    return Windows(
        first=first,
        last=last,
        keep=first + np.where(which == 0, 0, overlap),
        end=last - np.where(is_last, 0, after),
    )


def _counted(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 … n-1 for every n of `lengths`, one after the other."""
    begins = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum(), dtype=np.int64) - np.repeat(begins, lengths)


Rows = NDArray[np.integer[Any]] | NDArray[np.bool_]
"""Which flat tokens: their indices, or a mask over all of them."""


def checked_rows(rows: Rows, n: int) -> NDArray[np.int64]:
    """Indices of some of `n` flat tokens, in the order given. Raises `rows-unknown`."""
    array = np.asarray(rows)
    if array.dtype == np.bool_ and array.shape == (n,):
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise _unknown_rows(n, f"{array.dtype} {array.shape}")
    if array.min() < 0 or array.max() >= n:
        raise _unknown_rows(n, f"{array.min()} … {array.max()}")
    return array.astype(np.int64)


def _unknown_rows(n: int, got: str) -> WireworkError:
    return WireworkError(
        "rows-unknown",
        "the rows that are asked for are not tokens of the data",
        expected=f"indices 0 … {n - 1}, at least one, or a mask of {n}",
        got=got,
    )


def _malformed(got: str) -> WireworkError:
    return WireworkError(
        "documents-malformed",
        "these are not the tokens of documents, one after the other",
        expected="tokens, document and position, int64 and of one length; documents in order, "
        "positions counted from 0 without a gap, no negative id",
        got=got,
    )
