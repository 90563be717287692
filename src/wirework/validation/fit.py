"""How well a circuit does the task, and how much of the model's answer it accounts for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, TaskScore, score_of
from wirework.circuit import Calibration
from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.intervals import loss_over_pairs, over_pairs, per_pair, share
from wirework.validation.shift import shifted
from wirework.validation.subject import Subject


def fit_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`task_*`, `model_*`, `faithfulness`, `equivalence` (design §4) on `report`.

    `task_loss:unseen`, `task_accuracy:unseen`: on templates that neither `fit` nor `select` has,
    where there are any. `task_accuracy:shifted`, `equivalence:shifted`, `model_accuracy:shifted`:
    on the prompts of `shifted`, where there are any. `details["templates"]`: every template by
    itself. Intervals of means: bootstrap over pairs, whole templates at a time where there are
    several; of shares: Wilson's with the design effect of templates.
    """
    report = subject.report
    alone, whole = subject.circuit_margins(), subject.margins(None)
    nothing = subject.margins({site: np.zeros_like(kept) for site, kept in subject.keep.items()})
    answered = _Answered(
        report,
        score_of(alone, report, subject.circuit.calibration),
        score_of(whole, report, Calibration()),
    )
    three = [per_pair(values.numpy()) for values in (alone, nothing, whole)]
    found = {
        **answered.measures(seed),
        "task_loss_raw": loss_over_pairs(
            report, score_of(alone, report, Calibration()), seed=seed,
            note="Two-sided loss in nats of the circuit alone, before calibration",
        ),
        "faithfulness": over_pairs(
            report, np.stack(three, axis=1), _ratio, seed=seed, better="higher",
            note="The circuit's mean answer margin as a share of the whole model's, both counted "
            "from all nodes cut; uncalibrated, may exceed 1",
        ),
        "margin_correlation": answered.correlation(seed),
    }  # fmt: skip
    names = subject.task.templates
    unseen = np.isin(report.template.numpy(), [names.index(n) for n in subject.task.report_only])
    if unseen.any():
        part = answered.some(unseen).measures(seed)
        where = ", on templates that the search has not seen"
        for name in ("task_loss", "task_accuracy"):
            found[f"{name}:unseen"] = _noted(part[name], where)
    return Findings(found, _templates(subject, answered)) | _shifted(subject, seed)


def fit_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs; shifted prompts are longer."""
    return (3 + 2 * 1.5) * len(subject.report) / config.pairs


@dataclass(frozen=True)
class _Answered:
    """The same prompts answered by the circuit, calibrated, and by the model as it is."""

    prompts: PromptTensors
    circuit: TaskScore
    model: TaskScore

    def measures(self, seed: int) -> dict[str, Measure]:
        return {
            "task_loss": loss_over_pairs(
                self.prompts, self.circuit, seed=seed,
                note="Two-sided loss in nats of the circuit alone, calibrated; guessing costs 0.69",
            ),
            "model_loss": loss_over_pairs(
                self.prompts, self.model, seed=seed,
                note="Two-sided loss in nats of the whole model, as it is",
            ),
            "task_accuracy": share(
                self.prompts, self.circuit.margins > 0,
                "Share of prompts that the circuit alone answers right"
            ),
            "model_accuracy": share(
                self.prompts, self.model.margins > 0,
                "Share of prompts that the whole model answers right"
            ),
            "equivalence": share(
                self.prompts, self.same,
                "Share of prompts that circuit and whole model answer alike"
            ),
        }  # fmt: skip

    @property
    def same(self) -> NDArray[np.bool_]:
        """Whether both give the same answer to each prompt, right or wrong, (2N)."""
        return np.equal(self.circuit.margins > 0, self.model.margins > 0)

    def correlation(self, seed: int) -> Measure:
        """Pearson's, over prompts, of how far each leans to the first answer of the pair."""
        side = self.prompts.side.numpy()[:, None]
        both = side * np.stack([self.circuit.margins, self.model.margins], axis=1)
        count = len(self.prompts)
        rows = np.concatenate([both[:count], both[count:]], axis=1)
        return over_pairs(
            self.prompts, rows, _correlation, seed=seed, better="higher",
            note="Correlation over prompts of how far circuit and whole model lean to the one "
            "answer of the pair or the other; 0 where one of them leans alike everywhere",
            within=(-1.0, 1.0),
        )  # fmt: skip

    def some(self, rows: NDArray[np.bool_]) -> _Answered:
        """Of some prompts, which must be whole pairs."""
        index = torch.from_numpy(np.flatnonzero(rows[: len(self.prompts)]))
        scores = (self.circuit, self.model)
        circuit, model = (TaskScore(s.margins[rows], s.template[rows]) for s in scores)
        return _Answered(self.prompts.pairs(index), circuit, model)


def _shifted(subject: Subject, seed: int) -> Findings:
    prompts = shifted(subject, seed)
    if prompts is None:
        return Findings()
    answered = _Answered(
        prompts,
        score_of(subject.circuit_margins(prompts), prompts, subject.circuit.calibration),
        score_of(subject.margins(None, prompts), prompts, Calibration()),
    )
    measures = answered.measures(seed)
    names = ("task_accuracy", "model_accuracy", "equivalence")
    where = ", with neutral lines of code before each"
    found = {f"{name}:shifted": _noted(measures[name], where) for name in names}
    longer = float((prompts.last + 1).double().mean())
    before = float((subject.report.last + 1).double().mean())
    sizes = {"pairs": len(prompts), "tokens": longer, "tokens_before": before}
    return Findings(found, {"shifted": sizes})


def _templates(subject: Subject, answered: _Answered) -> dict[str, Any]:
    """Every template that `report` has, in columns."""
    unseen, table = subject.task.report_only, []
    for index, name in enumerate(subject.task.templates):
        rows = answered.prompts.template.numpy() == index
        if rows.any():
            part = answered.some(rows)
            table.append(
                {
                    "name": name,
                    "unseen": name in unseen,
                    "pairs": len(part.prompts),
                    "task_loss": part.circuit.loss,
                    "task_accuracy": part.circuit.accuracy,
                    "model_loss": part.model.loss,
                    "model_accuracy": part.model.accuracy,
                    "equivalence": float(part.same.mean()),
                }
            )
    return {"templates": {key: [row[key] for row in table] for key in table[0]}}


def _noted(measure: Measure, more: str) -> Measure:
    return replace(measure, note=measure.note + more)


def _ratio(rows: NDArray[np.float64]) -> float:
    """(m(C) - m(∅)) / (m(M) - m(∅)) of rows (n, 3) of C, ∅, M; NaN where M does nothing."""
    circuit, nothing, model = rows.mean(axis=0)
    return float((circuit - nothing) / (model - nothing)) if model != nothing else float("nan")


def _correlation(rows: NDArray[np.float64]) -> float:
    """Of rows (n, 4): circuit and model on the one side, then on the other."""
    circuit, model = rows.reshape(-1, 2).T
    if circuit.std() == 0 or model.std() == 0:
        return 0.0
    return float(np.corrcoef(circuit, model)[0, 1])
