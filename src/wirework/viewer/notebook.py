"""A circuit in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wirework.circuit import Circuit, Groups
from wirework.core import Report, WireworkError

if TYPE_CHECKING:
    from wirework.viewer.widget import CircuitWidget


def show(
    circuit: Circuit | Path | str,
    *,
    report: Report | None = None,
    evidence: Mapping[str, Any] | None = None,
    groups: Groups | None = None,
    examples: int = 12,
    height: int = 760,
) -> CircuitWidget:
    """The page of a circuit, or of the one in a `.circuit` file, in a cell of a notebook.

    `report`, `evidence`, `groups`, `examples`: as of `view`. `height`: of the cell, in pixels, at
    least 200. What is chosen in the page stands in the widget that is returned, and what is set
    there is shown in the page; see `CircuitWidget`. Needs the extra `notebook`. Raises
    `extra-missing`, and what `Circuit.load` and `render_page` raise.
    """
    if find_spec("anywidget") is None:
        raise WireworkError(
            "extra-missing", "the page in a notebook needs a library that is not installed",
            expected="the extra wirework[notebook]", got="no module anywidget",
            hint="pip install 'wirework[notebook]'",
        )  # fmt: skip
    from wirework.viewer.widget import CircuitWidget

    found = circuit if isinstance(circuit, Circuit) else Circuit.load(circuit)
    return CircuitWidget(
        found, report=report, evidence=evidence, groups=groups, examples=examples, height=height
    )
