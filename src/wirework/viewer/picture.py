"""The drawing of a circuit as a picture for papers: vector text, light theme, a legend."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.plots.style import save_figure
from wirework.tasks import Task
from wirework.viewer.drawing import draw
from wirework.viewer.examples import answer_sets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT, _WIRE = "#222222", "#8a8a8a", "#b9b9b9"
_POSITIVE, _NEGATIVE = "#0072B2", "#D55E00"
_HELPS, _HURTS = "#cfe5f3", "#fbdcc8"

_PITCH, _LEAST_PITCH, _MARGIN = 96.0, 66.0, 20.0
"""From column to column, and around everything; all lengths are in pixels of the drawing."""

_BOX_WIDTH, _BOX_HEIGHT, _ANSWER_WIDTH = 52.0, 22.0, 104.0
_HEAD, _FOOT = 56.0, 48.0
_PIXELS_PER_INCH = 96.0
_THINNEST, _THICKEST = 0.6, 4.0
_LEAST_POINTS, _GOOD_POINTS = 5.0, 7.0
"""Smaller letters cannot be read in print; columns move together for these."""

_TEXT, _SMALL = 11.0, 9.0
_LETTER = 0.54
"""Width of a letter by its size, about."""


def circuit_picture(
    circuit: Circuit,
    path: Path,
    *,
    labels: Mapping[str, str] | None = None,
    effects: Mapping[str, float] | None = None,
    width: float | None = None,
) -> float:
    """Draw a circuit and write it: see `draw_picture`. Raises what it raises, and what the task
    stored in the circuit raises where it does not fit the stored tokenizer."""
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    drawing = draw(circuit, answer_sets(task, encoded), labels or {})
    return draw_picture(drawing, path, title=task.name, labels=labels, effects=effects, width=width)


def draw_picture(
    drawing: Mapping[str, Any],
    path: Path,
    *,
    title: str = "",
    labels: Mapping[str, str] | None = None,
    effects: Mapping[str, float] | None = None,
    width: float | None = None,
) -> float:
    """Write a drawing (`viewer.drawing.draw`) as SVG or PNG; the size of its letters, in points.

    `labels`: name of a node -> what it tells, written under its box. `effects`: name -> change of
    the answer margin when it is cut: boxes that help are blue, those that hurt are orange, the
    stronger the larger. `width`: of the picture in inches, letters and all; None for letters of
    about 8 points. Raises `picture-format`, `picture-too-narrow`.
    """
    from matplotlib.figure import Figure

    pitch = _PITCH if width is None else _pitch(len(drawing["columns"]), width)
    sheet = _Sheet(drawing, labels or {}, effects or {}, title, pitch)
    inches = sheet.width / _PIXELS_PER_INCH if width is None else width
    points = 72 * inches / sheet.width
    if _TEXT * points < _LEAST_POINTS:
        least = sheet.width * _LEAST_POINTS / (72 * _TEXT)
        raise WireworkError(
            "picture-too-narrow", "letters of this picture could not be read in print",
            expected=f"at least {least:.1f} inches for a circuit this large",
            got=f"{inches:g} inches", hint=f"--width {math.ceil(10 * least) / 10:g}",
        )  # fmt: skip
    figure = Figure(figsize=(inches, inches * sheet.height / sheet.width))
    sheet.paint(figure, points)
    save_figure(figure, path)
    return _TEXT * points


def _pitch(columns: int, width: float) -> float:
    """As wide as letters of a good size leave room for."""
    room = 72 * width * _TEXT / _GOOD_POINTS - 2 * _MARGIN - _ANSWER_WIDTH
    return min(_PITCH, max(_LEAST_PITCH, room / max(1, columns - 1)))


class _Sheet:
    def __init__(
        self,
        drawing: Mapping[str, Any],
        labels: Mapping[str, str],
        effects: Mapping[str, float],
        title: str,
        pitch: float,
    ) -> None:
        self.pitch = pitch
        self.drawing = drawing
        self.labels = labels
        self.effects = effects
        self.title = title
        self.nodes: Sequence[Mapping[str, Any]] = drawing["nodes"]
        self.answers: Sequence[Mapping[str, Any]] = drawing["answers"]
        self.columns: Sequence[Mapping[str, Any]] = drawing["columns"]
        self.top = _HEAD + (_TEXT * 2 if title else 0)
        width = 2 * _MARGIN + pitch * (len(self.columns) - 1) + _ANSWER_WIDTH
        # Narrow circuits still need room for the legend.
        self.width = max(width, 620.0)
        self.height = self.top + float(drawing["height"]) + _FOOT + _MARGIN
        self.points = 1.0

    def paint(self, figure: Figure, points: float) -> None:
        self.points = points
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.height, 0)
        axes.axis("off")
        if self.title:
            self.text(axes, _MARGIN, _MARGIN, self.title, size=13, ha="left", weight="bold")
        self.headings(axes)
        for line in self.drawing["links"]:
            self.line(axes, line)
        strongest = max((abs(line["weight"]) for line in self.drawing["edges"]), default=0) or 1
        for line in sorted(self.drawing["edges"], key=lambda line: abs(line["weight"])):
            self.line(axes, line, abs(line["weight"]) / strongest)
        for index, node in enumerate(self.nodes):
            self.node(axes, index, node)
        for index, answer in enumerate(self.answers):
            self.answer(axes, len(self.nodes) + index, answer)
        self.legend(axes)

    def at(self, point: int) -> tuple[float, float]:
        column, y = self.drawing["points"][point]
        return _MARGIN + _BOX_WIDTH / 2 + self.pitch * column, self.top + y

    def half(self, point: int) -> float:
        """Half the width of what stands at a point; bends have none."""
        return _BOX_WIDTH / 2 if point < len(self.nodes) + len(self.answers) else 0.0

    def text(self, axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
        size = look.pop("size", _TEXT) * self.points
        style = {"ha": "center", "va": "center", "color": _INK, **look}
        # A dollar sign would begin a formula.
        axes.text(x, y, text, fontsize=size, parse_math=False, **style)

    def headings(self, axes: Axes) -> None:
        for column, heading in enumerate(self.columns):
            x = _MARGIN + _BOX_WIDTH / 2 + self.pitch * column
            if column == len(self.columns) - 1:
                x += (_ANSWER_WIDTH - _BOX_WIDTH) / 2
            layer = heading["layer"]
            self.text(axes, x, self.top - 34, heading["heading"], weight="bold")
            below = heading["word"] if layer is None else f"layer {layer}"
            self.text(axes, x, self.top - 19, below, size=_SMALL, color=_FAINT)

    def line(self, axes: Axes, line: Mapping[str, Any], share: float = 0.0) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Curve

        kind, weight = line["kind"], line["weight"]
        colour, width = _WIRE, 0.8
        dash: Any = "-"
        if kind in ("edge", "unembedding"):
            colour = _POSITIVE if weight > 0 else _NEGATIVE
            width = 1.2
        if kind == "edge":
            width = _THINNEST + (_THICKEST - _THINNEST) * math.sqrt(share)
        if kind == "steer":
            colour, dash = _FAINT, (0, (3, 2))
        corners: list[tuple[float, float]] = []
        codes: list[Any] = []
        for start, end in pairwise(line["route"]):
            (x0, y0), (x1, y1) = self.at(start), self.at(end)
            x0, x1 = x0 + self.half(start), x1 - self.half(end)
            bend = (x1 - x0) / 2
            corners += [(x0, y0), (x0 + bend, y0), (x1 - bend, y1), (x1, y1)]
            codes += [Curve.LINETO if codes else Curve.MOVETO, *[Curve.CURVE4] * 3]
        axes.add_patch(
            PathPatch(
                Curve(corners, codes),
                fill=False,
                edgecolor=colour,
                linestyle=dash,
                linewidth=width * self.points,
                alpha=0.85 if kind == "edge" else 0.7,
            )
        )

    def node(self, axes: Axes, index: int, node: Mapping[str, Any]) -> None:
        x, y = self.at(index)
        self.box(axes, x - _BOX_WIDTH / 2, y, _BOX_WIDTH, _BOX_HEIGHT, self.fill(node["name"]))
        self.text(axes, x, y, node["label"])
        label = self.labels.get(node["name"])
        if label:
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.75}
            shown = _cut(label, self.pitch - 2, _SMALL)
            self.text(axes, x, y + _BOX_HEIGHT / 2 + 6, shown, size=_SMALL, bbox=white)

    def answer(self, axes: Axes, index: int, answer: Mapping[str, Any]) -> None:
        x, y = self.at(index)
        left = x - _BOX_WIDTH / 2
        self.box(axes, left, y, _ANSWER_WIDTH, 36.0, "#f3f3f3")
        middle, room = left + _ANSWER_WIDTH / 2, _ANSWER_WIDTH - 8
        shown = _cut("  ".join(_visible(token) for token in answer["tokens"]), room, _SMALL)
        name = _cut(_visible(answer["name"]), room, _TEXT)
        self.text(axes, middle, y - 8, name, weight="bold")
        self.text(axes, middle, y + 8, shown, size=_SMALL)

    def box(self, axes: Axes, x: float, y: float, width: float, height: float, fill: str) -> None:
        from matplotlib.patches import FancyBboxPatch

        axes.add_patch(
            FancyBboxPatch(
                (x, y - height / 2),
                width,
                height,
                boxstyle="round,pad=0,rounding_size=5",
                facecolor=fill,
                edgecolor=_INK,
                linewidth=0.8 * self.points,
            )
        )

    def fill(self, name: str) -> str:
        """White to blue for what helps, white to orange for what hurts."""
        from matplotlib.colors import to_hex, to_rgb

        effect = self.effects.get(name, 0.0)
        largest = max((abs(value) for value in self.effects.values()), default=0.0)
        share = math.sqrt(abs(effect) / largest) if largest > 0 else 0.0
        full = to_rgb(_HELPS if effect < 0 else _HURTS)
        mixed = tuple(1 - share * (1 - part) for part in full)
        return str(to_hex((mixed[0], mixed[1], mixed[2])))

    def legend(self, axes: Axes) -> None:
        y, x = self.height - _MARGIN - _FOOT / 4, _MARGIN
        kinds = {line["kind"] for line in self.drawing["links"]}
        rows: list[tuple[str, str, float, Any]] = [
            ("weight above 0", _POSITIVE, 2.4, "-"),
            ("weight below 0", _NEGATIVE, 2.4, "-"),
        ]
        if kinds & {"residual", "embedding"}:
            rows.append(("residual channel", _WIRE, 1.6, "-"))
        if "steer" in kinds:
            rows.append(("steers attention", _FAINT, 1.2, (0, (3, 2))))
        for text, colour, width, dash in rows:
            axes.plot(
                [x, x + 24], [y, y], color=colour, linewidth=width * self.points, linestyle=dash
            )
            self.text(axes, x + 29, y, text, size=_SMALL, ha="left")
            x += 29 + 5.1 * len(text) + 18
        if self.effects:
            for text, colour in (("helps when kept", _HELPS), ("hurts", _HURTS)):
                self.box(axes, x, y, 16, 10, colour)
                self.text(axes, x + 21, y, text, size=_SMALL, ha="left")
                x += 21 + 5.1 * len(text) + 18


def _visible(text: str) -> str:
    """A text whose white space can be seen: `"\\n"`, and many spaces as their number."""
    plain = repr(text)[1:-1].replace("\\'", "'")
    return re.sub(" {3,}", lambda found: f"␣×{len(found[0])}", plain)


def _cut(text: str, room: float, size: float) -> str:
    """As much of a text as a line of this width takes."""
    most = max(1, int(room / (size * _LETTER)))
    return text if len(text) <= most else text[: most - 1] + "…"
