"""Pictures: what is drawn stands in the file, equal data give equal bytes, formats are named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.plots import (
    Bar,
    FrontierPoint,
    SizeBand,
    SizeLoss,
    draw_frontier,
    draw_overlap,
    draw_size_loss,
    draw_size_loss_grid,
    draw_sizes_at_losses,
    draw_task_bars,
    draw_training,
)

CURVE = SizeLoss([0, 3, 40, 900], [0.69, 0.5, 0.12, 0.01], chosen=(31, 0.15))
OTHER = SizeLoss(np.array([1, 10]), np.array([0.6, 0.2]))
BAND = SizeBand([0.1, 0.2, 0.4], [90, 40, 9], [60, 30, 5], [130, 60, 12])
POINTS = [
    FrontierPoint("runs/sparse", 3.1, 12, 8, 20),
    FrontierPoint("runs/dense", 2.9, 240, 180, 300),
]
SHARES = [[1.0, 0.25, np.nan], [0.25, 1.0, 0.0], [np.nan, 0.0, 1.0]]
TASKS = {"quote": Bar(31, 20, 60), "bracket": Bar(0), "set_or_string": Bar(400, 300, 410)}
ROWS = [{"step": 1.0, "loss": 6.0, "density": 1.0}, {"step": 2.0, "loss": 5.0, "density": 0.1,
        "val_loss": 5.2}]  # fmt: skip

Draw = Callable[[Path], None]

PICTURES: dict[str, tuple[Draw, list[str]]] = {
    "one curve": (
        lambda path: draw_size_loss({"1e-3": CURVE}, path, target=0.15, title="quote"),
        ["edges", "task loss (nats)", "target 0.15", "guessing", "quote", "circuit that was kept"],
    ),
    "several curves": (
        lambda path: draw_size_loss({"1e-3": CURVE, "3e-3": OTHER}, path),
        ["1e-3", "3e-3"],
    ),
    "a panel for each task": (
        lambda path: draw_size_loss_grid(
            {f"task {i}": {"sparse": CURVE, "dense": OTHER} for i in range(5)}, path, target=0.15
        ),
        ["task 0", "task 4", "sparse", "dense", "edges", "task loss (nats)"],
    ),
    "frontier": (
        lambda path: draw_frontier(POINTS, path),
        ["runs/sparse", "runs/dense", "validation loss (nats per token)",
         "circuit size: geometric mean of edges + 1", "better"],
    ),
    "sizes at losses": (
        lambda path: draw_sizes_at_losses({"sparse": BAND, "dense": BAND}, path, target=0.15),
        ["sparse", "dense", "target task loss (nats)"],
    ),
    "bars": (
        lambda path: draw_task_bars({"edges": TASKS}, path, label="edges (median of 3 seeds)"),
        ["quote", "bracket", "set_or_string", "edges (median of 3 seeds)", "31", "400"],
    ),
    "bars side by side": (
        lambda path: draw_task_bars({"sparse": TASKS, "dense": {"quote": Bar(5.0)}}, path),
        ["sparse", "dense", "quote", "edges"],
    ),
    "overlap": (
        lambda path: draw_overlap(["quote", "bracket", "set"], SHARES, path),
        ["quote", "bracket", "set", "100", "25", "0", "shared nodes in %"],
    ),
    "training": (lambda path: draw_training(ROWS, path), ["training loss", "step"]),
}  # fmt: skip


def words(path: Path) -> set[str]:
    """The texts of an SVG."""
    return set(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_it_shows(name: str, tmp_path: Path) -> None:
    draw, expected = PICTURES[name]
    draw(tmp_path / "a.svg")
    draw(tmp_path / "b.svg")
    assert set(expected) <= words(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_picture_can_be_a_png(tmp_path: Path) -> None:
    draw_frontier(POINTS, tmp_path / "a.png")
    draw_frontier(POINTS, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=r"picture-format[\s\S]*frontier\.svg"):
        draw_frontier(POINTS, tmp_path / "frontier.bmp")


def test_more_lines_than_colours_stay_apart(tmp_path: Path) -> None:
    draw_size_loss({f"curve {i}": CURVE for i in range(12)}, tmp_path / "many.svg")
    strokes = re.findall(r'<path [^>]*clip-path[^>]*style="fill: none; ([^"]*)"',
                         (tmp_path / "many.svg").read_text())  # fmt: skip
    lines = [stroke for stroke in strokes if "stroke-width: 1.5" in stroke]
    assert len(lines) == len(set(lines)) == 12


def test_a_blank_is_left_where_two_circuits_are_empty(tmp_path: Path) -> None:
    draw_overlap(["a", "b", "c"], SHARES, tmp_path / "map.svg")
    assert "nan" not in words(tmp_path / "map.svg")
