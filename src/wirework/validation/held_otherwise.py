"""The same nodes under other ablations: norms free and frozen, the rest at zero and at means."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from wirework.ablation import (
    AblationConfig,
    CompactModel,
    Holding,
    PromptTensors,
    TaskScore,
    calibrate,
    edge_masks,
    masked_margins,
    score_of,
)
from wirework.core import Measure
from wirework.validation.findings import Findings
from wirework.validation.intervals import loss_over_pairs
from wirework.validation.subject import Subject

ABLATIONS = 4
"""Each takes a forward pass over the pairs of either split."""


def held_otherwise_findings(
    subject: Subject, fit: PromptTensors, report: PromptTensors, *, seed: int
) -> Findings:
    """`free_norm_loss`, `frozen_norm_loss`, `zero_loss`, `mean_loss` (§10.2, §10.2e).

    Two-sided loss in nats of the same nodes and edges, each calibrated on the prompts `fit`. With
    frozen norms every norm takes its scale from the whole model on the same prompt, so that
    cutting cannot make the kept writes louder; what cut nodes are held at stays. Zero and mean
    change that alone; means are those of the circuit's own ablation if it has some, else those
    over pretraining text, or over the task where the model came without.
    """
    own = subject.holding.config
    asked: dict[str, tuple[Holding, str]] = {
        "free_norm_loss": (_with_norms(subject, "free"), "every norm free to follow what is kept"),
        "frozen_norm_loss": (
            _with_norms(subject, "frozen"), "every norm's scale taken from the whole model"
        ),
        "zero_loss": (_zero(subject), "everything else held at zero"),
        "mean_loss": (_mean(subject), "everything else held at its mean"),
    }  # fmt: skip
    found: dict[str, Measure] = {}
    for name, (holding, how) in asked.items():
        score = _score(subject, holding, fit, report)
        note = f"Two-sided loss in nats of the same circuit with {how} (found with {own.name})"
        found[name] = loss_over_pairs(report, score, seed=seed, note=note)
    return Findings(found)


def _score(
    subject: Subject, holding: Holding, fit: PromptTensors, report: PromptTensors
) -> TaskScore:
    own = subject.whole
    whole = CompactModel(subject.model, holding.constants, own.answers, before=own.before)
    edges = edge_masks(whole, subject.cut)
    values, seen = (
        masked_margins(whole, holding, subject.keep, prompts, edges=edges).double()
        for prompts in (report, fit)
    )
    return score_of(values, report, calibrate(seen, fit.side))


def _with_norms(subject: Subject, norms: Literal["free", "frozen"]) -> Holding:
    holding = subject.holding
    return replace(holding, config=holding.config.replace(norms=norms))


def _zero(subject: Subject) -> Holding:
    zeros = {site: torch.zeros_like(held) for site, held in subject.holding.constants.items()}
    return Holding(subject.holding.config.replace(kind="zero"), zeros)


def _mean(subject: Subject) -> Holding:
    own = subject.holding.config
    if own.kind in ("mean-pretraining", "mean-task", "mean-position"):
        return subject.holding
    kind = "mean-pretraining" if subject.checkpoint.means else "mean-task"
    config: AblationConfig = own.replace(kind=kind)
    return Holding.of(config, subject.checkpoint, subject.fit)
