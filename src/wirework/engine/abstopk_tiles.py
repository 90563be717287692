"""AbsTopK over tiles of positions, and of one vector, in place: `keep_largest` of every position.

The border between what stays and what goes is searched by counting, from both ends at once, in
all lanes of a tile together.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from wirework.engine.scalars import bits
from wirework.engine.tiles import LANES, MANY, Floats


def zero_rest(tiles: Floats, k: int) -> None:
    """All but the k largest magnitudes over the channels of every lane set to zero, in place."""
    if k < tiles.shape[1]:
        spelled = bits(tiles)
        magnitude = spelled.dtype.type(np.iinfo(spelled.dtype).max)
        zero = _zero_many if len(tiles) > 1 and tiles.size >= MANY else _zero_few
        zero(spelled, k, magnitude)


@numba.njit(cache=True, nogil=True)
def keep_row(x: Any, k: int) -> None:
    """All but the k largest magnitudes of one vector set to zero, in place."""
    if k >= len(x):
        return
    # As integers throughout: they share their memory with the floats.
    spelled = bits(x)
    number = spelled.dtype.type
    size = np.empty(len(x), spelled.dtype)
    border, ties = find_border(spelled, k, number((1 << (8 * x.itemsize - 1)) - 1), size)
    if ties == 0:
        for i in range(len(size)):
            spelled[i] = spelled[i] if size[i] > border else number(0)
        return
    for i in range(len(size)):
        if size[i] == border and ties > 0:
            ties -= 1
        elif size[i] <= border:
            spelled[i] = 0


@numba.njit(cache=True)
def find_border(spelled: Any, k: int, magnitude: Any, size: Any) -> Any:
    """A border and a number of ties: the entries above the border and the first `ties` of those
    at the border are the k largest; k < width. Fills `size` with the magnitudes."""
    number = spelled.dtype.type
    largest = magnitude ^ magnitude
    count = 0
    for i in range(len(spelled)):
        size[i] = spelled[i] & magnitude
        largest = max(largest, size[i])
        count += size[i] > 0
    search = np.empty(_FIELDS, np.int64)
    _begin(search, largest, count, k)
    while search[_LOW] < search[_HIGH]:
        trial = _choose(search, k, magnitude)
        bound = number(trial)
        count = 0
        for i in range(len(size)):
            count += size[i] >= bound
        _learn(search, trial, count, k)
    return number(search[_LOW]), k - search[_N_HIGH]


# A search for the k-th largest magnitude, seen as an integer. It lies in low..high, n_low entries
# are >= low, n_high entries are > high. `run`: how often the last trials in a row came out too
# low (> 0) or too high (< 0). `found`: whether a trial was ever too low.
_LOW, _HIGH, _N_LOW, _N_HIGH, _RUN, _FOUND, _TURN, _FIELDS = range(8)


@numba.njit(cache=True)
def _begin(search: Any, largest: Any, nonzero: int, k: int) -> None:
    search[:] = 0
    search[_LOW], search[_HIGH] = 1, largest
    search[_N_LOW] = nonzero
    if nonzero <= k:
        # All of them stay, and of the zeros as many as are missing.
        search[_LOW] = search[_HIGH] = 0
        search[_N_HIGH] = nonzero


@numba.njit(cache=True)
def _choose(search: Any, k: int, magnitude: Any) -> Any:
    """Octaves down from the largest, then where the counts at both ends point to (regula falsi,
    the end that stays put pulled in: Illinois), every third time the middle."""
    low, high, run = search[_LOW], search[_HIGH], search[_RUN]
    search[_TURN] += 1
    if search[_FOUND] == 0:
        octave = (np.int64(magnitude) >> (11 if magnitude > (1 << 31) else 8)) + 1
        return max(low + 1, high - (octave << min(search[_TURN] - 1, 8)))
    if search[_TURN] % 3 == 0:
        return high - (high - low) // 2
    above = (search[_N_LOW] - k) << min(max(run - 1, 0), 20)
    below = (k - search[_N_HIGH]) << min(max(-run - 1, 0), 20)
    trial = low + np.int64((high - low) * (above / (above + below)))
    return min(max(trial, low + 1), high)


@numba.njit(cache=True)
def _learn(search: Any, trial: int, count: int, k: int) -> None:
    if count == k:
        # Exactly those at or above the trial.
        search[_LOW] = search[_HIGH] = trial - 1
        search[_N_HIGH] = k
    elif count > k:
        search[_LOW], search[_N_LOW], search[_FOUND] = trial, count, 1
        search[_RUN] = max(search[_RUN], 0) + 1
    else:
        search[_HIGH], search[_N_HIGH] = trial - 1, count
        search[_RUN] = min(search[_RUN], 0) - 1


@numba.njit(cache=True, parallel=True)
def _zero_many(spelled: Any, k: int, magnitude: Any) -> None:
    for tile in numba.prange(len(spelled)):
        _zero_tile(spelled[tile], k, magnitude)


@numba.njit(cache=True)
def _zero_few(spelled: Any, k: int, magnitude: Any) -> None:
    for tile in range(len(spelled)):
        _zero_tile(spelled[tile], k, magnitude)


@numba.njit(cache=True)
def _zero_tile(spelled: Any, k: int, magnitude: Any) -> None:
    """`find_border` in all lanes at once."""
    number = spelled.dtype.type
    border, ties = np.zeros(LANES, spelled.dtype), np.zeros(LANES, spelled.dtype)
    _find_borders(spelled, k, magnitude, border, ties)
    for i in range(len(spelled)):
        entries = spelled[i]
        for lane in range(LANES):
            size = entries[lane] & magnitude
            tied = (size == border[lane]) & (ties[lane] > 0)
            ties[lane] -= number(tied)
            entries[lane] = entries[lane] if tied | (size > border[lane]) else number(0)


@numba.njit(cache=True)
def _find_borders(spelled: Any, k: int, magnitude: Any, border: Any, ties: Any) -> None:
    width = len(spelled)
    trial, count = np.ones(LANES, spelled.dtype), np.zeros(LANES, spelled.dtype)
    largest = np.zeros(LANES, spelled.dtype)
    for i in range(width):
        sizes = spelled[i]
        for lane in range(LANES):
            largest[lane] = max(largest[lane], sizes[lane] & magnitude)
    _count(spelled, magnitude, trial, count)
    search = np.empty((LANES, _FIELDS), np.int64)
    for lane in range(LANES):
        _begin(search[lane], largest[lane], count[lane], k)
    while True:
        searching = False
        for lane in range(LANES):
            if search[lane, _LOW] < search[lane, _HIGH]:
                trial[lane] = _choose(search[lane], k, magnitude)
                searching = True
        if not searching:
            break
        _count(spelled, magnitude, trial, count)
        for lane in range(LANES):
            if search[lane, _LOW] < search[lane, _HIGH]:
                _learn(search[lane], trial[lane], count[lane], k)
    for lane in range(LANES):
        border[lane], ties[lane] = search[lane, _LOW], k - search[lane, _N_HIGH]


@numba.njit(cache=True)
def _count(spelled: Any, magnitude: Any, trial: Any, count: Any) -> None:
    """How many magnitudes of every lane are >= its trial; four channels at a time."""
    number = spelled.dtype.type
    count[:] = 0
    whole = len(spelled) // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, d = spelled[i], spelled[i + 1], spelled[i + 2], spelled[i + 3]
        for lane in range(LANES):
            bound = trial[lane]
            count[lane] += (
                number((a[lane] & magnitude) >= bound)
                + number((b[lane] & magnitude) >= bound)
                + number((c[lane] & magnitude) >= bound)
                + number((d[lane] & magnitude) >= bound)
            )
    for i in range(whole, len(spelled)):
        a = spelled[i]
        for lane in range(LANES):
            count[lane] += number((a[lane] & magnitude) >= trial[lane])
