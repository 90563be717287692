"""Causal attention with sinks: many queries at once, or one query over a cache.

Both give the same numbers to the last bit: scores add their products in the order of channels,
denominators and values in the order of keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from wirework.engine.cache import Cache
from wirework.engine.pointwise import list_active
from wirework.engine.scalars import exp
from wirework.engine.tiles import LANES, MANY, Floats


@dataclass(frozen=True, eq=False)
class Attended:
    """`values`: mixed values, tiles of n_head * d_head channels. `share`: how much of the
    attention stands on real keys, 1 without a sink, tiles of n_head channels. `weights` (B,
    n_head, T query, T key), or None where not asked for."""

    values: Floats
    share: Floats
    weights: Floats | None


def attend(
    q: Floats, k: Floats, v: Floats, shape: tuple[int, ...], n_head: int, sink: Floats | None,
    *, weights: bool = False, cache: Cache | None = None, layer: int = 0,
) -> Attended:  # fmt: skip
    """q, k, v: tiles of n_head * d_head channels, flat over heads; `shape` (B, T) of the prompts.

    softmax(q k / sqrt(d_head)) over keys up to the query; `sink` (n_head) adds exp(sink) to the
    denominator (weight_sparse_paper.md §1.1). With a `cache` (B = 1) the positions continue it:
    its keys come first, and new keys and values are written to it.
    """
    batch, length = shape
    values, share = np.zeros_like(q), np.zeros((len(q), n_head, LANES), q.dtype)
    kept = np.zeros((batch, n_head, length, length) if weights else (0, 0, 0, 0), q.dtype)
    logits = np.zeros(0 if sink is None else n_head, q.dtype)
    if sink is not None:
        logits[:] = sink
    old_keys, old_values = np.zeros((0, 0), q.dtype), np.zeros((0, 0, 0), q.dtype)
    start = 0
    if cache is not None:
        assert batch == 1 and not weights, "one stream"
        old_keys, old_values, start = cache.keys[layer], cache.values[layer], cache.length
    work = batch * n_head * length * (start + length)
    kernel = _attend_many if batch * n_head > 1 and work >= MANY else _attend_few
    kernel(q, k, v, batch, length, n_head, logits, old_keys, old_values, start,
           values, share, kept)  # fmt: skip
    return Attended(values, share, kept if weights else None)


@numba.njit(cache=True, parallel=True)
def _attend_many(
    q: Any, k: Any, v: Any, batch: int, length: int, n_head: int, sink: Any,
    old_keys: Any, old_values: Any, start: int, values: Any, share: Any, kept: Any,
) -> None:  # fmt: skip
    for pair in numba.prange(batch * n_head):
        _attend_head(q, k, v, pair // n_head, pair % n_head, length, n_head, sink,
                     old_keys, old_values, start, values, share, kept)  # fmt: skip


@numba.njit(cache=True)
def _attend_few(
    q: Any, k: Any, v: Any, batch: int, length: int, n_head: int, sink: Any,
    old_keys: Any, old_values: Any, start: int, values: Any, share: Any, kept: Any,
) -> None:  # fmt: skip
    for pair in range(batch * n_head):
        _attend_head(q, k, v, pair // n_head, pair % n_head, length, n_head, sink,
                     old_keys, old_values, start, values, share, kept)  # fmt: skip


@numba.njit(cache=True)
def _attend_head(
    q: Any, k: Any, v: Any, b: int, h: int, length: int, n_head: int, sink: Any,
    old_keys: Any, old_values: Any, start: int, values: Any, share: Any, kept: Any,
) -> None:  # fmt: skip
    """One head of one prompt, LANES queries at a time."""
    width = q.shape[1] // n_head
    base, first = h * width, b * length
    seen = start + length
    all_keys, all_values = np.empty((width, seen), q.dtype), np.empty((width, seen), q.dtype)
    _lift(k, base, first, length, all_keys, start)
    _lift(v, base, first, length, all_values, start)
    if len(old_keys) > 0:
        for i in range(width):
            for s in range(start):
                all_keys[i, s], all_values[i, s] = old_keys[base + i, s], old_values[s, i, h]
            for s in range(start, seen):
                old_keys[base + i, s], old_values[s, i, h] = all_keys[i, s], all_values[i, s]
    key_of, value_of = _nonzeros(all_keys), _nonzeros(all_values)
    score = np.empty((start + length, LANES), q.dtype)
    query, scale = np.zeros((width, LANES), q.dtype), q.dtype.type(1 / math.sqrt(width))
    sinks = np.empty(LANES if len(sink) > 0 else 0, q.dtype)
    for lane in range(len(sinks)):
        sinks[lane] = sink[h]
    out = np.empty((width, LANES), q.dtype)
    real, inverse = np.empty(LANES, q.dtype), np.empty(LANES, q.dtype)
    for block in range(0, length, LANES):
        count = min(LANES, length - block)
        _lift(q, base, first + block, count, query, 0)
        for i in range(width):
            for lane in range(LANES):
                query[i, lane] *= scale
        row = score[: start + block + count]
        _score(query, key_of, start + block, row)
        _soften(row, sinks, real, inverse)
        _mix(row, value_of, out)
        for lane in range(count):
            n = first + block + lane
            share[n // LANES, h, n % LANES] = real[lane] * inverse[lane]
            if len(kept) > 0:
                for s in range(block + lane + 1):
                    kept[b, h, block + lane, s] = row[s, lane] * inverse[lane]
        for i in range(width):
            for lane in range(LANES):
                out[i, lane] *= inverse[lane]
        _drop(out, count, values, base, first + block)


@numba.njit(cache=True)
def _lift(tiles: Any, base: int, first: int, length: int, lifted: Any, at: int) -> None:
    """Tiles -> (channels, positions): channels from `base` on, `length` positions from `first`,
    which go to columns from `at` on."""
    done = 0
    while done < length:
        tile, lane = (first + done) // LANES, (first + done) % LANES
        count = min(LANES - lane, length - done)
        for i in range(len(lifted)):
            for n in range(count):
                lifted[i, at + done + n] = tiles[tile, base + i, lane + n]
        done += count


@numba.njit(cache=True)
def _drop(lifted: Any, length: int, tiles: Any, base: int, first: int) -> None:
    """The way back of `_lift`, from column 0."""
    done = 0
    while done < length:
        tile, lane = (first + done) // LANES, (first + done) % LANES
        count = min(LANES - lane, length - done)
        for i in range(len(lifted)):
            for n in range(count):
                tiles[tile, base + i, lane + n] = lifted[i, done + n]
        done += count


@numba.njit(cache=True)
def _nonzeros(channels: Any) -> Any:
    """AbsTopK silences most channels: at every position how many are left, which, how large."""
    width, length = channels.shape
    count = np.zeros(length, np.int64)
    place = np.empty((length, width + 1), np.int64)
    value = np.empty((length, width + 1), channels.dtype)
    for i in range(width):
        for s in range(length):
            # Written in any case, counted where it is not zero: there is nothing to predict.
            place[s, count[s]], value[s, count[s]] = i, channels[i, s]
            count[s] += channels[i, s] != 0
    return count, place, value


@numba.njit(cache=True)
def _score(query: Any, key_of: Any, position: int, score: Any) -> None:
    """q k of every key and lane; keys behind a lane's own position get -inf."""
    count, place, value = key_of
    for s in range(len(score)):
        row = score[s]
        row[:] = 0
        for j in range(count[s]):
            channel, key = query[place[s, j]], value[s, j]
            for lane in range(LANES):
                row[lane] += channel[lane] * key
        if s > position:
            row[: s - position] = -np.inf


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _soften(score: Any, sink: Any, real: Any, inverse: Any) -> None:
    """Scores (keys, lanes) -> exp(score - highest). `real`: their sum over the keys; `inverse`:
    1 / (sum + what the sink takes). `sink`: its logit in every lane, or nothing."""
    lanes = len(real)
    highest = np.empty_like(real)
    for lane in range(lanes):
        highest[lane] = sink[lane] if len(sink) > 0 else -np.inf
    for s in range(len(score)):
        row = score[s]
        for lane in range(lanes):
            highest[lane] = max(highest[lane], row[lane])
    real[:] = 0
    for s in range(len(score)):
        row = score[s]
        for lane in range(lanes):
            row[lane] = exp(row[lane] - highest[lane])
            real[lane] += row[lane]
    for lane in range(lanes):
        total = real[lane]
        if len(sink) > 0:
            total += exp(sink[lane] - highest[lane])
        inverse[lane] = score.dtype.type(1) / total


