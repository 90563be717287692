"""Pieces of text in which the nodes of a circuit are most active, and random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, require_model_of
from wirework.circuit import Circuit
from wirework.core import Node, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.data import Tokenizer
from wirework.explain.effects import EFFECT_PAIRS, edge_effects, node_effects
from wirework.explain.evidence import Evidence, Example, NodeEvidence
from wirework.model import Checkpoint, Taps
from wirework.tasks import Task

_BATCH = 16

MOST_EDGES = 1000
"""Every effect of an edge takes a pass over the prompts."""

_MOST_RUNS, _FEWEST_PAIRS = 64_000, 16
"""Pairs run in all for the effects of nodes, and pairs run for each at least."""


@dataclass(frozen=True)
class _Spot:
    """A place in a window that was chosen for `score`, with the node's values in the window."""

    score: float
    window: int
    position: int
    values: NDArray[np.float32]


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

    `top` examples of the largest magnitude, ties by window and position; `random` ones drawn from
    `seed`, evenly from all places where the node is not zero; at most one of each window. Each
    shows up to `span` tokens, most of them before the chosen one. The effects are those of
    `node_effects` and `edge_effects` on 128 pairs from all over the split `report` of the task,
    on fewer, down to 16, where there are more than 500 nodes.
    Circuits of more than 1,000 edges get no effects of edges.
    Raises `circuit-model-mismatch`, `ablation-unknown`, `windows-malformed`,
    `circuit-needs-model`.
    """
    require_model_of(circuit, checkpoint)
    tokens = _checked(windows, checkpoint, span)
    encoded = Task.from_json(circuit.task).encode(checkpoint.tokenizer, checkpoint.config.context)
    pairs = min(EFFECT_PAIRS, max(_FEWEST_PAIRS, _MOST_RUNS // max(1, circuit.n_nodes)))
    report = PromptTensors.of(encoded.report).first(pairs)
    effects = node_effects(circuit, report, start=start)
    tops: dict[Node, list[_Spot]] = {node: [] for node in effects}
    randoms: dict[Node, list[_Spot]] = {node: [] for node in effects}
    generator = np.random.default_rng(seed)
    with start("examples", len(tokens)) as progress:
        for first in range(0, len(tokens), _BATCH):
            piece = tokens[first : first + _BATCH]
            for node, values in _activations(circuit, checkpoint, piece).items():
                _keep_best(tops[node], np.abs(values), values, first, top)
                draws = np.where(values != 0, 1 - generator.random(values.shape), 0)
                _keep_best(randoms[node], draws, values, first, random)
            progress.advance(len(piece))
    nodes = {}
    for node, effect in effects.items():
        chosen = [_shown(spots[node], tokens, span, checkpoint.tokenizer)
                  for spots in (tops, randoms)]  # fmt: skip
        nodes[node] = NodeEvidence(effect, *chosen)
    few = circuit.n_edges <= MOST_EDGES
    edges = edge_effects(circuit, report, start=start) if few else ()
    return Evidence(circuit.model_hash, nodes, edges)


def _checked(
    windows: NDArray[np.integer[Any]], checkpoint: Checkpoint, span: int
) -> NDArray[np.int64]:
    tokens = np.asarray(windows)
    sound = tokens.ndim == 2 and tokens.size > 0 and np.issubdtype(tokens.dtype, np.integer)
    inside = sound and tokens.min() >= 0 and tokens.max() < checkpoint.config.vocab_size
    if not inside or tokens.shape[1] > checkpoint.config.context or span < 1:
        raise WireworkError(
            "windows-malformed",
            "examples come from rows of tokens that the model can read",
            expected=f"integers (windows, at most {checkpoint.config.context} tokens) "
            f"in 0..{checkpoint.config.vocab_size - 1}, shown in spans of at least 1",
            got=f"{tokens.dtype} {tokens.shape}, span {span}",
        )
    return tokens.astype(np.int64)


@torch.no_grad()
def _activations(
    circuit: Circuit, checkpoint: Checkpoint, tokens: NDArray[np.int64]
) -> dict[Node, NDArray[np.float32]]:
    """Node -> its activation in the whole model, (B, T)."""
    taps = Taps(record=circuit.nodes)
    checkpoint.model.read_out(torch.from_numpy(tokens), taps)
    found = {}
    for site, indices in sorted(circuit.nodes.items()):
        values = taps.values[site][..., list(indices)].movedim(-1, 0).float().contiguous()
        for index, mine in zip(indices, values.cpu().numpy(), strict=True):
            found[Node(site, index)] = mine
    return found


def _keep_best(
    best: list[_Spot],
    scores: NDArray[np.floating[Any]],
    values: NDArray[np.float32],
    first: int,
    count: int,
) -> None:
    """Put the highest score of every window (B, T), where above 0, among the `count` best."""
    positions = scores.argmax(axis=1)
    highest = scores[np.arange(len(scores)), positions]
    bar = best[-1].score if best and len(best) == count else 0.0
    for row in np.flatnonzero(highest > bar):
        spot = (float(highest[row]), first + int(row), int(positions[row]), values[row].copy())
        best.append(_Spot(*spot))
    best.sort(key=lambda spot: (-spot.score, spot.window))
    del best[count:]


def _shown(
    spots: Sequence[_Spot], tokens: NDArray[np.int64], span: int, tokenizer: Tokenizer
) -> tuple[Example, ...]:
    found = []
    for spot in spots:
        row = tokens[spot.window]
        begin = max(0, min(spot.position - span * 3 // 4, len(row) - span))
        end = min(begin + span, len(row))
        found.append(
            Example(
                tokens=tuple(tokenizer.token_text(int(token)) for token in row[begin:end]),
                # Six digits: what a page can show, in a third of the space.
                values=tuple(float(f"{value:.6g}") + 0.0 for value in spot.values[begin:end]),
                position=spot.position - begin,
            )
        )
    return tuple(found)
