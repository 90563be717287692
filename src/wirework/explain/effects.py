"""The direct effect of every node: what the circuit loses when that node alone is cut."""

from __future__ import annotations

from functools import partial

import numpy as np

from wirework.ablation import PromptTensors, lone_margins
from wirework.circuit import Circuit
from wirework.core import Node
from wirework.core.progress import StartProgress, silent
from wirework.engine.sparse import Floats

EFFECT_PAIRS = 128
"""Pairs of `report` on which evidence measures effects: each node costs a pass over them."""


def node_effects(
    circuit: Circuit, prompts: PromptTensors, *, start: StartProgress = silent
) -> dict[Node, float]:
    """Node -> change of the mean uncalibrated answer margin when it is cut from the circuit.

    The lone circuit runs with the node held at the constant that stands for it elsewhere: exactly
    the circuit without it. Raises `circuit-lacks-answers`.
    """
    network = circuit.network
    whole = lone_margins(network, prompts, np.float32).mean()
    nodes = [Node(site, index) for site in sorted(circuit.nodes) for index in circuit.nodes[site]]
    found = {}
    with start("effects", len(nodes)) as progress:
        for node in nodes:
            constant = float(network.gates[node.site].constant[node.index])
            hold = {node.site: partial(_hold, node.index, constant)}
            cut = lone_margins(network, prompts, np.float32, replace=hold).mean()
            found[node] = float(cut - whole)
            progress.advance()
    return found


def _hold(index: int, constant: float, x: Floats) -> Floats:
    x[..., index] = constant
    return x
