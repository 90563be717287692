"""The one shape of every answer: named measures, an optional verdict, provenance."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from wirework.core.errors import WireworkError, unknown_choice
from wirework.core.files import read_json, write_text
from wirework.core.strict_json import number, strict

SCHEMA = 1
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Measure:
    """One number with its interval, its sample size and its direction.

    `value`: NaN where there is none. `low`, `high`: ends of the interval (95% unless the report
    says otherwise), None if there is none, for which NaN may be given. `n`: observations behind
    it. `bar`: the value it must reach, None if nothing is asked.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    better: Better = "neither"
    bar: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        assert self.bar is None or not math.isnan(self.bar), "NaN is no bar"
        for end in ("low", "high"):
            value = getattr(self, end)
            if value is not None and math.isnan(value):
                object.__setattr__(self, end, None)

    @property
    def passed(self) -> bool | None:
        """Whether `value` reaches `bar`; None without a bar or a direction. NaN never passes."""
        if self.bar is None or self.better == "neither":
            return None
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        """Strict JSON: null for a value that is NaN, "Infinity" and "-Infinity" for infinities."""
        values: dict[str, Any] = strict({**asdict(self), "passed": self.passed})
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Measure:
        """Raises `KeyError`, `TypeError` or `ValueError` for anything but a measure."""
        fields = {name: one for name, one in values.items() if name != "passed"}
        fields["value"] = number(fields["value"])
        for end in ("low", "high", "bar"):
            found = number(fields.get(end))
            fields[end] = None if math.isnan(found) else found
        return cls(**fields)


@dataclass(frozen=True)
class Report:
    """Measures under their names (design: one meaning each), with where they came from.

    `details`: curves and tables behind the measures, as JSON values; what `strict` writes for NaN
    and infinities in them is not read back.
    """

    kind: str
    measures: Mapping[str, Measure]
    verdict: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measure:
        if name not in self.measures:
            raise unknown_choice("measure-unknown", "measure", name, self.measures)
        return self.measures[name]

    @property
    def passed(self) -> bool:
        """No measure missed its bar."""
        return all(measure.passed is not False for measure in self.measures.values())

    def require(self, **bars: float) -> Report:
        """Return the report if each named measure reaches its bar, else raise `bar-missed`."""
        missed = []
        for name, bar in bars.items():
            measure = self[name]
            if measure.better == "neither":
                raise WireworkError(
                    "measure-undirected", f"{name} has no better side, so it cannot be required"
                )
            good = measure.value >= bar if measure.better == "higher" else measure.value <= bar
            if not good:
                sign = ">=" if measure.better == "higher" else "<="
                missed.append((f"{name} {sign} {bar:g}", f"{name} = {measure.value:.4g}"))
        if missed:
            raise WireworkError(
                "bar-missed",
                f"{len(missed)} of {len(bars)} required measures missed the bar",
                expected=", ".join(want for want, _ in missed),
                got=", ".join(have for _, have in missed),
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """Strict JSON, as `Measure.to_json`."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "verdict": self.verdict,
            "measures": {name: measure.to_json() for name, measure in self.measures.items()},
            "provenance": strict(self.provenance),
            **({"details": strict(self.details)} if self.details else {}),
        }

    def save(self, path: Path | str) -> None:
        text = json.dumps(self.to_json(), indent=1, allow_nan=False)
        write_text(Path(path), text + "\n")

    @classmethod
    def load(cls, path: Path | str) -> Report:
        """Raises `file-missing`, `file-damaged`, `report-foreign`."""
        value = read_json(Path(path))
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise WireworkError(
                "report-foreign", f"{path} is not a wirework report", expected=f"schema {SCHEMA}"
            )
        try:
            measures = {
                name: Measure.from_json(fields) for name, fields in value["measures"].items()
            }
            details = dict(value.get("details", {}))
            return cls(value["kind"], measures, value["verdict"], value["provenance"], details)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WireworkError(
                "report-foreign",
                f"{path} lacks a part of a wirework report or holds another",
                expected=f"kind, verdict, provenance and measures of schema {SCHEMA}",
                got=str(error),
            ) from None

    def __str__(self) -> str:
        lines = [f"{self.kind} report" + (f": {self.verdict}" if self.verdict else "")]
        width = max((len(name) for name in self.measures), default=0)
        marks = {True: "passed", False: "MISSED", None: ""}
        for name, m in self.measures.items():
            has_interval = m.low is not None and m.high is not None
            interval = f"[{m.low:.3g}, {m.high:.3g}]" if has_interval else ""
            count = "" if m.n is None else f"n={m.n}"
            bar = "" if m.bar is None else f"bar {m.bar:g} {marks[m.passed]}"
            line = f"  {name:<{width}}  {m.value:>9.4g}  {interval:<18} {count:<8} {bar}"
            lines.append(line.rstrip())
        return "\n".join(lines)
