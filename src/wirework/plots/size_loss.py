"""Size of a circuit against the loss it reaches: one line for every search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from wirework.plots.style import colour, dash, marker, save_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_COLUMNS = 4
_CHOSEN = "circuit that was kept"
_GUESSING = float(np.log(2))


@dataclass(frozen=True)
class SizeLoss:
    """`edges` (n) and task loss in nats (n) of circuits of rising size; `chosen`: the edges and
    the loss of the circuit that was kept in the end."""

    edges: ArrayLike
    losses: ArrayLike
    chosen: tuple[float, float] | None = None


def draw_size_loss(
    curves: Mapping[str, SizeLoss], path: Path, *, target: float | None = None, title: str = ""
) -> None:
    """One picture, one line for every curve, named by its key; `target`: a loss to mark."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, (name, curve) in enumerate(curves.items()):
        _line(axes, index, curve, name)
    _dress(axes, target)
    axes.set(xlabel="edges", ylabel="task loss (nats)", title=title)
    _legend(axes.legend, [axes], loc="best", ncols=1)
    save_figure(figure, path)


def draw_size_loss_grid(
    panels: Mapping[str, Mapping[str, SizeLoss]], path: Path, *, target: float | None = None
) -> None:
    """A panel for every task, all on the same scales; lines of one key look alike in all."""
    from matplotlib.figure import Figure

    keys = list(dict.fromkeys(key for curves in panels.values() for key in curves))
    columns = min(_COLUMNS, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure = Figure(figsize=(max(4.2, 2.9 * columns), 2.5 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (task, curves) in zip(grid, panels.items(), strict=False):
        for key, curve in curves.items():
            _line(axes, keys.index(key), curve, key)
        _dress(axes, target)
        axes.set_title(task, fontsize=9)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("edges", fontsize=10)
    figure.supylabel("task loss (nats)", fontsize=10)
    if panels:
        _legend(figure.legend, grid[: len(panels)], loc="outside upper center", ncols=4)
    save_figure(figure, path)


def _legend(place: Callable[..., object], panels: Iterable[Axes], *, loc: str, ncols: int) -> None:
    """Each label of the panels once."""
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    place(list(found.values()), list(found), loc=loc, ncols=ncols, frameon=False, fontsize=9)


def _line(axes: Axes, index: int, curve: SizeLoss, name: str) -> None:
    edges, losses = np.asarray(curve.edges, dtype=float), np.asarray(curve.losses, dtype=float)
    order = np.argsort(edges, kind="stable")
    axes.plot(
        edges[order], losses[order], color=colour(index), ls=dash(index), lw=1.5,
        marker=marker(index), ms=3.5, label=name,
    )  # fmt: skip
    if curve.chosen is not None:
        axes.plot(
            [curve.chosen[0]], [curve.chosen[1]], ls="", marker="*", ms=13, mec="white", mew=0.8,
            color=colour(index), zorder=5, label=_CHOSEN,
        )  # fmt: skip


def _dress(axes: Axes, target: float | None) -> None:
    """A logarithmic axis that has a place for 0 edges; marks of the target and of guessing."""
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(left=-0.1)
    axes.axhline(_GUESSING, color="#999999", lw=0.9, ls=":", label="guessing")
    if target is not None:
        axes.axhline(target, color="#333333", lw=0.9, ls="--", label=f"target {target:g}")
    axes.set_ylim(bottom=-0.02)  # a marker at 0 is seen whole
    axes.grid(alpha=0.2)
