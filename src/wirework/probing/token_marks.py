"""From labels of characters to labels of a model's tokens."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import unknown_choice
from wirework.probing.feature import NO, NOT_ASKED, YES, Integers, Labels, Marks, Text

Straddling = Literal["majority", "drop", "first"]
"""What becomes of a token whose characters disagree about a feature (sparse_probing.md §9).

`majority`: it has the feature where at least half of its characters have it (`:` and the end of a
line as one token have the features of both), and is not asked where fewer have it; `drop`: it is
not asked; `first`: its first character that is no blank decides.
"""

_BLANKS = (0x20, 0x09, 0x0B, 0x0C)


def require_straddling(straddling: str) -> None:
    """Raises `straddling-unknown`."""
    if straddling not in get_args(Straddling):
        raise unknown_choice(
            "straddling-unknown", "way to label tokens", straddling, get_args(Straddling)
        )


def token_labels(marks: Marks, text: Text, straddling: Straddling = "majority") -> Labels:
    """Labels (T, F) of the tokens of `text`.

    Blanks (not ends of lines) count only in tokens that hold nothing else. Characters that are
    not asked about a feature have no say in it. Tokens without characters are not asked.
    """
    starts, ends = text.starts, text.ends
    counted = _counted(text.text)
    weight = counted[ends] - counted[starts]
    blank = weight == 0
    low = np.searchsorted(marks.ends, starts, side="right")
    high = np.searchsorted(marks.starts, ends, side="left")
    if straddling == "first":
        labels = _of_first(marks, starts, counted, blank)
    else:
        weight = np.where(blank, ends - starts, weight)
        labels = _of_one(marks, low)
        one = (high - low == 1) & (_overlaps(marks, low, text, counted, blank) == weight)
        mixed = np.flatnonzero(~one)
        labels[mixed] = _of_many(
            marks, text, counted, mixed, low[mixed], high[mixed], weight[mixed], blank[mixed],
            straddling,
        )  # fmt: skip
    labels[ends <= starts] = NOT_ASKED
    return labels


def _counted(text: str) -> Integers:
    """(characters + 1): how many characters before each are no blanks."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    found = np.zeros(len(codes) + 1, np.int64)
    np.cumsum(~np.isin(codes, _BLANKS), out=found[1:])
    return found


def _of_one(marks: Marks, index: Integers) -> Labels:
    rows = np.concatenate((marks.values, marks.rest[None]))
    return np.take(rows, np.minimum(index, len(rows) - 1), axis=0)


def _overlaps(
    marks: Marks, index: Integers, text: Text, counted: Integers, blank: NDArray[np.bool_]
) -> Integers:
    """How much of every token lies in the stretch of that index."""
    if not len(marks.starts):
        return np.full(len(index), -1)
    index = np.minimum(index, len(marks.starts) - 1)
    return _weights(
        np.maximum(text.starts, marks.starts[index]), np.minimum(text.ends, marks.ends[index]),
        counted, blank,
    )  # fmt: skip


def _weights(
    starts: Integers, ends: Integers, counted: Integers, blank: NDArray[np.bool_]
) -> Integers:
    ends = np.maximum(np.minimum(ends, len(counted) - 1), starts)
    found: Integers = np.where(blank, ends - starts, counted[ends] - counted[starts])
    return found


def _of_many(
    marks: Marks,
    text: Text,
    counted: Integers,
    tokens: Integers,
    low: Integers,
    high: Integers,
    weight: Integers,
    blank: NDArray[np.bool_],
    straddling: Straddling,
) -> Labels:
    """Labels of tokens that touch several stretches, or none, or the rest as well."""
    count = np.maximum(high - low, 0)
    owner = np.repeat(np.arange(len(tokens)), count)
    first = np.concatenate(([0], np.cumsum(count)))
    stretch = np.repeat(low, count) + np.arange(first[-1]) - first[owner]
    token = tokens[owner]
    shares = _weights(
        np.maximum(text.starts[token], marks.starts[stretch]),
        np.minimum(text.ends[token], marks.ends[stretch]),
        counted, blank[owner],
    )  # fmt: skip
    inside = np.bincount(owner, shares, len(tokens)).astype(np.int64)
    outside = (weight - inside).astype(np.int32)[:, None]
    parts = shares.astype(np.int32)[:, None]
    yes = outside * (marks.rest == YES)
    asked = outside * (marks.rest != NOT_ASKED)
    values = marks.values[stretch]
    _add_by_owner(yes, first, parts * (values == YES))
    _add_by_owner(asked, first, parts * (values != NOT_ASKED))
    enough = 2 * yes >= asked if straddling == "majority" else yes == asked
    no = (yes == 0) & (asked > 0)
    return np.where(enough & (yes > 0), YES, np.where(no, NO, NOT_ASKED)).astype(np.int8)


def _add_by_owner(total: NDArray[Any], first: Integers, parts: NDArray[Any]) -> None:
    """total[i] += parts[first[i]:first[i + 1]].sum(0)"""
    some = np.flatnonzero(first[1:] > first[:-1])
    if len(some):
        total[some] += np.add.reduceat(parts, first[some], axis=0)


def _of_first(
    marks: Marks, starts: Integers, counted: Integers, blank: NDArray[np.bool_]
) -> Labels:
    place = np.searchsorted(counted, counted[starts] + 1, side="left") - 1
    place = np.where(blank, starts, place)
    index = np.searchsorted(marks.starts, place, side="right") - 1
    rest = len(marks.starts)
    inside = index >= 0
    inside[inside] = place[inside] < marks.ends[index[inside]]
    return _of_one(marks, np.where(inside, index, rest))