@numba.njit(cache=True)
def _mix(score: Any, value_of: Any, out: Any) -> None:
    """Sum of score times value, not yet divided, (channels, lanes)."""
    count, place, value = value_of
    out[:] = 0
    for s in range(len(score)):
        row = score[s]
        for j in range(count[s]):
            channel, factor = out[place[s, j]], value[s, j]
            for lane in range(LANES):
                channel[lane] += row[lane] * factor


@numba.njit(cache=True, nogil=True)
def attend_one(
    q: Any, k: Any, v: Any, keys: Any, values: Any, position: int, sink: Any,
    score: Any, turned: Any, active: Any, mixed: Any, share: Any,
) -> None:  # fmt: skip
    """One query at `position`, over its cache (one layer), to which its k and v are added.

    Here the lanes are heads. Fills `mixed` (n_head * d_head) and `share` (n_head); `score`
    (n_head, capacity), `turned` (capacity, n_head) and `active` are buffers.
    """
    n_head, seen = len(share), position + 1
    width = len(q) // n_head
    scale = q.dtype.type(1 / math.sqrt(width))
    for place in range(list_active(k, active)):
        # What AbsTopK silenced is zero in the cache from the beginning.
        keys[active[place], position] = k[active[place]]
    count, place = list_active(q, active), 0
    for h in range(n_head):
        row = score[h]
        row[:seen] = 0
        while place < count and active[place] < (h + 1) * width:
            entry, source = q[active[place]] * scale, keys[active[place]]
            for s in range(seen):
                row[s] += entry * source[s]
            place += 1
        for s in range(seen):
            turned[s, h] = row[s]
        for i in range(width):
            values[position, i, h] = v[h * width + i]
    real, inverse = share, np.empty_like(share)
    _soften(turned[:seen], sink, real, inverse)
    out = np.zeros((width, n_head), q.dtype)
    _mix_heads(turned[:seen], values, out)
    for h in range(n_head):
        share[h] = real[h] * inverse[h]
        for i in range(width):
            mixed[h * width + i] = out[i, h] * inverse[h]


@numba.njit(cache=True, nogil=True)
def _mix_heads(score: Any, values: Any, out: Any) -> None:
    """`_mix` with heads as lanes; four keys at a time, added one after the other."""
    whole = len(score) // 4 * 4
    for s in range(0, whole, 4):
        a, b, c, d = score[s], score[s + 1], score[s + 2], score[s + 3]
        for i in range(len(out)):
            total, va, vb, vc, vd = (
                out[i], values[s, i], values[s + 1, i], values[s + 2, i], values[s + 3, i]
            )  # fmt: skip
            for h in range(len(total)):
                two = (total[h] + a[h] * va[h]) + b[h] * vb[h]
                total[h] = (two + c[h] * vc[h]) + d[h] * vd[h]
    for s in range(whole, len(score)):
        a = score[s]
        for i in range(len(out)):
            total, va = out[i], values[s, i]
            for h in range(len(total)):
                total[h] += a[h] * va[h]
