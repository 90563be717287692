"""How well a circuit does the task, and how much of the model's answer it accounts for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import TaskScore, score_of
from wirework.circuit import Calibration
from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.core.stats import bootstrap_interval, share_interval
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.subject import Subject


def fit_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`task_*`, `model_*` and `faithfulness` (design §4) on `report`.

    Intervals of means: bootstrap over pairs, whole templates at a time where there are several.
    """
    alone, whole = subject.circuit_margins(), subject.margins(None)
    nothing = subject.margins({site: np.zeros_like(kept) for site, kept in subject.keep.items()})
    scores = {
        "task_loss": score_of(alone, subject.report, subject.circuit.calibration),
        "task_loss_raw": score_of(alone, subject.report, Calibration()),
        "model_loss": score_of(whole, subject.report, Calibration()),
    }
    notes = {
        "task_loss": "Two-sided loss in nats of the circuit alone, calibrated; guessing costs 0.69",
        "task_loss_raw": "The same before calibration",
        "model_loss": "Two-sided loss in nats of the whole model, as it is",
    }
    found: dict[str, Measure] = {}
    for name, score in scores.items():
        losses = _per_pair(score.losses)
        low, high = _interval(subject, losses, seed)
        found[name] = Measure(score.loss, low, high, len(losses), better="lower", note=notes[name])
    found["task_accuracy"] = _accuracy(
        scores["task_loss"], "Share of prompts that the circuit alone answers right"
    )
    found["model_accuracy"] = _accuracy(
        scores["model_loss"], "Share of prompts that the whole model answers right"
    )
    three = [_per_pair(values.numpy()) for values in (alone, nothing, whole)]
    found["faithfulness"] = _faithfulness(subject, np.stack(three, axis=1), seed)
    return Findings(found)


def fit_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    return 3 * len(subject.report) / config.pairs


def _per_pair(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the two sides of every pair."""
    mean: NDArray[np.float64] = rows.reshape(2, -1).mean(axis=0)
    return mean


def _interval(subject: Subject, pairs: NDArray[np.float64], seed: int) -> tuple[float, float]:
    return bootstrap_interval(pairs, _ratio if pairs.ndim > 1 else None,
                              clusters=_clusters(subject), seed=seed)  # fmt: skip


def _clusters(subject: Subject) -> list[int] | None:
    labels = [int(label) for label in subject.templates]
    return labels if len(set(labels)) > 1 else None


def _accuracy(score: TaskScore, note: str) -> Measure:
    hits, n = int((score.margins > 0).sum()), len(score.margins)
    low, high = share_interval(hits, n)
    return Measure(hits / n, low, high, n, better="higher", note=note)


def _ratio(rows: NDArray[np.float64]) -> float:
    """(m(C) - m(∅)) / (m(M) - m(∅)) of rows (n, 3) of C, ∅, M; NaN where M does nothing."""
    circuit, nothing, model = rows.mean(axis=0)
    return float((circuit - nothing) / (model - nothing)) if model != nothing else float("nan")


def _faithfulness(subject: Subject, rows: NDArray[np.float64], seed: int) -> Measure:
    low, high = _interval(subject, rows, seed)
    return Measure(
        _ratio(rows),
        low,
        high,
        len(rows),
        better="higher",
        note="The circuit's mean answer margin as a share of the whole model's, both counted from "
        "all nodes cut; uncalibrated, may exceed 1",
    )
