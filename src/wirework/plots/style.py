"""What all pictures share: colours that colour-blind readers can tell apart, axes, saving.

Colours: Okabe and Ito's set, without yellow, which is too light for lines on white.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core import WireworkError
from wirework.core.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")

_DPI = 160


def colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def marker(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def dash(index: int) -> str:
    """Changes once the colours are used up, so that seven lines are no limit."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 1, 10, 100; where it spans little, some numbers between too."""
    from matplotlib.ticker import LogFormatter, StrMethodFormatter

    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))


def picture_kind(path: Path) -> str:
    """`svg` or `png`, as the name ends. Raises `picture-format` for any other ending."""
    kind = path.suffix.removeprefix(".").lower()
    if kind not in ("svg", "png"):
        raise WireworkError(
            "picture-format", f"a picture cannot be written as {path.name}",
            expected="a name that ends in .svg or .png", got=path.suffix or "no ending",
            hint=str(path.with_suffix(".svg")),
        )  # fmt: skip
    return kind


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as its name ends; equal figures give equal bytes. Raises `picture-format`."""
    import matplotlib as mpl

    kind = picture_kind(path)
    buffer = BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "wirework", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, metadata=metadata, dpi=_DPI)
    write_bytes(path, buffer.getvalue())
