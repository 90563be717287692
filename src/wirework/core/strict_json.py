"""Values as strict JSON, which knows neither NaN nor infinities, and numbers read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def strict(value: Any) -> Any:
    """The same value with None for NaN, "Infinity" and "-Infinity" for infinities, lists for
    tuples: `float` in Python and `Number` in JavaScript read these texts."""
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {name: strict(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [strict(one) for one in value]
    return value


def number(value: Any) -> float:
    """A number as `strict` writes it. Raises `ValueError` for anything else."""
    if value is None:
        return math.nan
    if value in ("Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value
