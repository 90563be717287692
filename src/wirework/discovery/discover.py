"""Find the smallest circuit that carries a task, and take it out of the model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import lone_margins, masked_margins, score, score_of
from wirework.circuit import Calibration, Circuit
from wirework.core import RunRecord, Site, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate, CurvePoint, refuse_unlearned
from wirework.discovery.clean_up import Drop, drop_edges, drop_nodes
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discretise import smallest
from wirework.discovery.edge_search import prune_edges
from wirework.discovery.node_gates import trained_gates
from wirework.model import Checkpoint
from wirework.model.precision import resolve_dtype
from wirework.tasks import Task


@dataclass(frozen=True)
class Search:
    """What a search found. `scores`: a number for every node, site -> (channels), higher =
    keep. `curve`: the loss on `select` at every size that was measured, rising in nodes."""

    circuit: Circuit
    scores: dict[Site, NDArray[np.float32]]
    curve: tuple[CurvePoint, ...]


def discover(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss: float | None = None,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    state: Path | None = None,
    unlearned_ok: bool = False,
    start: StartProgress = silent,
) -> Circuit:
    """The circuit that `search` finds; the same arguments and errors."""
    return search(
        checkpoint, task, target_loss=target_loss, config=config, seed=seed, state=state,
        unlearned_ok=unlearned_ok, start=start,
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
    start: StartProgress = silent,
) -> Search:
    """Train gates, discretise, clean up, calibrate, extract.

    `target_loss` (nats) goes before `config`'s. `state`: file to save progress to and to resume
    from. `unlearned_ok`: go on although the full model misses the target; then all gates may stay
    open. The circuit runs alone where its ablation holds cut nodes at constants. Raises
    `task-unlearned`, `edges-need-constants`, `ablation-lengths` (before any work),
    `target-missed`, `resume-mismatch`, `interrupted` and what the task's encoding raises.
    """
    config = config or DiscoveryConfig()
    if target_loss is not None:
        config = config.replace(target_loss=target_loss)
    _check(config)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, config)
    if not unlearned_ok:
        refuse_unlearned(task, config.target_loss, bench.full.loss)
    identity = _identity(checkpoint, task, config, seed)
    scores = trained_gates(bench, seed=seed, state=state, identity=identity, start=start)
    # What the whole model has not learned, more nodes hardly mend; few may, by chance.
    found = smallest(bench, scores, start, grow=bench.full.loss <= config.target_loss)
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
    circuit = _circuit(checkpoint, task, bench, found, drops, seed)
    return Search(circuit, scores, bench.curve())


def _check(config: DiscoveryConfig) -> None:
    if config.edges and not config.ablation.constant:
        raise WireworkError(
            "edges-need-constants",
            "an edge is cut by showing its target a constant",
            expected="an ablation that holds every cut node at one value everywhere",
            got=config.ablation.name,
            hint="--set edges=false",
        )


def _circuit(
    checkpoint: Checkpoint,
    task: Task,
    bench: Bench,
    found: Candidate,
    drops: tuple[Drop, ...],
    seed: int,
) -> Circuit:
    config, ablation = bench.config, bench.holding.config
    calibration = bench.calibration(found)
    if ablation.constant:
        values = torch.from_numpy(lone_margins(found.lone, bench.report, np.float32))
    else:
        values = masked_margins(bench.whole, bench.holding, found.keep, bench.report)
    calibrated = score_of(values, bench.report, calibration)
    whole = score(checkpoint.model, bench.report)
    losses = {
        "task_loss": calibrated.loss,
        "task_accuracy": calibrated.accuracy,
        "task_loss_raw": score_of(values, bench.report, Calibration()).loss,
        "select_loss": found.loss,
        "target_loss": config.target_loss,
        "model_loss": whole.loss,
        "model_accuracy": whole.accuracy,
    }
    model_hash = checkpoint.hash()
    record = RunRecord.collect(
        seed=seed,
        dtype=str(resolve_dtype(config.dtype)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={"model": model_hash, "task": task.hash()},
        config=config.plain(),
        config_hash=config.hash(),
    )
    recipe: dict[str, Any] = {"discovery": config.plain(), "seed": seed}
    if drops:
        recipe["edge_drops"] = [drop.to_json() for drop in drops]
    return Circuit(
        nodes=found.nodes,
        network=found.lone,
        tokenizer=checkpoint.tokenizer.to_json(),
        task=task.to_json(),
        prompt_tokens=tuple(int(token) for token in bench.tokens),
        model_hash=model_hash,
        model_step=checkpoint.step,
        calibration=calibration,
        ablation=ablation.name,
        runs_alone=ablation.constant,
        losses=losses,
        recipe=recipe,
        provenance=record.to_json(),
    )


def _identity(checkpoint: Checkpoint, task: Task, config: DiscoveryConfig, seed: int) -> str:
    parts: list[Any] = [checkpoint.hash(), task.hash(), config.hash(), seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _missed(task: Task, target: float, loss: float) -> WireworkError:
    return WireworkError(
        "target-missed",
        f"no set of nodes meets the target on {task.name} with the others cut",
        expected=f"a loss of at most {target:g} on the split `select`",
        got=f"more, even with every node kept (full model: {loss:.3f})",
        hint="a higher --target-loss",
    )
