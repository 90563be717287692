"""The curves of a validation report, and its badge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirework.core import Report, WireworkError
from wirework.plots.style import colour, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOSSES = {
    "task_loss": "the circuit",
    "model_loss": "the whole model",
    "control_loss:random": "random circuits",
    "control_loss:matched": "as active circuits",
}
_BADGES: Mapping[str | None, tuple[str, str, str]] = {
    "faithful": ("#0072B2", "#ffffff", "\N{CHECK MARK}"),
    "partly": ("#E69F00", "#222222", "\N{ALMOST EQUAL TO}"),
    "unfaithful": ("#B84A00", "#ffffff", "\N{MULTIPLICATION X}"),
}
"""Verdict -> background, letters (contrast 4.5 or more), and a sign for who sees no colour."""

_NO_VERDICT = ("#666666", "#ffffff", "")


def draw_validation(report: Report, path: Path, *, title: str = "") -> None:
    """A panel for each of what the report has: subsets restored at random, the worst ones, the
    interchange of activations, losses beside those of random circuits, changed prompts.

    Raises `curves-missing` where it has none of them, and `picture-format`.
    """
    from matplotlib.figure import Figure

    panels = [
        (heading, draw)
        for key, heading, draw in _PANELS
        if key in report.details or key in report.measures
    ]
    if not panels:
        raise WireworkError(
            "curves-missing",
            "this report has no curves",
            expected="details of a validation, such as subset_random",
            got=", ".join(report.details) or "no details",
        )
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(0.4 + 4.4 * columns, 0.4 + 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (heading, draw) in zip(grid, panels, strict=False):
        axes.set_title(heading, fontsize=10, loc="left")
        axes.grid(alpha=0.2)
        axes.set_axisbelow(True)
        draw(axes, report)
    for axes in grid[len(panels) :]:
        axes.remove()
    if title:
        figure.suptitle(title, fontsize=11)
    save_figure(figure, path)


def badge(report: Report, *, task: str = "") -> str:
    """An SVG of one line: the task's name, the verdict, how many of the bars asked were passed."""
    back, letters, sign = _BADGES.get(report.verdict, _NO_VERDICT)
    asked = [measure.passed for measure in report.measures.values() if measure.passed is not None]
    bars = f"{sum(asked)}/{len(asked)}"
    left = task or report.kind
    right = " ".join(part for part in (sign, report.verdict or "no verdict", bars) if part)
    first, second = (round(_width(text) + 16) for text in (left, right))
    label = escape(f"{left}: {report.verdict or 'no verdict'}, {bars} bars passed")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="22" '
        f'role="img" aria-label="{label}">'
        f"<title>{label}</title>"
        f'<rect width="{first + second}" height="22" rx="4" fill="{back}"/>'
        f'<path d="M4 0h{first - 4}v22H4a4 4 0 0 1-4-4V4a4 4 0 0 1 4-4z" fill="#444444"/>'
        f'<g font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">'
        f"{_text(left, first / 2, first - 16, '#ffffff')}"
        f"{_text(right, first + second / 2, second - 16, letters)}</g></svg>\n"
    )


def _text(text: str, middle: float, width: int, fill: str) -> str:
    place = f'x="{middle:g}" y="15" textLength="{width}"'
    return f'<text {place} fill="{fill}">{escape(text)}</text>'


def _width(text: str) -> float:
    """About how wide 11 pixels high letters run."""
    narrow, wide = "fijlrtI.,:;'|!()[]/ ", "mwMW@%"
    return sum(4.4 if c in narrow else 10 if c in wide else 6.8 for c in text)


# -- panels


def _random(axes: Axes, report: Report) -> None:
    curve = report.details["subset_random"]
    _band(axes, curve, "rate", 0, "mean, 95% interval")
    if "worst_share" in curve:
        axes.plot(curve["rate"], curve["worst_share"], color=colour(0), ls=":", label="worst draw")
    axes.set_xlabel("share of the other nodes restored")
    _shares(axes, report, "subset_random")


def _worst(axes: Axes, report: Report) -> None:
    from matplotlib.ticker import NullLocator

    names = {"subset_adversarial": "circuit, nodes restored", "model_adversarial": "model, cut"}
    for index, (name, label) in enumerate(names.items()):
        if name in report.details:
            _band(axes, report.details[name], "budget", index, label)
    budgets = report.details["subset_adversarial"]["budget"]
    axes.set_xscale("log", base=2)
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("nodes that the adversary may choose")
    bars = [f"subset_adversarial@{budget}" for budget in budgets]
    _shares(axes, report, *bars)


