"""A bar for every task, with its interval; several series stand beside each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wirework.plots.style import colour, save_figure


@dataclass(frozen=True)
class Bar:
    """A value, with the ends of its interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None


def draw_task_bars(
    series: Mapping[str, Mapping[str, Bar]], path: Path, *, label: str = "edges", log: bool = True
) -> None:
    """`series`: name -> task -> bar; a task may be missing in some. Tasks stand in rows.

    `label` names the horizontal axis; `log` shows values from 1 on in powers of ten.
    """
    from matplotlib.figure import Figure

    tasks = list(dict.fromkeys(task for bars in series.values() for task in bars))
    rows = np.arange(len(tasks))
    height = 0.8 / max(1, len(series))
    figure = Figure(
        figsize=(7, 1.5 + len(tasks) * max(0.34, 0.2 * len(series))), layout="constrained"
    )
    axes = figure.subplots()
    for index, (name, bars) in enumerate(series.items()):
        places = rows - 0.4 + height * (index + 0.5)
        found = [(place, bars[task]) for place, task in zip(places, tasks, strict=True)
                 if task in bars]  # fmt: skip
        axes.barh(
            [place for place, _ in found], [bar.value for _, bar in found], height=0.92 * height,
            color=colour(index), label=name,
        )  # fmt: skip
        _whiskers(axes.errorbar, [(p, b) for p, b in found if b.low is not None])
        if len(series) == 1:
            for place, bar in found:
                end = bar.value if bar.high is None else bar.high
                axes.annotate(
                    f"{bar.value:.3g}", (end, place), xytext=(5, 0), va="center", fontsize=8,
                    textcoords="offset points", color="#333333",
                )  # fmt: skip
    if log:
        axes.set_xscale("symlog", linthresh=1, linscale=0.4)
        axes.xaxis.set_major_formatter("{x:g}")
    # Room for the numbers behind the bars.
    ends = [
        b.value if b.high is None else b.high for bars in series.values() for b in bars.values()
    ]
    axes.set_xlim(0, max([1.0 if log else 1e-9, *ends]) * (3 if log else 1.15))
    axes.set_yticks(rows, tasks, fontsize=9)
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlabel(label)
    axes.grid(alpha=0.25, axis="x")
    axes.set_axisbelow(True)
    if len(series) > 1:
        figure.legend(loc="outside upper center", frameon=False, ncols=3, fontsize=9)
    save_figure(figure, path)


def _whiskers(draw: Callable[..., object], found: Sequence[tuple[float, Bar]]) -> None:
    if not found:
        return
    spread = [
        (max(0.0, bar.value - (bar.low or 0.0)), max(0.0, (bar.high or bar.value) - bar.value))
        for _, bar in found
    ]
    draw(
        [bar.value for _, bar in found], [place for place, _ in found],
        xerr=np.array(spread).T, ls="", color="#222222", capsize=2.5, elinewidth=1.0,
    )  # fmt: skip
