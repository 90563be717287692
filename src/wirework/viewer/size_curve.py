"""Smaller circuits of the same nodes: their loss, node by node, in the order of exact effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wirework.circuit import Circuit, every_node, without_node
from wirework.core import Node
from wirework.core.progress import StartProgress, silent
from wirework.data import Tokenizer
from wirework.engine import Network, SiteGate
from wirework.tasks import Prompts, Task
from wirework.viewer.examples import chosen_pairs
from wirework.viewer.margins import last_margins, loss_and_accuracy
from wirework.viewer.numbers import short

_STEPS = 24
_REPORT_PAIRS = 64
_EFFECT_RUNS = 4096
"""Pairs run in all to rank the nodes: fewer pairs for each where there are many nodes."""


def size_curve(
    circuit: Circuit,
    effects: Mapping[str, float] | None = None,
    *,
    start: StartProgress = silent,
) -> dict[str, Any] | None:
    """What the page needs to show smaller circuits; None for one that cannot run alone.

    `order`: indices of nodes, those first that the circuit misses most when they alone are cut.
    `points`: [k, loss, accuracy] of the first k of them on pairs of `report`, calibrated as the
    circuit is, all others held at their constants. `effects`: by node name the change of the mean
    answer margin without it; where one is missing, all are measured on pairs of `select`.
    """
    nodes = every_node(circuit.nodes)
    if not (circuit.runs_alone and nodes):
        return None
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    report = encoded.report.take(chosen_pairs(task, _REPORT_PAIRS))
    sizes = sorted({round(k) for k in np.geomspace(1, len(nodes), _STEPS)})
    known = effects or {}
    measured = not all(str(node) in known for node in nodes)
    pairs = min(len(encoded.select), max(4, min(32, _EFFECT_RUNS // len(nodes))))
    with start("sizes", len(sizes) + measured * len(nodes)) as progress:
        if measured:
            known = {}
            select = encoded.select.take(range(pairs))
            for node in nodes:
                cut = last_margins(without_node(circuit.network, node), select)
                known[str(node)] = float(cut.mean())
                progress.advance()
        order = sorted(range(len(nodes)), key=lambda index: (known[str(nodes[index])], index))
        points = []
        for size in sizes:
            kept = [nodes[index] for index in order[:size]]
            points.append([size, *_scores(circuit, _only(circuit.network, kept), report)])
            progress.advance()
    return {
        "order": order,
        "points": points,
        "pairs": len(report),
        "ranked": f"measured here on {pairs} pairs" if measured else "as the evidence has it",
        "target": circuit.losses.get("target_loss"),
    }


def measured_effects(evidence: Any) -> dict[str, float]:
    """By node its effect in the evidence; none of them where that is of another shape, which the
    page's own check then says."""
    nodes = evidence.get("nodes") if isinstance(evidence, Mapping) else None
    return {
        name: found["effect"]
        for name, found in (nodes if isinstance(nodes, Mapping) else {}).items()
        if isinstance(found, Mapping) and isinstance(found.get("effect"), float)
    }


def ranked_curve(circuit: Circuit, evidence: Any) -> dict[str, Any] | None:
    """`size_curve` where the evidence ranks every node; None where it would have to be measured,
    which takes minutes for large circuits."""
    effects = measured_effects(evidence)
    ranked = effects.keys() >= {str(node) for node in every_node(circuit.nodes)}
    return size_curve(circuit, effects) if ranked else None


def _scores(circuit: Circuit, network: Network, prompts: Prompts) -> list[float | int | None]:
    scores = loss_and_accuracy(last_margins(network, prompts), circuit.calibration)
    return [short(score) for score in scores]


def _only(network: Network, nodes: list[Node]) -> Network:
    """The network with every other node held at its constant."""
    gates = {}
    for site, gate in network.gates.items():
        keep = np.zeros_like(gate.keep)
        keep[[node.index for node in nodes if node.site == site]] = True
        gates[site] = SiteGate(keep, gate.constant, gate.before)
    return replace(network, gates=gates)
