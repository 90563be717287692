"""Nulls: circuits that are known to be wrong, for a verdict to expose."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from wirework.core import Node
from wirework.core.errors import unknown_choice
from wirework.model import Checkpoint
from wirework.planted.plain_nulls import (
    constant_answers,
    inverted_answer,
    inverted_task,
    like_magnitude,
    missing_node,
    nonsense_answers,
    random_nodes,
    shuffled_labels,
)
from wirework.planted.shortcuts import (
    Shortcut,
    backup,
    cancelled,
    cue,
    dead,
    drowned,
    erased,
    missing_attention,
    outcompeted,
    repelled,
    role_change,
    shared_head,
    shared_write,
    skipped,
    two_paths,
    uniform,
)
from wirework.tasks import Task

Builder = Callable[[int, int], Shortcut]
"""From a seed and a residual width."""

_SIZES = (32, 40, 48)


@dataclass(frozen=True, eq=False)
class Null:
    """A circuit that is wrong (circuit_tools.md §6.3), with the model that it was taken out of.

    `nodes`: the circuit, with every edge between them. `ablation`: what all else is held at, the
    name of an `AblationConfig`. `hard`: the whole model does the task. `why`: one sentence on what
    is wrong. `truth`: the right circuit, empty where the model fails. `idle`: nodes of the wrong
    one without which the whole model answers as before.
    """

    name: str
    family: str
    checkpoint: Checkpoint
    task: Task
    nodes: frozenset[Node]
    ablation: str
    hard: bool
    why: str
    truth: frozenset[Node]
    idle: frozenset[Node]


def hard_nulls(
    seeds: Iterable[int] = range(8),
    *,
    families: Collection[str] | None = None,
    size: int | None = None,
) -> Iterator[Null]:
    """Wrong circuits of models that do their task: by default every family with every seed.

    A circuit of a family in `LOOKS_RIGHT` does the task as well, alone and calibrated, on `fit`
    and `select`; one of `PLAIN` does not. `size`: residual width, 32 or more and a multiple of 8;
    by default one that goes with the seed. Raises `null-family-unknown`.
    """
    yield from _nulls({**LOOKS_RIGHT, **PLAIN}, seeds, families, size, hard=True)


def easy_nulls(
    seeds: Iterable[int] = range(8),
    *,
    families: Collection[str] | None = None,
    size: int | None = None,
) -> Iterator[Null]:
    """Circuits for tasks that the whole model fails. Arguments: as for `hard_nulls`."""
    yield from _nulls(EASY, seeds, families, size, hard=False)


def _nulls(
    known: Mapping[str, Builder],
    seeds: Iterable[int],
    families: Collection[str] | None,
    size: int | None,
    *,
    hard: bool,
) -> Iterator[Null]:
    seeds = tuple(seeds)
    for family in known if families is None else families:
        if family not in known:
            raise unknown_choice("null-family-unknown", "family of nulls", family, tuple(known))
        for seed in seeds:
            found = known[family](seed, _SIZES[seed % len(_SIZES)] if size is None else size)
            planted = found.planted
            yield Null(
                name=f"{family}/seed-{seed}",
                family=family,
                checkpoint=planted.checkpoint,
                task=planted.task,
                nodes=found.nodes,
                ablation=planted.ablation,
                hard=hard,
                why=found.why,
                truth=found.truth,
                idle=found.idle,
            )


LOOKS_RIGHT: Mapping[str, Builder] = {
    "shortcut/cancelled": cancelled,
    "shortcut/shared-head": shared_head,
    "shortcut/shared-write": shared_write,
    "shortcut/skipped": skipped,
    "shortcut/erased": erased,
    "shortcut/uniform": uniform,
    "shortcut/repelled": repelled,
    "shortcut/outcompeted": outcompeted,
    "shortcut/drowned": drowned,
    "shortcut/backup": backup,
    "template/two-paths": two_paths,
    "template/missing-attention": missing_attention,
    "template/cue": cue,
    "forbidden/role-change": role_change,
    "forbidden/dead": dead,
}
"""Families of hard nulls that meet a target on `fit` and `select`."""

PLAIN: Mapping[str, Builder] = {
    "plain/missing-node": missing_node,
    "plain/random": random_nodes,
    "plain/like-magnitude": like_magnitude,
    "plain/inverted-answer": inverted_answer,
}
"""Families of hard nulls that do not."""

EASY: Mapping[str, Builder] = {
    "easy/shuffled-labels": shuffled_labels,
    "easy/constant-answers": constant_answers,
    "easy/inverted-task": inverted_task,
    "easy/nonsense-answers": nonsense_answers,
}
"""Families of easy nulls."""
