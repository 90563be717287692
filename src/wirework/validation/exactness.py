"""Whether the lone circuit computes what the masked model computes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch

from wirework.ablation import lone_margins
from wirework.core import Measure
from wirework.validation.subject import Subject

PROMPTS = 200
"""Prompts compared, both sides of half as many pairs."""


def exactness_measures(subject: Subject, bars: dict[str, float], seed: int) -> dict[str, Measure]:
    """`exactness`, `exactness_float32`: largest gap of an answer margin between the two.

    The lone circuit runs in the engine; the model with every other node and edge cut in torch. In
    float64 they agree to rounding; in float32 another order of summation, or an AbsTopK near-tie,
    may move a margin (design §6). None of a circuit that needs its model.
    """
    if not subject.circuit.runs_alone:
        return {}
    sample = subject.sample(PROMPTS // 2, seed)
    found = {}
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
            bar=bars.get(name),
            note=f"Largest gap in an answer margin between the lone circuit and the masked model, "
            f"both in {np.dtype(kind).name}; the median is {np.median(gaps):.2g}",
        )
    return found
