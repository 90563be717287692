"""Pictures of sparse probes: F1 by layer and k, features against sites, all about one neuron."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wirework.plots.style import colour, dash, marker, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FEATURES = 40
"""Rows of the heat map; more could not be read."""

_DARK = 0.6
_COLUMNS = 3
_LEVEL_SITES = 4
"""More names of sites than these are slanted."""

_APART = 3
_NAMED = 28
"""Letters of a feature's name that fit beside a map."""

_LONGEST_TOKEN, _LONGEST_BEFORE = 18, 60
_BLANKS = re.compile(" {2,}")


@dataclass(frozen=True)
class F1Line:
    """F1 at each site (n), with the ends of its interval where there is one."""

    f1: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class TopToken:
    """A token at which a neuron is very active: what stands before it, itself, its activation."""

    before: str
    token: str
    value: float
    positive: bool


def draw_f1_by_site(
    sites: Sequence[str],
    panels: Mapping[str, Mapping[str, F1Line]],
    path: Path,
    *,
    controls: Mapping[str, float] | None = None,
    control: str = "shuffled labels",
) -> None:
    """A panel for every feature; in it a line for every key, such as `k = 4`, over sites in the
    order of the layers.

    `controls`: the F1 of a control for every feature, to mark; `control`: its name.
    """
    from matplotlib.figure import Figure

    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    slanted = len(sites) > _LEVEL_SITES
    width = columns * max(2.6, 0.8 + 0.55 * len(sites)) + 1.6
    figure = Figure(figsize=(width, 0.6 + rows * (3.4 if slanted else 3.0)), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    places = np.arange(len(sites))
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        for index, (name, line) in enumerate(lines.items()):
            _line(axes, places, line, index, name)
        if controls is not None:
            axes.axhline(controls[title], color="#333333", lw=0.9, ls=":", label=control)
        axes.set_title(_short(title), fontsize=10, loc="left")
        axes.grid(alpha=0.25)
        axes.set_xticks(places, sites, fontsize=8, rotation=30 if slanted else 0,
                        ha="right" if slanted else "center")  # fmt: skip
        axes.set_xlim(-0.3, len(sites) - 0.7)
        axes.set_ylim(0, 1.02)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[: len(panels)][-columns:]:
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[::columns]:
        axes.set_ylabel("F1 on held-out documents", fontsize=9)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", frameon=False,
                  fontsize=9)  # fmt: skip
    save_figure(figure, path)


