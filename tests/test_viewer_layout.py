"""The layered layout: nothing overlaps, lines run column by column, few of them cross."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.viewer.layout import Box, Layout, Line, place

BEND = 9.0


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[Box], list[Line]]:
    """Random boxes in up to six columns, some on wires, with lines that point to the right."""
    columns = draw(st.lists(st.integers(0, 5), min_size=1, max_size=14))
    boxes: list[Box] = []
    for column in columns:
        # At most one box of a column stands on a wire, as residual channels do.
        taken = {wire for box in boxes if box.column == column for wire in box.wires}
        wire = draw(st.sampled_from([None, *({1, 2, 3} - taken)]))
        height = draw(st.floats(1, 60))
        wires: frozenset[object] = frozenset() if wire is None else frozenset([wire])
        boxes.append(Box(column, height, wires, draw(st.sampled_from([0.0, 0.0, 13.0]))))
    pairs = [
        (a, b)
        for a, b in combinations(sorted(range(len(boxes)), key=lambda i: columns[i]), 2)
        if columns[a] < columns[b]
    ]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []
    lines = []
    for a, b in chosen:
        shared = sorted(boxes[a].wires & boxes[b].wires, key=str)
        straight = not shared and draw(st.integers(0, 5)) == 0
        lines.append(Line(a, b, shared[0] if shared else None, straight))
    return boxes, lines


def crossings(layout: Layout, lines: list[Line]) -> int:
    steps = {step for route in layout.routes for step in pairwise(route)}
    return sum(
        (layout.y[a] - layout.y[c]) * (layout.y[b] - layout.y[d]) < 0
        for (a, b), (c, d) in combinations(steps, 2)
        if layout.columns[a] == layout.columns[c]
    )


@given(drawings())
def test_points_of_a_column_keep_their_distance(drawing: tuple[list[Box], list[Line]]) -> None:
    boxes, lines = drawing
    layout = place(boxes, lines, bend_height=BEND)
    bends = len(layout.y) - len(boxes)
    heights = [box.height for box in boxes] + [BEND] * bends
    room = [box.below for box in boxes] + [0.0] * bends
    for column in set(layout.columns):
        here = [i for i, other in enumerate(layout.columns) if other == column]
        for above, below in pairwise(sorted(here, key=lambda i: layout.y[i])):
            distance = layout.y[below] - layout.y[above]
            assert distance >= (heights[above] + heights[below]) / 2 + room[above] - 1e-6
    edges = [(y - h / 2, y + h / 2 + r) for y, h, r in zip(layout.y, heights, room, strict=True)]
    assert min(low for low, _ in edges) == pytest.approx(0, abs=1e-6)
    assert max(high for _, high in edges) == pytest.approx(layout.height)


@given(drawings())
def test_routes_run_from_column_to_column(drawing: tuple[list[Box], list[Line]]) -> None:
    boxes, lines = drawing
    layout = place(boxes, lines)
    assert len(layout.routes) == len(lines)
    for line, route in zip(lines, layout.routes, strict=True):
        assert (route[0], route[-1]) == (line.source, line.target)
        first, last = boxes[line.source].column, boxes[line.target].column
        if line.direct:
            assert route == [line.source, line.target]
            continue
        assert [layout.columns[point] for point in route] == list(range(first, last + 1))


@given(drawings())
def test_a_wire_has_one_track_and_other_lines_have_their_own(
    drawing: tuple[list[Box], list[Line]],
) -> None:
    boxes, lines = drawing
    layout = place(boxes, lines)
    passed: dict[int, set[object]] = {}
    for number, (line, route) in enumerate(zip(lines, layout.routes, strict=True)):
        for point in route[1:-1]:
            passed.setdefault(point, set()).add(number if line.wire is None else ("w", line.wire))
            assert point >= len(boxes) or line.wire in boxes[point].wires
    assert all(len(who) == 1 for who in passed.values())
    tracks = [(layout.columns[point], who) for point, names in passed.items() for who in names]
    assert len(tracks) == len(set(tracks))


@given(drawings())
def test_equal_input_gives_equal_drawings(drawing: tuple[list[Box], list[Line]]) -> None:
    assert place(*drawing) == place(*drawing)


def test_a_wire_runs_through_the_boxes_that_name_it() -> None:
    on_wire = frozenset(["c"])
    boxes = [Box(0, 30, on_wire), Box(1, 30, on_wire), Box(1, 30), Box(3, 30, on_wire)]
    layout = place(boxes, [Line(0, 3, "c"), Line(0, 2)])
    assert layout.routes[0][:2] == [0, 1] and layout.routes[0][-1] == 3
    assert len(layout.y) == len(boxes) + 1, "one bend, in the third column"


def test_what_can_be_drawn_without_crossings_is() -> None:
    """A ladder whose rungs are given in a random order."""
    random = np.random.default_rng(0)
    for _ in range(5):
        shuffled = [random.permutation(6) for _ in range(4)]
        boxes = [Box(column, 30) for column in range(4) for _ in range(6)]
        rungs = [[6 * column + int(i) for i in order] for column, order in enumerate(shuffled)]
        lines = [
            Line(source, target)
            for here, there in pairwise(rungs)
            for source, target in zip(here, there, strict=True)
        ]
        layout = place(boxes, lines)
        assert crossings(layout, lines) == 0
        for line in lines:
            assert layout.y[line.source] == pytest.approx(layout.y[line.target], abs=1.0)


def test_nothing_to_draw_is_no_error() -> None:
    assert place([], []) == Layout([], [], [], 0.0)
    assert place([Box(2, 10)], []).height == 10
