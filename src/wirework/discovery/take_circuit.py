"""Take chosen nodes out of a model as a circuit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch

from wirework.ablation import keep_of, lone_margins, masked_margins, score, score_of
from wirework.circuit import Calibration, Circuit, Nodes
from wirework.core import Node, RunRecord, Site, WireworkError
from wirework.discovery.bench import Bench, Candidate
from wirework.discovery.config import DiscoveryConfig
from wirework.model import Checkpoint
from wirework.model.precision import resolve_dtype
from wirework.tasks import Task


def take_circuit(
    checkpoint: Checkpoint,
    task: Task,
    nodes: Collection[Node],
    *,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
) -> Circuit:
    """The circuit that keeps `nodes` and every edge between them, whoever chose them.

    Nodes off every path from tokens to answer go; scale and shift are fitted on `fit`; nothing is
    searched for and no target asked. `config`: its ablation and target count. Raises
    `node-unknown`, `ablation-learned` where the ablation would have to be learned,
    `ablation-lengths` and what the task's encoding raises.
    """
    config = config or DiscoveryConfig()
    if config.ablation.kind == "optimal":
        raise WireworkError(
            "ablation-learned",
            "nodes were chosen, but what the others are held at would have to be learned",
            expected="an ablation with known constants, such as mean-pretraining",
            got=config.ablation.name,
        )
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, config)
    keep = keep_of(nodes_by_site(nodes, bench.widths), bench.widths)
    recipe = {"chosen": sorted(str(node) for node in nodes)}
    return store(checkpoint, task, bench, bench.measure(keep), seed=seed, recipe=recipe)


def nodes_by_site(nodes: Collection[Node], widths: Mapping[Site, int]) -> Nodes:
    """Indices by site, rising. Raises `node-unknown` for one that the model lacks."""
    found: dict[Site, list[int]] = {}
    for node in sorted(set(nodes)):
        if not 0 <= node.index < widths.get(node.site, 0):
            raise WireworkError(
                "node-unknown",
                "the model has no such node",
                expected="a site of the model and an index below its width",
                got=str(node),
            )
        found.setdefault(node.site, []).append(node.index)
    return {site: tuple(indices) for site, indices in found.items()}


def store(
    checkpoint: Checkpoint,
    task: Task,
    bench: Bench,
    found: Candidate,
    *,
    seed: int,
    recipe: Mapping[str, Any],
) -> Circuit:
    """A candidate as a circuit: calibrated on all of `fit`, scored on `report`.

    `recipe`: how it was found, beside the configuration and the seed.
    """
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
        recipe={"discovery": config.plain(), "seed": seed, **recipe},
        provenance=record.to_json(),
    )
