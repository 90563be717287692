"""Numbers as the page stores and shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable


def short(value: float) -> float | int | None:
    """Four significant digits; None, which JSON can say, for what is not finite."""
    if not math.isfinite(value):
        return None
    rounded = float(f"{value:.4g}")
    if math.isinf(rounded):
        return value
    whole = abs(rounded) < 1e5 and rounded == int(rounded)
    return int(rounded) if whole else rounded


def shorts(values: Iterable[float]) -> list[float | int | None]:
    return [short(value) for value in values]


def shown(value: float | None, digits: int = 3) -> str:
    """For people: three significant digits, a dash where there is no number."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}"


def share(value: float | None) -> str:
    """A share in percent; a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value * 100:.1f}%"
