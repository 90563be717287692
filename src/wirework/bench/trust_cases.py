"""The ground truth that verdicts are judged by: circuits known to be right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from wirework.core import Node
from wirework.model import Checkpoint
from wirework.planted import (
    EASY,
    LOOKS_RIGHT,
    PLAIN,
    Planted,
    backup_unit,
    both_present,
    bracket_depth,
    cancelling_pair,
    close_quote,
    copy_previous,
    easy_nulls,
    either_unit,
    hard_nulls,
    induction,
    leaning_pair,
    majority,
    minimal_circuits,
    one_of_two,
    quote_with_decoys,
    set_or_string,
    twin_values,
)
from wirework.tasks import Task

Kind = Literal["true", "hard", "easy"]

FAMILIES: Mapping[str, Callable[..., Planted]] = MappingProxyType(
    {
        "copy_previous": copy_previous,
        "induction": induction,
        "close_quote": close_quote,
        "quote_with_decoys": quote_with_decoys,
        "bracket_depth": bracket_depth,
        "set_or_string": set_or_string,
        "majority": majority,
        "both_present": both_present,
        "one_of_two": one_of_two,
        "either_unit": either_unit,
        "twin_values": twin_values,
        "backup_unit": backup_unit,
        "cancelling_pair": cancelling_pair,
        "leaning_pair": leaning_pair,
    }
)
"""All planted models: functions of `size` and `seed`."""

ABLATIONS = ("mean-pretraining", "zero", "resample")

_ADDED = frozenset({"leaning_pair", "shortcut/shared-write"})
"""Families made after the halves were parted, for fixing verdicts only."""

_SIZES = (16, 24, 32, 40, 48)
"""Residual widths of planted models, one for each seed in turn."""


@dataclass(frozen=True, eq=False)
class Case:
    """A circuit of which is known whether it is right. `kind`: `true`; `hard`, wrong though the
    whole model does the task; `easy`, for a task that the model fails. `why`: what is wrong."""

    name: str
    family: str
    kind: Kind
    checkpoint: Checkpoint
    task: Task
    nodes: frozenset[Node]
    ablation: str
    why: str = ""


def planted_model(family: str, seed: int) -> Planted:
    """The model of a family, wider with some seeds than with others."""
    return FAMILIES[family](size=_SIZES[seed % len(_SIZES)], seed=seed)


def families_of(kind: Kind) -> tuple[str, ...]:
    """The families of right circuits, or of hard or easy nulls, by name."""
    known = {"true": FAMILIES, "hard": {**LOOKS_RIGHT, **PLAIN}, "easy": EASY}[kind]
    return tuple(sorted(known))


def held_out(kind: Kind) -> frozenset[str]:
    """Families that no bar was fixed on: every second one by name, of those that there were."""
    return frozenset([name for name in families_of(kind) if name not in _ADDED][1::2])


def cases_of(
    kind: Kind, families: Collection[str], seeds: Iterable[int], target_loss: float
) -> Iterator[Case]:
    """Circuits of these families: of planted models the smallest minimal one, and nulls."""
    seeds = tuple(seeds)
    if kind == "true":
        for family in families:
            for seed in seeds:
                planted = planted_model(family, seed)
                nodes = minimal_circuits(planted, target_loss)[0]
                place = planted.checkpoint, planted.task, nodes, planted.ablation
                yield Case(f"{family}/seed-{seed}", family, kind, *place)
        return
    draw = hard_nulls if kind == "hard" else easy_nulls
    for null in draw(seeds, families=families):
        place = null.checkpoint, null.task, null.nodes, null.ablation
        yield Case(null.name, null.family, kind, *place, null.why)