def _line(axes: Axes, places: NDArray[np.int64], line: F1Line, index: int, name: str) -> None:
    # Lines of one panel stand a little apart, so that their bars can be told.
    x = places + 0.06 * (index % _APART - _APART // 2)
    f1, shade = np.asarray(line.f1, dtype=float), colour(index)
    if line.low is not None and line.high is not None:
        ends = np.maximum(0, [f1 - line.low, line.high - f1])
        axes.errorbar(x, f1, yerr=ends, ls="", color=shade, elinewidth=1.2, capsize=2.5, zorder=2)
    axes.plot(x, f1, color=shade, ls=dash(index), marker=marker(index), ms=5, lw=1.6, label=name,
              clip_on=False, zorder=3)  # fmt: skip


def draw_feature_map(
    features: Sequence[str],
    sites: Sequence[str],
    f1: ArrayLike,
    path: Path,
    *,
    controls: Mapping[str, ArrayLike] | None = None,
    most: int = MOST_FEATURES,
) -> None:
    """`f1` (features, sites): the best single neuron's; NaN is left blank.

    `controls`: names of controls and their F1 (features), in columns of their own. Features stand
    in the order of how far their best F1 is above their highest control, below a row with the mean
    of all of them; where there are more than `most`, only the first of them are shown, and the
    foot says so.
    """
    from matplotlib.figure import Figure

    own = np.asarray(f1, dtype=float)
    assert own.shape == (len(features), len(sites))
    more = [np.asarray(values, dtype=float)[:, None] for values in (controls or {}).values()]
    every = np.hstack([own, *more])
    beaten = np.hstack([np.zeros((len(own), 1)), *more]).max(1)
    lead = np.nan_to_num(own, nan=-1.0).max(1) - beaten
    order = np.argsort(-lead, kind="stable")[:most]
    values = np.vstack([_means(every), every[order]])
    names = [f"mean of {len(features)}", *(_short(features[i]) for i in order)]
    heads = [*sites, *(controls or {})]
    figure = Figure(
        figsize=(3.6 + 0.62 * len(heads), 1.8 + 0.22 * len(names)), layout="constrained"
    )
    axes = figure.subplots()
    image = axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, column in zip(*np.nonzero(~np.isnan(values)), strict=True):
        value = values[row, column]
        axes.text(
            column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7,
            color="white" if value > _DARK else "black",
        )  # fmt: skip
    axes.set_xticks(range(len(heads)), heads, rotation=40, ha="left", rotation_mode="anchor",
                    fontsize=8)  # fmt: skip
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axhline(0.5, color="white", lw=4)
    for place in _layer_ends(sites):
        axes.axvline(place, color="white", lw=2)
    if controls:
        axes.axvline(len(sites) - 0.5, color="white", lw=6)
    bar = figure.colorbar(image, ax=axes, pad=0.03, aspect=30, fraction=0.06)
    bar.set_label("F1 of the best neuron on held-out documents (cells: %)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    if len(order) < len(features):
        what = "furthest above their controls" if controls else "best"
        axes.set_xlabel(f"the {len(order)} {what} of {len(features)} features", fontsize=8)
    save_figure(figure, path)


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the columns, without NaN; NaN for a column of nothing else."""
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(0), known.sum(0)
    means: NDArray[np.float64] = np.full(len(count), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def draw_neuron(
    values: ArrayLike,
    positive: ArrayLike,
    path: Path,
    *,
    feature: str,
    neuron: str,
    threshold: float | None = None,
    tokens: Sequence[TopToken] = (),
    off: bool = False,
    control: float | None = None,
) -> None:
    """Activations (n) of a neuron at tokens with and without a feature, `positive` (n).

    How often each value is seen in either class; precision against recall when it alone decides;
    and `tokens` as text. `threshold`: the activation at which a probe says yes. `off`: the neuron
    is low for the feature. `control`: F1 of a probe on the same neuron for shuffled labels.
    """
    from matplotlib.figure import Figure

    x, y = np.asarray(values, dtype=float), np.asarray(positive, dtype=bool)
    assert x.shape == y.shape and 0 < y.sum() < len(y), "tokens of both classes"
    rows = 2 if tokens else 1
    height = 3.4 + (0.5 + 0.2 * len(tokens) if tokens else 0)
    figure = Figure(figsize=(8.4, height), layout="constrained")
    ratios = [3.2, 0.5 + 0.2 * len(tokens)] if tokens else [1.0]
    grid = figure.add_gridspec(rows, 2, height_ratios=ratios)
    _histogram(figure.add_subplot(grid[0, 0]), x, y, feature, threshold)
    _precision_recall(figure.add_subplot(grid[0, 1]), -x if off else x, y,
                      None if threshold is None else -threshold if off else threshold,
                      control)  # fmt: skip
    if tokens:
        _top_tokens(figure.add_subplot(grid[1, :]), tokens, feature, off)
    figure.suptitle(f"{neuron} and {feature}", fontsize=11, x=0.01, ha="left")
    save_figure(figure, path)


def precision_recall(
    scores: NDArray[np.float64], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall of "score at least t" at every score t, from the highest t on."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    # Equal scores are told alike, so only the last of them is a place on the curve.
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return hits[last] / (last + 1), hits[last] / positive.sum()


# -- panels of the neuron page


def _histogram(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.bool_],
    feature: str,
    threshold: float | None,
) -> None:
    low, high = x.min(), x.max()
    bins = np.linspace(low, high if high > low else low + 1, 51).tolist()
    classes = (("without it", ~y, 1), (f"with {_short(feature)}", y, 0))
    for name, which, index in classes:
        shares = np.full(which.sum(), 1 / which.sum())
        axes.hist(
            x[which], bins, weights=shares, color=colour(index), alpha=0.35,
            label=f"{name} ({which.sum():,})", histtype="stepfilled",
        )  # fmt: skip
        axes.hist(x[which], bins, weights=shares, color=colour(index), lw=1.2, histtype="step")
    if threshold is not None:
        axes.axvline(threshold, color="#333333", lw=1.0, ls="--", label="the probe's threshold")
    axes.set_yscale("log")
    axes.set(xlabel="activation", ylabel="share of the class's tokens")
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8)
    axes.grid(alpha=0.2)


def _precision_recall(
    axes: Axes,
    scores: NDArray[np.float64],
    y: NDArray[np.bool_],
    threshold: float | None,
    control: float | None,
) -> None:
    precision, recall = precision_recall(scores, y)
    axes.step(recall, precision, where="post", color=colour(0), lw=1.8)
    axes.axhline(y.mean(), color="#333333", lw=0.9, ls=":", label=f"base rate {y.mean():.2g}")
    if threshold is not None:
        said = scores > threshold
        hits = (said & y).sum()
        at = hits / y.sum(), hits / max(1, said.sum())
        f1 = 2 * hits / (said.sum() + y.sum())
        axes.plot(*at, marker="o", ms=8, color=colour(1), ls="", clip_on=False, zorder=4,
                  label=f"the probe: F1 {f1:.2f}")  # fmt: skip
    if control is not None:
        axes.plot([], [], ls="", label=f"labels shuffled: F1 {control:.2f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=8, loc="lower left")
    axes.grid(alpha=0.2)


def _top_tokens(axes: Axes, tokens: Sequence[TopToken], feature: str, off: bool) -> None:
    axes.set_axis_off()
    axes.set_title(
        "where it is lowest" if off else "where it is most active", fontsize=9, loc="left"
    )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(tokens) - 0.4, -0.6)
    for row, found in enumerate(tokens):
        shade = colour(0 if found.positive else 1)
        said = f"has {_short(feature)}" if found.positive else "has it not"
        _word(axes, 0.05, row, f"{found.value:.3g}", ha="right")
        before = _BLANKS.sub(" ", _visible(found.before))[-_LONGEST_BEFORE:]
        _word(axes, 0.7, row, before, ha="right", color="#666666")
        token = _visible(found.token).replace(" ", "\N{MIDDLE DOT}")[:_LONGEST_TOKEN]
        _word(axes, 0.7, row, token, weight="bold", color=shade)
        _word(axes, 0.87, row, said, color=shade, family="sans-serif")


def _word(axes: Axes, x: float, row: int, text: str, **style: str) -> None:
    kept: dict[str, Any] = {"family": "monospace", "va": "center", **style}
    axes.text(x, row, text, fontsize=8, parse_math=False, **kept)


def _visible(text: str) -> str:
    """Ends of lines and tabs as signs, other letters without a shape as question marks."""
    signs = {
        "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
        "\t": "\N{RIGHTWARDS ARROW TO BAR}",
    }
    return "".join(signs.get(c, c if c.isprintable() else "?") for c in text)


def _layer_ends(sites: Sequence[str]) -> list[float]:
    """Between two sites whose names begin otherwise, as `0.mlp.out` and `1.attn.in` do."""
    heads = [site.partition(".")[0] for site in sites]
    return [i + 0.5 for i in range(len(heads) - 1) if heads[i] != heads[i + 1]]


def _short(name: str) -> str:
    return name if len(name) <= _NAMED else name[: _NAMED - 1] + "\N{HORIZONTAL ELLIPSIS}"
