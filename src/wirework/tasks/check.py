"""Is a task fit for use: with a tokenizer and a context, and is it more than local statistics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.data import Tokenizer
from wirework.tasks.catalog import read_task
from wirework.tasks.complaint import Complaint, Source, raise_first
from wirework.tasks.encode import NO_TOKEN, Findings, Prompts, encode_pairs
from wirework.tasks.pairs import SPLITS, Split, pair_complaints
from wirework.tasks.task import Task

LOCAL_BAR = 0.5
"""A task with a smaller loss (nats) from local counts is refused; guessing costs log 2 = 0.69."""

LEARNED_BAR = 0.15
"""A model with a smaller loss (nats) on `report` has learned a task (weight_sparse_paper.md §4)."""

_NEAR = 3
_ALPHAS = (0.1, 1.0)


class NextCounts(Protocol):
    """Counts of what follows the end of a context, such as `wirework.data.NGramModel`."""

    def next_counts(self, context: Sequence[int]) -> NDArray[np.int64]: ...


def check_file(
    name_or_path: str | Path, tokenizer: Tokenizer, context: int
) -> tuple[Task | None, list[Complaint]]:
    """Everything that is wrong with a task file, first in itself, then for this tokenizer."""
    task, found = read_task(name_or_path)
    if task is not None:
        found = found + [c for c in check_task(task, tokenizer, context) if c not in found]
    return task, found


def check_task(task: Task, tokenizer: Tokenizer, context: int) -> list[Complaint]:
    """Everything that is wrong with a task for this tokenizer and context, errors and notes.

    Notes never stop a task: answers of which only the first token is scored, sides of unequal
    length (only some ablations need equal ones), no report-only templates.
    """
    found = pair_complaints(task.splits, task.answers, Source(task.source or task.name))
    parts, complaints = task.encode_leniently(tokenizer, context)
    encoded = {split: part for split, part in parts.items() if part is not None}
    found += complaints + _contrast_at_end(task, encoded)
    return found + [replace(c, level="note") for c in _unequal_lengths(task, encoded)]


def _contrast_at_end(task: Task, parts: Mapping[Split, Prompts]) -> list[Complaint]:
    """Pairs whose last tokens differ: one token gives the answer away, unless the task is local."""
    findings = Findings(Source(task.source or task.name))
    for split, part in parts.items() if not task.local else ():
        n = len(part)
        ends = part.tokens[np.arange(2 * n), part.last]
        for index in np.flatnonzero(ends[:n] != ends[n:]):
            pair = task.splits[split][int(index)]
            findings.add(
                "task-contrast-at-end",
                pair,
                "the last tokens of the two sides differ, so that one token gives the answer away",
                "a contrast further from the end, or local = true",
                f"{pair.prompt[-30:]!r} and {pair.counterfactual[-30:]!r}",
            )
    return findings.complaints()


def _unequal_lengths(task: Task, parts: Mapping[Split, Prompts]) -> list[Complaint]:
    """One complaint, with the line of the first pair whose sides have different lengths."""
    unequal = [
        task.splits[split][int(index)]
        for split, part in parts.items()
        for index in np.flatnonzero(part.last[: len(part)] != part.last[len(part) :])
    ]
    if not unequal:
        return []
    lines = dict.fromkeys(str(pair.line) for pair in unequal if pair.line is not None)
    others = f"; also lines {', '.join(list(lines)[1:])}" if len(lines) > 1 else ""
    return [
        Complaint(
            "task-lengths-differ",
            "the two sides of some pairs have different numbers of tokens; an ablation that "
            f"takes values from the counterfactual cannot use those pairs{others}",
            Source(task.source or task.name).where(unequal[0].line),
            expected="as many tokens in the counterfactual as in the prompt",
            got=f"{len(unequal)} of {sum(len(part) for part in parts.values())} pairs",
        )
    ]


def refuse_unequal(task: Task, tokenizer: Tokenizer, splits: Iterable[Split] = SPLITS) -> None:
    """Raise `task-lengths-differ`, with file and line, unless both sides of all pairs are as long.

    For callers that read values of the counterfactual at the prompt's positions. Raises what
    `Task.encode` raises.
    """
    parts, complaints = task.encode_leniently(tokenizer, None)
    wanted = set(splits)
    encoded = {s: part for s, part in parts.items() if part is not None and s in wanted}
    raise_first([*complaints, *_unequal_lengths(task, encoded)])


def refuse_local_headline(tasks: Iterable[Task]) -> None:
    """Raise `task-local-headline`, with file and line, if one of the tasks is marked local.

    For figures that stand for a model's abilities: a local task says nothing about them.
    """
    raise_first(
        Complaint(
            "task-local-headline",
            f"{task.name} is local: it cannot stand in a headline figure",
            Source(task.source or task.name).where(task.line),
            expected="tasks that the last few tokens do not answer",
            got="local = true",
            hint="name the tasks, without this one",
        )
        for task in tasks
        if task.local
    )


def local_loss(
    task: Task, tokenizer: Tokenizer, order_models: Mapping[str, NextCounts]
) -> dict[str, float]:
    """Two-sided binary loss in nats on `report` of each count model, under the model's name.

    Each sees the last three tokens at most, shortens them until one of the answers has been
    counted, and adds a pseudo-count to both sets of answers (0.1 or 1, whichever does better).
    Raises what `Task.encode` raises.
    """
    findings = Findings(Source(task.source or task.name))
    prompts = encode_pairs(
        task.report,
        task.answers,
        tokenizer,
        templates=task.templates,
        context=None,
        findings=findings,
    )
    raise_first(findings.complaints())
    if prompts is None:
        raise WireworkError("task-split-empty", "the split 'report' holds no pair", got=task.name)
    return {name: _count_loss(prompts, model) for name, model in order_models.items()}


def _count_loss(prompts: Prompts, model: NextCounts) -> float:
    counted = np.array([_answer_counts(prompts, row, model) for row in range(2 * len(prompts))])
    losses = [
        float(np.mean(np.log(counted.sum(axis=1) + 2 * alpha) - np.log(counted[:, 0] + alpha)))
        for alpha in _ALPHAS
    ]
    return min(losses)


def _answer_counts(prompts: Prompts, row: int, model: NextCounts) -> tuple[int, int]:
    """How often a wanted and how often an other answer followed the end of one prompt."""
    end = int(prompts.last[row]) + 1
    wanted, other = (ids[ids != NO_TOKEN] for ids in (prompts.wanted[row], prompts.other[row]))
    for length in range(min(_NEAR, end), 0, -1):
        counts = model.next_counts(prompts.tokens[row, end - length : end].tolist())
        found = int(counts[wanted].sum()), int(counts[other].sum())
        if any(found):
            return found
    return 0, 0


def refuse_local(
    task: Task, tokenizer: Tokenizer, order_models: Mapping[str, NextCounts]
) -> dict[str, float]:
    """`local_loss`, unless it is under 0.5 and the task isn't marked local: then `task-local`."""
    losses = local_loss(task, tokenizer, order_models)
    name = min(losses, key=losses.__getitem__, default="")
    if name and losses[name] < LOCAL_BAR and not task.local:
        raise WireworkError(
            "task-local",
            f"{task.name} can be solved without a model: the last few tokens give the answer away",
            expected=f"a loss of at least {LOCAL_BAR} from {name} counts",
            got=f"{losses[name]:.3f}",
            hint="move the contrast further from the end of the prompts, or set local = true",
        )
    return losses
