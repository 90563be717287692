"""A validation report as the page shows it: what was missed first, groups, pictures, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from wirework.core import Measure, Report, WireworkError
from wirework.viewer.numbers import short, shown

_GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = MappingProxyType(
    {
        "fit": (
            "Does the circuit do the task?",
            ("task_loss", "task_loss_raw", "task_accuracy", "model_loss", "model_accuracy",
             "equivalence", "faithfulness", "margin_correlation"),
        ),
        "controls": ("Would any circuit of its size?", ("sufficiency", "necessity")),
        "exactness": (
            "Does it compute what the masked model computes?", ("exactness", "exactness_float32"),
        ),
        "subsets": (
            "Does it matter what the rest is?",
            ("subset_random", "subset_dropped", "needed_in_model", "subset_adversarial",
             "model_adversarial"),
        ),
        "mechanism": (
            "Does it work as the whole model does?",
            ("fvu", "sign_changes", "attention_distance", "norm_shift", "interchange",
             "binarised_loss", "binarised_accuracy", "binarised_nodes", "free_norm_loss",
             "frozen_norm_loss", "zero_loss", "mean_loss"),
        ),
        "hypotheses": (
            "Is each claim more than chance?",
            ("p", "margin_above", "independence", "minimal_nodes", "minimal_edges"),
        ),
        "nulls": (
            "Could the same search fit anything?", ("null_edges", "null_ratio", "control_loss"),
        ),
        "inputs": (
            "Do other prompts tell the two apart?",
            ("disagreement_found", "attacked_accuracy", "model_attacked_accuracy"),
        ),
        "exhaustive": (
            "Is there any prompt of a finite domain that does?", ("exhaustive_agreement",),
        ),
        "stability": (
            "Would another search find it?", ("runs_reached", "core_nodes", "core_share"),
        ),
    }
)  # fmt: skip
"""Group -> the question that it answers, and its measures: their names up to a `:` or `@`."""

_OTHER = ("other", "Everything else that was measured")
_SMALLEST = 1e-18


def report_panel(report: Report) -> dict[str, Any]:
    """`measures` in the report's order, each with its `group`, whether it was missed, what that
    means (`says`) and a `picture`; the `groups` that have any; the `curves` behind them.

    Raises `report-curves-malformed` for details that no validation writes.
    """
    told = _told(report)
    measures = [
        {**_measure(name, measure), **told.get(name, {"says": "", "decisive": False})}
        for name, measure in report.measures.items()
    ]
    asks = {name: asks for name, (asks, _) in _GROUPS.items()} | dict([_OTHER])
    here = {measure["group"] for measure in measures}
    return {
        "kind": report.kind,
        "verdict": report.verdict,
        "passed": report.passed,
        "measures": measures,
        "groups": [{"name": name, "asks": asks[name]} for name in asks if name in here],
        "curves": _curves(report),
    }


def _told(report: Report) -> dict[str, dict[str, Any]]:
    """By measure, what the verdict says about missing it."""
    try:
        missed = report.details.get("verdict", {}).get("missed", [])
        return {
            str(one["measure"]): {"says": str(one["says"]), "decisive": bool(one["decisive"])}
            for one in missed
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise _malformed("verdict", error) from None


def _measure(name: str, measure: Measure) -> dict[str, Any]:
    interval = ""
    if measure.low is not None and measure.high is not None:
        interval = f"{shown(measure.low)} to {shown(measure.high)}"
    bar = ""
    if measure.bar is not None:
        sign = {"higher": "≥ ", "lower": "≤ ", "neither": ""}[measure.better]
        bar = f"{sign}{measure.bar:g}"
    return {
        "name": name,
        "group": _group(name),
        "value": shown(measure.value),
        "interval": interval,
        "n": "" if measure.n is None else f"{measure.n:,}",
        "bar": bar,
        "passed": measure.passed,
        "note": measure.note,
        "picture": _picture(name, measure),
    }


def _group(name: str) -> str:
    base = name.partition(":")[0].partition("@")[0]
    return next((group for group, (_, names) in _GROUPS.items() if base in names), _OTHER[0])


def _picture(name: str, measure: Measure) -> dict[str, Any] | None:
    """Value, interval and bar as shares of an axis, whose ends are named; None for no number."""
    parts = {
        "value": measure.value, "low": measure.low, "high": measure.high, "bar": measure.bar,
    }  # fmt: skip
    numbers = [number for number in parts.values() if number is not None]
    if not all(math.isfinite(number) for number in numbers):
        return None
    largest, smallest = max(numbers), min(numbers)
    tiny = smallest >= 0 and 0 < largest < 1e-3
    if tiny:
        first, last = _SMALLEST, 1.0
    else:
        shares = measure.better != "lower" and "loss" not in name and 0 <= smallest <= largest <= 1
        first = min(0.0, 1.1 * smallest)
        last = 1.0 if shares or first == largest else 1.15 * max(largest, 0.0)
    return {
        **{
            part: None if number is None else _between(number, first, last, tiny)
            for part, number in parts.items()
        },
        "axis": [shown(first), shown(last)],
        "better": measure.better,
    }


def _between(number: float, first: float, last: float, logarithms: bool) -> float | int | None:
    """Where a number stands between two others, in [0, 1]."""
    if logarithms:
        number, first, last = (math.log10(max(one, _SMALLEST)) for one in (number, first, last))
    return short(min(1.0, max(0.0, (number - first) / (last - first))))


# -- curves


def _curves(report: Report) -> list[dict[str, Any]]:
    found = []
    for key, draw in (
        ("subset_random", _random),
        ("subset_adversarial", _worst),
        ("interchange", _interchange),
        ("adversarial_inputs", _inputs),
    ):
        if key in report.details:
            try:
                found.append(draw(report))
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise _malformed(key, error) from None
    return [*found, *_losses(report)]


def _malformed(part: str, error: Exception) -> WireworkError:
    return WireworkError(
        "report-curves-malformed", f"the report's {part} is not what a validation writes",
        expected="a report of `wirework validate`",
        got=f"{type(error).__name__}: {error}"[:200],
    )  # fmt: skip


def _random(report: Report) -> dict[str, Any]:
    curve = report.details["subset_random"]
    lines = [_line("mean over draws", curve)]
    if "worst_share" in curve:
        lines.append({"name": "worst draw", "values": _numbers(curve["worst_share"])})
    return _chart(
        report, "Other nodes restored at random", "share of the other nodes restored",
        curve["rate"], lines, "subset_random",
    )  # fmt: skip


def _worst(report: Report) -> dict[str, Any]:
    names = {"subset_adversarial": "circuit, nodes restored", "model_adversarial": "model, cut"}
    lines = [
        _line(label, report.details[name])
        for name, label in names.items()
        if name in report.details
    ]
    budgets = report.details["subset_adversarial"]["budget"]
    chart = _chart(
        report, "The worst nodes chosen", "nodes that the adversary may choose", budgets, lines,
        f"subset_adversarial@{budgets[-1]}",
    )  # fmt: skip
    return {**chart, "log": True}


def _interchange(report: Report) -> dict[str, Any]:
    curves = report.details["interchange"]
    names = {"model": "in the whole model", "circuit": "in the circuit"}
    lines = [_line(label, curves[name]) for name, label in names.items() if name in curves]
    (rates, *_) = [curves[name]["rate"] for name in names if name in curves]
    return _chart(
        report, "Activations interchanged", "share of its nodes that run as in the other", rates,
        lines, "interchange",
    )  # fmt: skip


def _line(name: str, curve: Mapping[str, Any]) -> dict[str, Any]:
    line = {"name": name, "values": _numbers(curve["share"])}
    if "low" in curve:
        line |= {"low": _numbers(curve["low"]), "high": _numbers(curve["high"])}
    return line


def _chart(
    report: Report, title: str, x: str, at: Sequence[float], lines: list[dict[str, Any]],
    measure: str,
) -> dict[str, Any]:  # fmt: skip
    """Shares of answers that stay, over `at`; the axis begins where there is something to see."""
    places = _numbers(at)
    rows = [line[part] for line in lines for part in ("values", "low", "high") if part in line]
    if not places or any(len(row) != len(places) for row in rows):
        raise ValueError("curves of unequal lengths")
    lowest = min(value for row in rows for value in row)
    bar = report.measures[measure].bar if measure in report.measures else None
    return {
        "kind": "lines",
        "title": title,
        "x": x,
        "y": "share of answers that stay",
        "at": places,
        "from": min(0.9, math.floor(10 * lowest) / 10),
        "to": 1,
        "log": False,
        "bar": bar,
        "lines": lines,
    }


def _inputs(report: Report) -> dict[str, Any]:
    table = report.details["adversarial_inputs"]["changes"]
    rows = []
    for change, tried, apart in zip(
        table["change"], _numbers(table["tried"]), _numbers(table["disagreed"]), strict=True
    ):
        value = short(apart / tried if tried else 0.0)
        rows.append({"name": str(change), "value": value, "text": f"{apart:g} of {tried:g}"})
    return _bars("Prompts changed, right answer kept",
                 "share of prompts: circuit and model disagree", rows, None)  # fmt: skip


def _losses(report: Report) -> list[dict[str, Any]]:
    names = {
        "task_loss": "the circuit", "model_loss": "the whole model",
        "control_loss:random": "random circuits", "control_loss:matched": "as active circuits",
    }  # fmt: skip
    if "control_loss:random" not in report.measures:
        return []
    found = {name: report.measures[name] for name in names if name in report.measures}
    rows = [
        {
            "name": names[name],
            "value": short(measure.value),
            "low": None if measure.low is None else short(measure.low),
            "high": None if measure.high is None else short(measure.high),
            "text": shown(measure.value),
        }
        for name, measure in found.items()
    ]
    bar = found["task_loss"].bar if "task_loss" in found else None
    return [_bars("Losses beside random circuits", "two-sided loss (nats)", rows, bar)]


def _bars(title: str, x: str, rows: list[dict[str, Any]], bar: float | None) -> dict[str, Any]:
    ends = [row.get(part) for row in rows for part in ("value", "high")]
    most = max([end for end in [*ends, bar] if end is not None], default=0)
    return {"kind": "rows", "title": title, "x": x, "rows": rows, "bar": bar, "to": most or 1}


def _numbers(values: Sequence[Any]) -> list[float | int]:
    found = []
    for value in values:
        number = short(float(value))
        if number is None:
            raise ValueError("a curve with a gap")
        found.append(number)
    return found
