"""The ground truth that verdicts are judged by: circuits known to be right or wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from wirework.ablation import AblationConfig
from wirework.core import Node, WireworkError
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.alternatives import nodes_of
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
    implant,
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
from wirework.training import load_checkpoint

Kind = Literal["true", "hard", "plain", "easy"]

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

IMPLANTED = "implanted"
"""The family of right circuits inside a model that was trained on other things."""

_HOST = "reference/v1-sparse-small"
_IMPLANTS = ("bracket_depth", "copy_previous", "induction", "set_or_string")

_SEARCHED = "searched/"
_REACHED = (
    "forbidden/role-change",
    "shortcut/backup",
    "shortcut/drowned",
    "shortcut/outcompeted",
    "shortcut/skipped",
    "template/cue",
    "template/two-paths",
)
"""Models in which most searches find a circuit where the true nodes are forbidden."""

_HELD_OUT = frozenset(
    {
        "both_present",
        "copy_previous",
        "induction",
        "one_of_two",
        "set_or_string",
        "forbidden/role-change",
        "shortcut/cancelled",
        "shortcut/erased",
        "shortcut/repelled",
        "shortcut/skipped",
        "template/cue",
        "template/two-paths",
        "plain/like-magnitude",
        "plain/random",
        "easy/inverted-task",
        "easy/shuffled-labels",
        IMPLANTED,
        *(_SEARCHED + name for name in _REACHED),
    }
)

_SIZES = (16, 24, 32, 40, 48)
"""Residual widths of planted models, one for each seed in turn."""


@dataclass(frozen=True, eq=False)
class Case:
    """A circuit of which is known whether it is right. `kind`: `true`; `hard`, wrong though the
    whole model does the task and the circuit too; `plain`, wrong and failing the task; `easy`, for
    a task that the model fails. `why`: what is wrong."""

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
    """The families of right circuits, or of hard, plain or easy nulls, by name."""
    searched = [_SEARCHED + name for name in _REACHED]
    known = {
        "true": (*FAMILIES, IMPLANTED),
        "hard": (*LOOKS_RIGHT, *searched),
        "plain": tuple(PLAIN),
        "easy": tuple(EASY),
    }
    return tuple(sorted(known[kind]))


def held_out(kind: Kind) -> frozenset[str]:
    """Families that no bar was fixed on.

    Every second one by name of those that there were then, but for `cancelling_pair`, for whose
    sake a rule was changed later; and the implanted and the searched ones, made after all bars.
    """
    return _HELD_OUT.intersection(families_of(kind))


def cases_of(
    kind: Kind, families: Collection[str], seeds: Iterable[int], search: DiscoveryConfig
) -> Iterator[Case]:
    """Circuits of these families: of planted models the smallest minimal one, and nulls.

    `search`: how circuits of `searched/` families are found, the nodes of the true one that are
    none of the shortcut's forbidden; where a search finds none, there is no case.
    """
    seeds = tuple(seeds)
    for family in families:
        for seed in seeds:
            if kind == "true":
                yield _right(family, seed, search.target_loss)
            elif family.startswith(_SEARCHED):
                yield from _searched(family, seed, search)
            else:
                yield _wrong(kind, family, seed)


def _right(family: str, seed: int, target_loss: float) -> Case:
    if family == IMPLANTED:
        builder = FAMILIES[_IMPLANTS[seed % len(_IMPLANTS)]]
        planted = implant(load_checkpoint(_HOST), builder(seed=seed))
    else:
        planted = planted_model(family, seed)
    nodes = minimal_circuits(planted, target_loss)[0]
    place = planted.checkpoint, planted.task, nodes, planted.ablation
    return Case(f"{family}/seed-{seed}", family, "true", *place)


def _wrong(kind: Kind, family: str, seed: int) -> Case:
    draw = easy_nulls if kind == "easy" else hard_nulls
    (null,) = draw([seed], families=[family])
    place = null.checkpoint, null.task, null.nodes, null.ablation
    return Case(null.name, family, kind, *place, null.why)


def _searched(family: str, seed: int, search: DiscoveryConfig) -> Iterator[Case]:
    (null,) = hard_nulls([seed], families=[family.removeprefix(_SEARCHED)])
    config = search.replace(ablation=AblationConfig.of_name(null.ablation).plain())
    try:
        circuit = discover(
            null.checkpoint, null.task, config=config, seed=seed, forbidden=null.truth - null.nodes
        )
    except WireworkError as error:
        if error.code != "target-missed":
            raise
        return
    place = null.checkpoint, null.task, nodes_of(circuit), null.ablation
    why = f"Found by a search with the true nodes forbidden. {null.why}"
    yield Case(f"{family}/seed-{seed}", family, "hard", *place, why)