def _interchange(axes: Axes, report: Report) -> None:
    curves = report.details["interchange"]
    labels = {"model": "in the whole model", "circuit": "in the circuit"}
    for index, (name, label) in enumerate(labels.items()):
        if name in curves:
            _band(axes, curves[name], "rate", index, label)
    axes.set_xlabel("share of its nodes that run as in the other")
    _shares(axes, report, "interchange")


def _band(axes: Axes, curve: Mapping[str, Any], x: str, index: int, label: str) -> None:
    axes.plot(
        curve[x], curve["share"], color=colour(index), ls="-" if index == 0 else "--",
        marker="os"[index % 2], ms=4, lw=1.8, label=label, clip_on=False,
    )  # fmt: skip
    if "low" in curve:
        axes.fill_between(
            curve[x], curve["low"], curve["high"], color=colour(index), alpha=0.18, lw=0
        )


def _shares(axes: Axes, report: Report, *names: str) -> None:
    """A vertical axis of shares, with the bar that is asked of a measure."""
    bars = {report.measures[name].bar for name in names if name in report.measures} - {None}
    for bar in sorted(bars, key=str):
        axes.axhline(bar or 0.0, color="#333333", lw=0.9, ls="--", label=f"bar {bar:g}")
    low = min(0.9, floor(10 * axes.dataLim.y0) / 10)
    axes.set_ylim(low - 0.02 * (1 - low), 1 + 0.02 * (1 - low))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("share of answers that stay")
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)


def _losses(axes: Axes, report: Report) -> None:
    names = [name for name in _LOSSES if name in report.measures]
    for row, name in enumerate(names):
        measure = report.measures[name]
        low = measure.value if measure.low is None else measure.low
        high = measure.value if measure.high is None else measure.high
        shade = colour(0 if name.endswith("_loss") else 1)
        axes.plot([low, high], [row, row], color=shade, lw=2.2, solid_capstyle="butt")
        axes.plot([measure.value], [row], color=shade, marker="o", ms=6)
        _named(axes, row, f"{_LOSSES[name]}: {measure.value:.3g}")
    bar = report.measures["task_loss"].bar if "task_loss" in names else None
    if bar is not None:
        axes.axvline(bar, color="#333333", lw=0.9, ls="--", label=f"target {bar:g}")
        axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)
    _rows(axes, len(names))
    axes.set_xlim(left=0)
    axes.set_xlabel("two-sided loss (nats)")


def _inputs(axes: Axes, report: Report) -> None:
    table = report.details["adversarial_inputs"]["changes"]
    shares = [
        parted / tried if tried else 0.0
        for parted, tried in zip(table["disagreed"], table["tried"], strict=True)
    ]
    axes.barh(range(len(shares)), shares, height=0.26, color=colour(0))
    for row, change in enumerate(table["change"]):
        _named(axes, row, f"{change}: {table['disagreed'][row]} of {table['tried'][row]}")
    _rows(axes, len(shares))
    axes.set_xlim(0, max([0.1, *shares]) * 1.08)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("share of prompts: circuit and model disagree")


def _named(axes: Axes, row: int, text: str) -> None:
    """Say above a row what it is."""
    axes.annotate(
        text, (0, row - 0.14), xytext=(3, 1), fontsize=7.5, color="#333333", va="bottom",
        xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85},
    )  # fmt: skip


def _rows(axes: Axes, count: int) -> None:
    """Rows from the top; each is named within the picture."""
    axes.set_yticks([])
    axes.set_ylim(count - 0.6, -0.9)


_PANELS: Sequence[tuple[str, str, Callable[[Axes, Report], None]]] = (
    ("subset_random", "Other nodes restored at random", _random),
    ("subset_adversarial", "The worst nodes chosen", _worst),
    ("interchange", "Activations interchanged", _interchange),
    ("control_loss:random", "Losses beside random circuits", _losses),
    ("adversarial_inputs", "Prompts changed, right answer kept", _inputs),
)
"""What a panel needs of the report, its heading, who draws it."""
