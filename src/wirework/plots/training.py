"""The picture of a training run: losses and the share of nonzero weights over steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wirework.plots.style import save_figure

_LOSS, _VALIDATION, _DENSITY = "#1f6fb4", "#c2410c", "#6b7280"


def draw_training(rows: Sequence[Mapping[str, float]], path: Path) -> None:
    """Write a picture from metrics rows (`step`, `loss`, `density`, now and then `val_loss`)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    losses = figure.subplots()
    steps = [row["step"] for row in rows]
    losses.plot(steps, [row["loss"] for row in rows], color=_LOSS, lw=0.8, alpha=0.6,
                label="training loss")  # fmt: skip
    checked = [row for row in rows if "val_loss" in row]
    losses.plot([row["step"] for row in checked], [row["val_loss"] for row in checked],
                color=_VALIDATION, lw=1.8, marker="o", ms=3, label="validation loss")  # fmt: skip
    losses.set(xlabel="step", ylabel="loss (nats per token)")
    densities = losses.twinx()
    densities.plot(steps, [row["density"] for row in rows], color=_DENSITY, ls="--", lw=1.2,
                   label="share of weights not zero")  # fmt: skip
    densities.set(ylabel="share of weights not zero", yscale="log")
    lines = [*losses.get_lines(), *densities.get_lines()]
    losses.legend(
        lines, [str(line.get_label()) for line in lines], loc="upper right", frameon=False
    )
    losses.grid(alpha=0.2)
    save_figure(figure, path)
