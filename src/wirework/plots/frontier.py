"""Capability against size: one point for every model; and size at every target loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from wirework.plots.style import colour, dash, marker, plain_numbers, save_figure


@dataclass(frozen=True)
class FrontierPoint:
    """One model: validation loss in nats per token, edges with the ends of their interval."""

    name: str
    val_loss: float
    edges: float
    low: float
    high: float


@dataclass(frozen=True)
class SizeBand:
    """Edges at each target loss, (n) each, with the ends of their interval."""

    losses: ArrayLike
    edges: ArrayLike
    low: ArrayLike
    high: ArrayLike


def draw_frontier(points: Sequence[FrontierPoint], path: Path) -> None:
    """Down and left is better (weight_sparse_paper.md §4.1, Fig 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 4.8), layout="constrained")
    axes = figure.subplots()
    for index, point in enumerate(points):
        spread = [[max(0.0, point.edges - point.low)], [max(0.0, point.high - point.edges)]]
        axes.errorbar(
            [point.val_loss], [point.edges], yerr=spread, ls="", marker=marker(index), ms=8,
            color=colour(index), capsize=4, elinewidth=1.3, label=point.name,
        )  # fmt: skip
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.margins(x=0.15, y=0.15)
    axes.set(
        xlabel="validation loss (nats per token)",
        ylabel="circuit size: geometric mean of edges + 1",
    )
    axes.annotate(
        "better", xy=(0.03, 0.03), xytext=(0.15, 0.13), xycoords="axes fraction", color="#666666",
        fontsize=9, ha="center", arrowprops={"arrowstyle": "->", "color": "#666666"},
    )  # fmt: skip
    axes.grid(alpha=0.2, which="both")
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    save_figure(figure, path)


def draw_sizes_at_losses(
    bands: Mapping[str, SizeBand], path: Path, *, target: float | None = None
) -> None:
    """Edges at every target loss, a line with its band for every model (Fig 2)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 4.8), layout="constrained")
    axes = figure.subplots()
    for index, (name, band) in enumerate(bands.items()):
        losses = np.asarray(band.losses, dtype=float)
        axes.fill_between(losses, band.low, band.high, color=colour(index), alpha=0.18, lw=0)
        axes.plot(losses, band.edges, color=colour(index), ls=dash(index), lw=1.8, label=name)
    if target is not None:
        axes.axvline(target, color="#333333", lw=0.9, ls="--", label=f"target {target:g}")
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    axes.set(xlabel="target task loss (nats)", ylabel="circuit size: geometric mean of edges + 1")
    axes.grid(alpha=0.2, which="both")
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    save_figure(figure, path)
