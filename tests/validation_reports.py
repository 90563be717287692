"""Reports of validations that were never run, for pictures."""

from __future__ import annotations

from typing import Any

from wirework.core import Measure, Report

CURVES: dict[str, Any] = {
    "subset_random": {
        "rate": [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0],
        "share": [1.0, 0.99, 0.97, 0.96, 0.95, 0.98, 1.0],
        "low": [0.94, 0.93, 0.91, 0.9, 0.88, 0.93, 0.94],
        "high": [1.0, 1.0, 1.0, 0.99, 0.99, 1.0, 1.0],
        "worst_share": [1.0, 0.95, 0.9, 0.86, 0.84, 0.92, 1.0],
        "calibrated_share": [1.0] * 7,
        "loss": [0.01] * 7,
        "worst_loss": [0.05] * 7,
    },
    "subset_adversarial": {
        "budget": [1, 4, 16, 64],
        "share": [0.98, 0.95, 0.8, 0.55],
        "low": [0.9, 0.86, 0.7, 0.44],
        "high": [1.0, 0.98, 0.88, 0.66],
        "loss": [0.02, 0.1, 0.4, 1.2],
        "nodes": [["0.attn.out:3"], [], [], []],
    },
    "model_adversarial": {
        "budget": [1, 4, 16, 64],
        "share": [1.0, 0.99, 0.9, 0.7],
        "low": [0.94, 0.92, 0.81, 0.6],
        "high": [1.0, 1.0, 0.95, 0.79],
        "loss": [0.02, 0.05, 0.2, 0.8],
        "nodes": [[], [], [], []],
    },
    "interchange": {
        "model": {
            "rate": [0.0, 0.25, 0.5, 1.0],
            "share": [1.0, 0.97, 0.9, 0.88],
            "low": [0.94, 0.89, 0.8, 0.78],
            "high": [1.0, 0.99, 0.95, 0.94],
            "layers": {"layer": [0, "final"], "share": [0.9, 1.0]},
        },
        "circuit": {
            "rate": [0.0, 0.25, 0.5, 1.0],
            "share": [1.0, 0.99, 0.97, 0.95],
            "low": [0.94, 0.92, 0.89, 0.87],
            "high": [1.0, 1.0, 0.99, 0.98],
            "layers": {"layer": [0, "final"], "share": [0.9, 1.0]},
        },
    },
    "adversarial_inputs": {
        "changes": {
            "change": ["none", "other fillings", "more lines of the task",
                       "beginning of another template", "neutral lines", "closed string before",
                       "mark in a comment", "escaped mark in the string",
                       "other mark in the string", "longer string",
                       "names exchanged against the circuit", "names exchanged against the model"],
            "tried": [40, 120, 120, 120, 120, 120, 118, 118, 80, 120, 480, 480],
            "disagreed": [0, 1, 9, 0, 26, 3, 11, 14, 30, 2, 3, 1],
        },
        "examples": [],
    },
}  # fmt: skip

MEASURES = {
    "task_loss": Measure(0.012, 0.006, 0.02, 256, "lower", 0.15),
    "model_loss": Measure(0.038, 0.02, 0.05, 256, "lower"),
    "subset_random": Measure(0.95, 0.88, 0.99, 256, "higher", 0.9),
    "subset_adversarial@16": Measure(0.8, 0.7, 0.88, 64, "higher", 0.85),
    "control_loss:random": Measure(0.66, 0.5, 0.69, 40, "higher"),
    "control_loss:matched": Measure(0.61, 0.38, 0.69, 40, "higher"),
}


def report(verdict: str | None = "partly", *keys: str) -> Report:
    """All curves, or those of some keys with the measures of the same names."""
    if not keys:
        return Report("validation", MEASURES, verdict, {}, CURVES)
    measures = {name: MEASURES[name] for name in keys if name in MEASURES}
    return Report("validation", measures, verdict, {}, {k: CURVES[k] for k in keys if k in CURVES})
