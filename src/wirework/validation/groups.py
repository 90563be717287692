"""The groups of tests that a validation is made of, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress
from wirework.validation.config import ValidationConfig
from wirework.validation.controls import control_findings, control_passes
from wirework.validation.exactness import exactness_findings, exactness_passes
from wirework.validation.findings import Findings
from wirework.validation.fit import fit_findings, fit_passes
from wirework.validation.subject import Subject


class Test(Protocol):
    def __call__(
        self, subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
    ) -> Findings: ...


class Cost(Protocol):
    def __call__(self, subject: Subject, config: ValidationConfig) -> float:
        """Forward passes over `config.pairs` pairs."""
        ...


@dataclass(frozen=True)
class Group:
    """`asks`: the question that its measures answer. `quick`: part of the quick report."""

    asks: str
    test: Test
    passes: Cost
    quick: bool = False


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "fit": Group("Does the circuit do the task?", fit_findings, fit_passes, quick=True),
        "controls": Group(
            "Would any circuit of its size?", control_findings, control_passes, quick=True
        ),
        "exactness": Group(
            "Does it compute what the masked model computes?",
            exactness_findings,
            exactness_passes,
            quick=True,
        ),
    }
)

QUICK = "quick"
"""Stands for the groups that answer within half a minute."""


def chosen(names: Collection[str]) -> dict[str, Group]:
    """The groups of these names in their order, all of them for none. Raises `group-unknown`."""
    for name in names:
        if name not in GROUPS and name != QUICK:
            raise unknown_choice("group-unknown", "group of tests", name, [*GROUPS, QUICK])
    if not names:
        return dict(GROUPS)
    return {
        name: group
        for name, group in GROUPS.items()
        if name in names or (group.quick and QUICK in names)
    }


def seconds_of_pass(subject: Subject, config: ValidationConfig, seed: int) -> float:
    """How long the whole model takes for `config.pairs` pairs here and now: the best of three."""
    sample = subject.sample(config.pairs, seed)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        subject.margins(None, sample)
        times.append(time.perf_counter() - begun)
    return min(times)
