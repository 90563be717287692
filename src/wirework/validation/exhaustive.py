"""Every prompt of a finite domain: do circuit and model decide alike?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from wirework.core import Measure
from wirework.core.progress import StartProgress
from wirework.tasks import Origin, Pair, Task, origin_of
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.input_moves import common_start
from wirework.validation.judge import judge
from wirework.validation.label_rules import Kind, LabelRule, rule_of
from wirework.validation.subject import Subject

_PIECES: Mapping[Kind, tuple[str, ...]] = {
    "quote": ("a", " b", '\\"', "\\'"),
    "brackets": ("1", ", ", "[", "]", "(", ")"),
}
_LONGEST = 6


@dataclass(frozen=True)
class Domain:
    """`says`: what is gone through; `parts`: what it is put together from."""

    says: str
    pairs: list[Pair]
    parts: Mapping[str, Any] = field(default_factory=dict)


def exhaustive_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`exhaustive_agreement`: share of all prompts of finite domains on which circuit (calibrated)
    and whole model give the same answer; a count, so without an interval (circuit_tools.md §6.3,
    T-exhaustive).

    Domains (`domains_of`) hold at most `config.exhaustive_limit` prompts together. Nothing is
    found out about a task of which neither file nor rule is known. `details["exhaustive"]`: what
    the domains are, and every prompt on which the two part.
    """
    domains = domains_of(subject.task, config.exhaustive_limit, seed)
    told: list[dict[str, Any]] = []
    counterexamples: list[dict[str, Any]] = []
    with start("every prompt of a finite domain", len(domains)) as progress:
        for domain in domains:
            judged = judge(subject, domain.pairs)
            apart = [judged.example(side, i) for side, i in np.argwhere(judged.apart).tolist()]
            counterexamples += apart
            count = 2 * len(judged.pairs)
            told.append(
                {
                    "domain": domain.says,
                    **domain.parts,
                    "prompts": count,
                    "left_out": 2 * len(domain.pairs) - count,
                    "disagreed": len(apart),
                }
            )
            progress.advance()
    n = sum(row["prompts"] for row in told)
    if not n:
        return Findings()
    note = (
        "Share of all prompts of a finite domain on which circuit and model give the same answer: "
        + "; ".join(row["domain"] for row in told)
    )
    agreement = Measure(1 - len(counterexamples) / n, n=n, better="higher", note=note)
    details = {"domains": told, "counterexamples": counterexamples}
    return Findings({"exhaustive_agreement": agreement}, {"exhaustive": details})


def exhaustive_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    known = origin_of(subject.task) is not None or rule_of(subject.task) is not None
    # Short prompts that mostly begin alike take about half as long.
    return config.exhaustive_limit / config.pairs / 2 if known else 0.0


def domains_of(task: Task, limit: int, seed: int) -> list[Domain]:
    """Finite domains of a task with at most `limit` prompts, shared evenly between the two kinds:
    all pairs of its templates where they are few, else of all with some of the fillings; all
    short strings or brackets of a few pieces, where a rule reads the label off the text."""
    origin, rule = origin_of(task), rule_of(task)
    share = limit // 2 // max(1, (origin is not None) + (rule is not None))
    found = []
    if origin is not None:
        found.append(_of_fillings(origin, share, seed))
    if rule is not None:
        found.append(_of_pieces(task, rule, share))
    return [domain for domain in found if domain.pairs]


def _of_fillings(origin: Origin, limit: int, seed: int) -> Domain:
    random = np.random.default_rng([seed, 5])
    small = origin.within(limit, random)
    pairs = small.draw(small.file.template, limit, random)
    whole, file = origin.file, small.file
    slots = file.slots | file.exchange
    every = whole.slots | whole.exchange
    all_of_it = all(len(slots[name]) == len(texts) for name, texts in every.items())
    says = f"all pairs of {len(file.template)} of {len(whole.template)} templates with " + (
        "all fillings" if all_of_it else "some of the fillings"
    )
    names = [template.name for template in file.template]
    fillings = {name: list(texts) for name, texts in slots.items()}
    return Domain(says, pairs, {"templates": names, "fillings": fillings})


def _of_pieces(task: Task, rule: LabelRule, limit: int) -> Domain:
    """Behind the beginning of one of the task's pairs every row of pieces whose label is known."""
    pair = min((p for pairs in task.splits.values() for p in pairs), key=_frame_size)
    first, second = _frame(pair)
    pieces = _PIECES[rule.kind]
    found: list[Pair] = []
    longest = 0
    for length in range(1, _LONGEST + 1):
        rows = ("".join(row) for row in product(pieces, repeat=length))
        made = (replace(pair, prompt=first + row, counterfactual=second + row) for row in rows)
        kept = [new for new in made if rule.keeps(new)]
        if len(found) + len(kept) > limit:
            break
        found += kept
        longest = length
    says = (
        f"{first!r} and {second!r} before every row of 1 to {longest} of the pieces "
        f"{', '.join(map(repr, pieces))} that keeps the label"
    )
    return Domain(says, found, {"pieces": list(pieces), "longest": longest})


def _frame(pair: Pair) -> tuple[str, str]:
    """Both sides up to where all that differs between them has been said."""
    sides = pair.prompt, pair.counterfactual
    end = common_start(*(side[::-1] for side in sides))
    # What differs may end like what follows: `[[` and `[` before a bracket.
    end = min(end, *(len(side) - common_start(*sides) for side in sides))
    first, second = (side[: len(side) - end] for side in sides)
    return first, second


def _frame_size(pair: Pair) -> tuple[int, str]:
    first, second = _frame(pair)
    return len(first) + len(second), pair.prompt
