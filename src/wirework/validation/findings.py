"""What a group of tests found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from wirework.core import Measure


@dataclass(frozen=True)
class Findings:
    """`measures` under their names, without bars; `details`: curves and tables as JSON values."""

    measures: Mapping[str, Measure] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __or__(self, other: Self) -> Self:
        both = (self.measures.keys() & other.measures) | (self.details.keys() & other.details)
        assert not both, f"found twice: {sorted(both)}"
        measures = {**self.measures, **other.measures}
        return type(self)(measures, {**self.details, **other.details})
