"""Heads that several planted models have."""

from __future__ import annotations

import math

import numpy as np

from wirework.core import Node
from wirework.planted.draft import Draft

LONGEST = 12
"""Positions on the circle."""

_SHARP = 52.0
"""Attention score of the right position less that of the opposite one, times one half."""


def attend_back(draft: Draft, head: int) -> None:
    """A head of layer 0 that looks one position back.

    Positions are points on a circle of twelve, concatenated; the query is the point of its own
    position turned back by one step, the key the point of its position.
    """
    turn = 2 * math.pi / LONGEST
    angles = turn * np.arange(LONGEST)
    assert draft.model.positions is not None
    for column, wave in enumerate((np.cos, np.sin)):
        for position, angle in enumerate(angles):
            draft.model.positions.data[position, column] = float(wave(angle))
    # The norm of a position makes its square 2, and d_head divides the score.
    size = math.sqrt(_SHARP * math.sqrt(draft.model.config.d_head) / 2)
    turned = ((math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn)))
    for row in range(2):
        query = draft.node(f"query {row}", "0.attn.q", head * 8 + row)
        key = draft.node(f"key {row}", "0.attn.k", head * 8 + row)
        draft.read_position(key, row, size)
        for column in range(2):
            draft.read_position(query, column, size * turned[row][column])


def look_up(draft: Draft, *, asked: int, told: int, kind: int, sharp: float = 4.0) -> Node:
    """A head of layer 1: the query reads residual channel `asked`, the key `told`, the value
    `kind`; so it copies the kind from where the two agree. Returns its value."""
    head = draft.head()
    place = draft.channel("attn.q", head)
    query = draft.node("query", "1.attn.q", place)
    key = draft.node("key", "1.attn.k", place)
    value = draft.node("value", "1.attn.v", draft.channel("attn.v", head))
    draft.wire(draft.node("read asked", "1.attn.in", asked), query, sharp)
    draft.wire(draft.node("read told", "1.attn.in", told), key, sharp)
    draft.wire(draft.node("read kind", "1.attn.in", kind), value, 1.0)
    return value
