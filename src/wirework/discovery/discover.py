"""Find the smallest circuit that carries a task, and take it out of the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import keep_of
from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, CurvePoint, refuse_unlearned
from wirework.discovery.clean_up import Drop, drop_edges, drop_nodes
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.edge_search import prune_edges
from wirework.discovery.gated_search import gated_search
from wirework.discovery.take_circuit import nodes_by_site, store
from wirework.model import Checkpoint
from wirework.tasks import Task


@dataclass(frozen=True)
class Search:
    """What a search found. `scores`: a number for every node, site -> (channels), higher =
    keep. `curve`: the loss on `select` at every size that was measured, rising in nodes.
    `reached`: whether the circuit meets the target and every limit beside it; false only with
    `unlearned_ok`, the circuit being that of the open gates then, as they are."""

    circuit: Circuit
    scores: dict[Site, NDArray[np.float32]]
    curve: tuple[CurvePoint, ...]
    reached: bool


def discover(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss: float | None = None,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    state: Path | None = None,
    unlearned_ok: bool = False,
    forbidden: Collection[Node] = (),
    start: StartProgress = silent,
) -> Circuit:
    """The circuit that `search` finds; the same arguments and errors."""
    return search(
        checkpoint, task, target_loss=target_loss, config=config, seed=seed, state=state,
        unlearned_ok=unlearned_ok, forbidden=forbidden, start=start,
    ).circuit  # fmt: skip


def search(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss: float | None = None,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    state: Path | None = None,
    unlearned_ok: bool = False,
    forbidden: Collection[Node] = (),
    start: StartProgress = silent,
) -> Search:
    """Train gates, discretise, clean up, calibrate, extract.

    `target_loss` (nats) goes before `config`'s. `state`: file to save progress to and to resume
    from. `unlearned_ok`: go on although the full model misses the target; then the search may
    miss it too (`Search.reached`). `forbidden`: nodes that no circuit may keep. The circuit runs
    alone where its ablation holds cut nodes at constants. Raises `task-unlearned`,
    `edges-need-constants`, `node-unknown`, `ablation-lengths` (before any work), `target-missed`,
    `resume-mismatch`, `interrupted` and what the task's encoding raises.
    """
    config = config or DiscoveryConfig()
    if target_loss is not None:
        config = config.replace(target_loss=target_loss)
    _check(config)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, config)
    if not unlearned_ok:
        refuse_unlearned(task, config.target_loss, bench.full.loss)
    never = keep_of(nodes_by_site(forbidden, bench.widths), bench.widths)
    identity = _identity(checkpoint, task, config, seed, forbidden)
    scores, found = gated_search(
        bench, seed=seed, never=never, state=state, identity=identity, start=start
    )
    drops: tuple[Drop, ...] = ()
    if found is None and not unlearned_ok:
        raise _missed(task, config.target_loss, bench.full.loss)
    if found is None:
        found = bench.measure({site: values >= 0 for site, values in scores.items()})
    else:
        if config.edges:
            found = prune_edges(bench, found, seed=seed, start=start)
        if config.clean_up:
            found = drop_nodes(bench, found, start)
        if config.clean_up and config.edges:
            found, drops = drop_edges(bench, found, start)
    recipe: dict[str, Any] = {}
    if drops:
        recipe["edge_drops"] = [drop.to_json() for drop in drops]
    if forbidden:
        recipe["forbidden"] = sorted(str(node) for node in forbidden)
    circuit = store(checkpoint, task, bench, found, seed=seed, recipe=recipe)
    return Search(circuit, scores, bench.curve(), found.meets_target)


def _check(config: DiscoveryConfig) -> None:
    if config.edges and not config.ablation.constant:
        raise WireworkError(
            "edges-need-constants",
            "an edge is cut by showing its target a constant",
            expected="an ablation that holds every cut node at one value everywhere",
            got=config.ablation.name,
            hint="--set edges=false",
        )


def _identity(
    checkpoint: Checkpoint,
    task: Task,
    config: DiscoveryConfig,
    seed: int,
    forbidden: Collection[Node],
) -> str:
    never = sorted(str(node) for node in forbidden)
    parts: list[Any] = [checkpoint.hash(), task.hash(), config.hash(), seed, never]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _missed(task: Task, target: float, loss: float) -> WireworkError:
    return WireworkError(
        "target-missed",
        f"no set of nodes meets the target on {task.name} with the others cut",
        expected=f"a loss of at most {target:g} on the split `select`",
        got=f"more, even with every node kept (full model: {loss:.3f})",
        hint="a higher --target-loss",
    )
