"""The groups of tests that a validation is made of, and what each costs."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from wirework.core import WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress
from wirework.validation.adversarial_inputs import input_findings, input_passes
from wirework.validation.config import ValidationConfig
from wirework.validation.controls import control_findings, control_passes
from wirework.validation.exactness import exactness_findings, exactness_passes
from wirework.validation.exhaustive import exhaustive_findings, exhaustive_passes
from wirework.validation.findings import Findings
from wirework.validation.fit import fit_findings, fit_passes
from wirework.validation.hypotheses import hypothesis_findings, hypothesis_passes
from wirework.validation.mechanism import mechanism_findings, mechanism_passes
from wirework.validation.null_controls import null_findings, null_passes
from wirework.validation.stability import stability_findings, stability_passes
from wirework.validation.subject import Subject
from wirework.validation.subsets import subset_findings, subset_passes


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
    """`asks`: the question that its measures answer. `quick`: part of the quick report.
    `usual`: done unless groups are named. `curves`: it has some to be drawn."""

    asks: str
    test: Test
    passes: Cost
    quick: bool = False
    usual: bool = True
    curves: bool = False


GROUPS: Mapping[str, Group] = MappingProxyType(
    {
        "fit": Group("Does the circuit do the task?", fit_findings, fit_passes, quick=True),
        "controls": Group("Would any circuit of its size?", control_findings, control_passes),
        "exactness": Group(
            "Does it compute what the masked model computes?",
            exactness_findings,
            exactness_passes,
            quick=True,
        ),
        "subsets": Group(
            "Does it matter what the rest is?",
            subset_findings,
            subset_passes,
            quick=True,
            curves=True,
        ),
        "mechanism": Group(
            "Does it work as the whole model does?",
            mechanism_findings,
            mechanism_passes,
            quick=True,
            curves=True,
        ),
        "hypotheses": Group(
            "Is each claim more than chance?", hypothesis_findings, hypothesis_passes
        ),
        "nulls": Group(
            "Could the same search fit anything?", null_findings, null_passes, curves=True
        ),
        "inputs": Group(
            "Do other prompts tell the two apart?", input_findings, input_passes, curves=True
        ),
        "exhaustive": Group(
            "Is there any prompt of a finite domain that does?",
            exhaustive_findings,
            exhaustive_passes,
        ),
        "stability": Group(
            "Would another search find it?", stability_findings, stability_passes, usual=False
        ),
    }
)
"""In the order of the report. `stability` repeats whole searches, so it has to be asked for."""

QUICK = "quick"
"""Stands for the groups that answer within half a minute."""


def chosen(names: Collection[str]) -> dict[str, Group]:
    """The groups of these names in their order, the usual ones for none. Raises
    `group-unknown`."""
    for name in names:
        if name not in GROUPS and name != QUICK:
            raise unknown_choice("group-unknown", "group of tests", name, [*GROUPS, QUICK])
    if not names:
        return {name: group for name, group in GROUPS.items() if group.usual}
    return {
        name: group
        for name, group in GROUPS.items()
        if name in names or (group.quick and QUICK in names)
    }


def require_curves(names: Collection[str]) -> None:
    """Raises `curves-missing` where none of the chosen groups has curves, `group-unknown`."""
    found = chosen(names)
    if not any(group.curves for group in found.values()):
        known = [name for name, group in GROUPS.items() if group.curves]
        raise WireworkError(
            "curves-missing", f"there is nothing to draw of {', '.join(found)}",
            expected=f"one of {', '.join(known)} beside", got=", ".join(found),
            hint=f"--group {known[0]}",
        )  # fmt: skip


def usual_config(names: Collection[str]) -> ValidationConfig:
    """How much is asked of these groups where nobody says: less of the quick report alone."""
    return ValidationConfig.quick() if set(names) == {QUICK} else ValidationConfig()


def seconds_of_pass(subject: Subject, config: ValidationConfig, seed: int) -> float:
    """How long the whole model takes for `config.pairs` pairs here and now: the best of three."""
    sample = subject.sample(config.pairs, seed)
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        subject.margins(None, sample)
        times.append(time.perf_counter() - begun)
    return min(times)
