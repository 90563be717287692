"""The exact effect of every node and every edge: what the circuit loses when it alone is cut."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from wirework.ablation import PromptTensors, lone_margins, score_of
from wirework.circuit import Circuit, every_node, without_edges, without_node
from wirework.core import Edge, Node
from wirework.core.progress import StartProgress, silent
from wirework.engine import Network

EFFECT_PAIRS = 128
"""Pairs of `report` on which evidence measures effects: each node costs a pass over them."""


def node_effects(
    circuit: Circuit, prompts: PromptTensors, *, start: StartProgress = silent
) -> dict[Node, float]:
    """Node -> change of the mean uncalibrated answer margin when it is cut from the circuit.

    The lone circuit runs with the node held at the constant that stands for it elsewhere: exactly
    the circuit without it. Raises `circuit-lacks-answers`, `circuit-needs-model`.
    """
    circuit.require_alone()
    network = circuit.network
    whole = lone_margins(network, prompts, np.float32).mean()
    nodes = every_node(circuit.nodes)
    found = {}
    with start("effects", len(nodes)) as progress:
        for node in nodes:
            cut = lone_margins(without_node(network, node), prompts, np.float32).mean()
            found[node] = float(cut - whole)
            progress.advance()
    return found


@dataclass(frozen=True)
class EdgeEffect:
    """What one edge does: the circuit with it cut, less the circuit.

    `loss`: change of the task loss in nats, calibrated as the circuit is; positive where the edge
    helps. `margin`: change of the mean uncalibrated answer margin; negative where it helps.
    """

    edge: Edge
    weight: float
    loss: float
    margin: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "edge": str(self.edge)}


def edge_effects(
    circuit: Circuit, prompts: PromptTensors, *, start: StartProgress = silent
) -> tuple[EdgeEffect, ...]:
    """The effect of every edge, what helps most first, equal ones by name.

    The lone circuit runs once for each edge, in float64, with the edge's target seeing the constant
    of its source (`without_edges`): exactly the circuit without that edge. Raises
    `circuit-lacks-answers`, `circuit-needs-model`.
    """
    circuit.require_alone()
    found = []

    def measured(network: Network) -> tuple[float, float]:
        values = lone_margins(network, prompts, np.float64)
        result = score_of(torch.from_numpy(values), prompts, circuit.calibration)
        return result.loss, float(values.mean())

    edges = circuit.edges()
    loss, margin = measured(circuit.network)
    with start("edge effects", len(edges)) as progress:
        for edge, weight in edges:
            cut = measured(without_edges(circuit.network, [edge]))
            found.append(EdgeEffect(edge, weight, cut[0] - loss, cut[1] - margin))
            progress.advance()
    return tuple(sorted(found, key=lambda effect: (-effect.loss, effect.edge)))
