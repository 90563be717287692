"""Circuits of planted models by naming their nodes, without a search."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import torch

from wirework.ablation import (
    PromptTensors,
    calibrate,
    keep_of,
    kept_nodes,
    lone_margins,
    site_gates,
)
from wirework.circuit import Circuit, extract
from wirework.core import Edge, Node, Report, Site
from wirework.model import Checkpoint
from wirework.planted import Planted
from wirework.tasks import Task
from wirework.validation import ValidationConfig, validate


def circuit_of(
    planted: Planted,
    nodes: Collection[Node],
    target_loss: float = 0.15,
    cut: Collection[Edge] = (),
) -> Circuit:
    """The circuit that keeps `nodes`, without the edges `cut`, calibrated on `fit`."""
    checkpoint, task = planted.checkpoint, planted.task
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    named: dict[Site, tuple[int, ...]] = {}
    for node in nodes:
        named[node.site] = (*named.get(node.site, ()), node.index)
    keep = keep_of(named, widths)
    fit = PromptTensors.of(encoded.fit)
    answers = encoded.answer_tokens()
    lone = extract(checkpoint.sparse(), site_gates(keep, checkpoint.means), answers, cut)
    margins = torch.from_numpy(lone_margins(lone, fit, np.float64))
    return Circuit(
        nodes=kept_nodes(keep),
        network=lone,
        tokenizer=checkpoint.tokenizer.to_json(),
        task=task.to_json(),
        prompt_tokens=(),
        model_hash=checkpoint.hash(),
        calibration=calibrate(margins, fit.side),
        ablation=planted.ablation,
        losses={"target_loss": target_loss},
    )


def all_nodes(planted: Planted) -> frozenset[Node]:
    means = planted.checkpoint.means
    return frozenset(Node(site, index) for site in means for index in range(len(means[site])))


def random_nodes(planted: Planted, like: Collection[Node], seed: int) -> frozenset[Node]:
    """As many nodes at every site as `like` has there."""
    random = np.random.default_rng(seed)
    counts: Mapping[Site, int] = {
        site: sum(node.site == site for node in like) for site in {node.site for node in like}
    }
    found = set()
    for site, count in sorted(counts.items()):
        width = len(planted.checkpoint.means[site])
        found |= {Node(site, int(i)) for i in random.choice(width, count, replace=False)}
    return frozenset(found)


def fit_and_controls(
    circuit: Circuit,
    checkpoint: Checkpoint,
    task: Task | None = None,
    *,
    draws: int,
    seed: int = 0,
) -> Report:
    """The report of the groups that compare a circuit with random ones, few of them."""
    groups = ("fit", "controls", "exactness")
    config = ValidationConfig(draws=draws)
    return validate(circuit, checkpoint, task, groups=groups, config=config, seed=seed)
