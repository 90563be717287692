"""Whether the lone circuit computes what the masked model computes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from wirework.ablation import lone_margins
from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.subject import Subject

PROMPTS = 200
"""Prompts compared, both sides of half as many pairs."""


def exactness_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`exactness`, `exactness_float32`: largest gap of an answer margin between the two.

    The lone circuit runs in the engine; the model with every other node and edge cut in torch. In
    float64 they agree to rounding; in float32 another order of summation, or an AbsTopK near-tie,
    may move a margin (design §6). None of a circuit that needs its model.
    """
    if not subject.circuit.runs_alone:
        return Findings()
    sample = subject.sample(PROMPTS // 2, seed)
    found: dict[str, Measure] = {}
    for name, kind, dtype in (
        ("exactness", np.float64, torch.float64),
        ("exactness_float32", np.float32, torch.float32),
    ):
        model = deepcopy(subject.model).to(dtype)
        masked = replace(subject, model=model).circuit_margins(sample).numpy()
        gaps = np.abs(lone_margins(subject.circuit.network, sample, kind) - masked)
        found[name] = Measure(
            float(gaps.max()),
            n=len(gaps),
            better="lower",
            note=f"Largest gap in an answer margin between the lone circuit and the masked model, "
            f"both in {np.dtype(kind).name}; the median is {np.median(gaps):.2g}",
        )
    return Findings(found)


def exactness_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    return 3 * PROMPTS / 2 / config.pairs
