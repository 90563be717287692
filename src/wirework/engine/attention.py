"""Causal attention with sinks, one head and one query at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from wirework.engine.sparse import Floats


@dataclass(frozen=True, eq=False)
class Attended:
    """`values` (B, T, n_head * d_head): mixed values. `share` (B, T, n_head): how much of the
    attention stands on real keys, 1 without a sink. `weights` (B, n_head, T query, T key), or
    None where not asked for."""

    values: Floats
    share: Floats
    weights: Floats | None


def attend(
    q: Floats, k: Floats, v: Floats, n_head: int, sink: Floats | None, *, weights: bool = False
) -> Attended:
    """q, k, v (B, T, n_head * d_head), each flat over heads.

    softmax(q k / sqrt(d_head)) over keys up to the query; `sink` (n_head) adds exp(sink) to the
    denominator (weight_sparse_paper.md §1.1).
    """
    batch, length, _ = q.shape
    values = np.empty_like(q)
    share = np.empty((batch, length, n_head), dtype=q.dtype)
    shape = (batch, n_head, length, length) if weights else (0, 0, 0, 0)
    kept = np.zeros(shape, dtype=q.dtype)
    no_sink = sink is None
    logits = np.zeros(n_head, dtype=q.dtype) if sink is None else sink.astype(q.dtype)
    _attend(q, k, v, logits, no_sink, values, share, kept)
    return Attended(values, share, kept if weights else None)


@numba.njit(cache=True)
def _attend(
    q: Any, k: Any, v: Any, sink: Any, no_sink: bool, values: Any, share: Any, kept: Any
) -> None:
    batch, length, flat = q.shape
    n_head = len(sink)
    width = flat // n_head
    number = q.dtype.type
    scale = number(1 / math.sqrt(width))
    keys = np.empty((width, length), q.dtype)
    score = np.empty(length, q.dtype)
    for b in range(batch):
        for h in range(n_head):
            base = h * width
            for s in range(length):
                for i in range(width):
                    keys[i, s] = k[b, s, base + i]
            for t in range(length):
                score[: t + 1] = number(0)
                for i in range(width):
                    entry = q[b, t, base + i] * scale
                    # AbsTopK silences most channels of a query.
                    if entry != number(0):
                        for s in range(t + 1):
                            score[s] += entry * keys[i, s]
                highest = score[0] if no_sink else max(sink[h], score[0])
                for s in range(1, t + 1):
                    highest = max(highest, score[s])
                real = number(0)
                for s in range(t + 1):
                    score[s] = math.exp(score[s] - highest)
                    real += score[s]
                total = real if no_sink else real + math.exp(sink[h] - highest)
                share[b, t, h] = real / total
                values[b, t, base : base + width] = number(0)
                for s in range(t + 1):
                    weight = score[s] / total
                    if len(kept) > 0:
                        kept[b, h, t, s] = weight
                    for i in range(width):
                        values[b, t, base + i] += weight * v[b, s, base + i]
