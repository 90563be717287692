"""Layered drawing of a graph: few crossings (Sugiyama), straight wires, no overlaps."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_TRIES, _STEPS_TRIED = 48, 40_000
"""At most so many orders are tried, and fewer of a large drawing: so many steps in all."""

_AT_ONCE = 512
_SWEEPS = 24
_WIRE_PULL = 6.0
"""How much more a wire between two bends wants to be level than a line between two boxes."""


@dataclass(frozen=True)
class Line:
    """One line to draw, from box `source` to box `target`, which stands in a later column.

    `wire`: lines of one wire run on one track. It passes through the boxes that name the wire.
    `direct`: runs straight to its target, behind what stands between, and takes no space there.
    """

    source: int
    target: int
    wire: Hashable | None = None
    direct: bool = False


@dataclass(frozen=True)
class Box:
    """Something to place: its column, counted from 0, its height, and the wires through it.

    `below`: more space that it takes under itself; its centre, where lines end, stays.
    """

    column: int
    height: float
    wires: frozenset[Hashable] = frozenset()
    below: float = 0.0


@dataclass(frozen=True)
class Layout:
    """Points are the boxes in their order, then the bends.

    `columns`, `y`: of every point; y is a centre, the topmost edge is 0 and the lowest `height`.
    `routes`: the points that each line runs through, from its source to its target.
    """

    columns: list[int]
    y: list[float]
    routes: list[list[int]]
    height: float


def place(boxes: Sequence[Box], lines: Sequence[Line], *, bend_height: float = 9.0) -> Layout:
    """Heights and routes; equal input gives equal output. Every line must point to the right.

    Lines that pass a column bend there, at a point that takes `bend_height` of space, so they
    don't run behind boxes. Units are those of `Box.height`.
    """
    columns, routes = _routes(boxes, lines)
    bent = [route for route, line in zip(routes, lines, strict=True) if not line.direct]
    steps = sorted({step for route in bent for step in pairwise(route)})
    order = _order(columns, steps)
    bends = len(columns) - len(boxes)
    above = np.array([box.height / 2 for box in boxes] + [bend_height / 2] * bends)
    below = above + np.array([box.below for box in boxes] + [0.0] * bends)
    y = _heights(order, steps, above, below, len(boxes))
    if len(y):
        y -= (y - above).min()
    height = float(np.max(y + below, initial=0.0))
    return Layout(columns, [float(value) for value in y], routes, height)


def _routes(boxes: Sequence[Box], lines: Sequence[Line]) -> tuple[list[int], list[list[int]]]:
    """Column of every point, and the points of every line."""
    columns = [box.column for box in boxes]
    tracks = {(box.column, wire): i for i, box in enumerate(boxes) for wire in box.wires}
    routes = []
    for number, line in enumerate(lines):
        route = [line.source]
        assert columns[line.source] < columns[line.target], "lines run to the right"
        if line.direct:
            routes.append([line.source, line.target])
            continue
        for column in range(columns[line.source] + 1, columns[line.target]):
            track = (column, ("line", number) if line.wire is None else line.wire)
            if track not in tracks:
                tracks[track] = len(columns)
                columns.append(column)
            route.append(tracks[track])
        routes.append([*route, line.target])
    return columns, routes


def _order(columns: Sequence[int], steps: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The points of every column from top to bottom, with few crossings."""
    random = np.random.default_rng(0)
    count = len(columns)
    ends = np.array(steps, dtype=np.int64).reshape(-1, 2)
    left = np.array([columns[source] for source in ends[:, 0]], dtype=np.int64)
    best, least = np.zeros(count), np.inf
    # The result depends on how the points are numbered.
    for attempt in range(max(1, min(_TRIES, _STEPS_TRIED // max(1, len(steps))))):
        numbering = random.permutation(count) if attempt else np.arange(count)
        places = _sugiyama(columns, ends, numbering)
        crossings = _crossings(places, ends, left)
        if crossings < least:
            best, least = places, crossings
    order: list[list[int]] = [[] for _ in range(max(columns, default=-1) + 1)]
    for point in sorted(range(count), key=lambda point: (best[point], point)):
        order[columns[point]].append(point)
    return order


def _sugiyama(
    columns: Sequence[int], ends: NDArray[np.int64], numbering: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A place of every point within its column, with the points numbered anew for the search."""
    import igraph

    layers = np.empty(len(columns), dtype=np.int64)
    layers[numbering] = columns
    graph = igraph.Graph(n=len(columns), edges=numbering[ends].tolist(), directed=True)
    found = graph.layout_sugiyama(layers=layers.tolist(), maxiter=100)
    return np.array([found[int(number)][0] for number in numbering], dtype=np.float64)


def _crossings(
    places: NDArray[np.float64], ends: NDArray[np.int64], left: NDArray[np.int64]
) -> int:
    total = 0
    for column in np.unique(left):
        begin, end = places[ends[left == column]].T
        for first in range(0, len(begin), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            apart = (begin[some, None] - begin) * (end[some, None] - end)
            total += int((apart < 0).sum())
    return total // 2


def _heights(
    order: Sequence[Sequence[int]],
    steps: Sequence[tuple[int, int]],
    above: NDArray[np.float64],
    below: NDArray[np.float64],
    n_boxes: int,
) -> NDArray[np.float64]:
    """Centres that keep the order and the distances, with neighbours as level as they can be."""
    before: list[list[tuple[int, float]]] = [[] for _ in above]
    after: list[list[tuple[int, float]]] = [[] for _ in above]
    for source, target in steps:
        bends = (source >= n_boxes) + (target >= n_boxes)
        pull = _WIRE_PULL**bends
        before[target].append((source, pull))
        after[source].append((target, pull))
    y = np.zeros(len(above))
    offsets = []
    for column in order:
        gaps = [0.0, *(below[a] + above[b] for a, b in pairwise(column))]
        offsets.append(np.cumsum(gaps[: len(column)]))
        y[list(column)] = offsets[-1] - np.mean(offsets[-1]) if column else 0
    both = [near + far for near, far in zip(before, after, strict=True)]
    for sweep in range(_SWEEPS):
        neighbours = both if sweep >= _SWEEPS // 2 else (after if sweep % 2 else before)
        columns = range(len(order))
        for index in reversed(columns) if sweep % 2 else columns:
            y[list(order[index])] = _settle(order[index], offsets[index], neighbours, y)
    return y


def _settle(
    column: Sequence[int],
    offsets: NDArray[np.float64],
    neighbours: Sequence[Sequence[tuple[int, float]]],
    y: NDArray[np.float64],
) -> NDArray[np.float64]:
    """New centres of one column: each as near as it can be to the mean of its neighbours."""
    wanted, weights = [], []
    for point in column:
        pulls = neighbours[point]
        weight = sum(pull for _, pull in pulls)
        mean = sum(y[other] * pull for other, pull in pulls) / weight if pulls else y[point]
        wanted.append(mean)
        weights.append(weight or 0.01)
    return _rising(np.array(wanted) - offsets, np.array(weights)) + offsets


def _rising(wanted: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The never-falling numbers nearest to `wanted` in weighted squares (pool adjacent)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(wanted, weights, strict=True):
        pool = (float(value), float(weight), 1)
        while pools and pools[-1][0] > pool[0]:
            last = pools.pop()
            total = last[1] + pool[1]
            mean = (last[0] * last[1] + pool[0] * pool[1]) / total
            pool = (mean, total, last[2] + pool[2])
        pools.append(pool)
    return np.concatenate([np.full(count, mean) for mean, _, count in pools] or [np.zeros(0)])
