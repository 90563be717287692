"""Pieces of text in which the nodes of a circuit are most active, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, require_model_of
from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.data import Tokenizer
from wirework.explain.effects import node_effects
from wirework.explain.evidence import Evidence, Example, NodeEvidence
from wirework.model import Checkpoint, Taps
from wirework.tasks import Task

_BATCH = 16


def top_examples(
    circuit: Circuit,
    checkpoint: Checkpoint,
    windows: NDArray[np.integer[Any]],
    *,
    top: int = 8,
    random: int = 4,
    seed: int = 0,
    span: int = 16,
    start: StartProgress = silent,
) -> Evidence:
    """Evidence about every node, from its activations in the whole model on `windows` (n, T).

    `top` examples of the largest magnitude, at most one of each window, ties by window and
    position; `random` ones drawn from `seed`, evenly over the windows in which the node is not
    zero and over its nonzero places there. Each example shows up to `span` tokens, most of them
    before the chosen one. The effects are those of `node_effects` on the split `report` of the
    circuit's task. Raises `circuit-model-mismatch`, `ablation-unknown`, `windows-malformed`.
    """
    require_model_of(circuit, checkpoint)
    tokens = _checked(windows, checkpoint)
    task = Task.from_json(circuit.task)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    effects = node_effects(circuit, PromptTensors.of(encoded.report), start=start)
    finds = {node: _Finds(top, random) for node in effects}
    generator = np.random.default_rng(seed)
    taps_at = sorted(circuit.nodes)
    with start("examples", len(tokens)) as progress:
        for first in range(0, len(tokens), _BATCH):
            piece = tokens[first : first + _BATCH]
            taps = Taps(record=taps_at)
            with torch.no_grad():
                checkpoint.model.read_out(torch.from_numpy(piece), taps)
            for site in taps_at:
                indices = list(circuit.nodes[site])
                values = taps.values[site][..., indices].float().cpu().numpy()
                draws = generator.random(values.shape)
                for place, index in enumerate(indices):
                    _look(finds[Node(site, index)], values[..., place], draws[..., place], first)
            progress.advance(len(piece))
    nodes = {}
    for node, found in finds.items():
        shown = [_show(found.top, tokens, span, checkpoint.tokenizer)]
        shown.append(_show(found.random, tokens, span, checkpoint.tokenizer))
        nodes[node] = NodeEvidence(effects[node], *shown)
    return Evidence(circuit.model_hash, nodes)
