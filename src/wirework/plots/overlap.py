"""How much the circuits of several tasks share: a square map of their Jaccard indices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from wirework.plots.style import save_figure

_DARK = 0.6


def draw_overlap(
    names: Sequence[str], shares: ArrayLike, path: Path, *, what: str = "nodes"
) -> None:
    """`shares` (n, n) in [0, 1]: what two circuits share ÷ what either has; NaN is left blank."""
    from matplotlib.figure import Figure

    values = np.asarray(shares, dtype=float)
    assert values.shape == (len(names), len(names))
    side = 0.42 * max(3, len(names))
    figure = Figure(figsize=(side + 3.6, side + 2.2), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues")
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        value = values[row, column]
        axes.text(
            column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8,
            color="white" if value > _DARK else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=9)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label(f"{what} in both ÷ {what} in either", fontsize=9)
    axes.set_title(f"shared {what} in %", fontsize=10)
    save_figure(figure, path)
