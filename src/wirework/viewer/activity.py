"""What nodes do on many prompts of the task: how values part by answer, and what moves together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit, every_node
from wirework.tasks import Prompts, Task
from wirework.viewer.numbers import short

MOST_PAIRS, _AT_ONCE, _BINS = 64, 8, 16


@dataclass(frozen=True)
class Activity:
    """`values` (tokens, nodes): of all prompts, one after the other. `peaks` (prompts, nodes): the
    value of the largest magnitude in every prompt. `wants`: by prompt, the answer that is right."""

    values: NDArray[np.float64]
    peaks: NDArray[np.float64]
    wants: list[str]


def measure_activity(circuit: Circuit, task: Task, report: Prompts) -> Activity:
    """On at most `MOST_PAIRS` pairs of `report`, spread evenly. Raises `circuit-needs-model`."""
    count = min(len(report), MOST_PAIRS)
    pairs = np.unique(np.linspace(0, len(report) - 1, count).astype(np.int64))
    nodes = every_node(circuit.nodes)
    values, wants = [np.zeros((0, len(nodes)))], []
    peaks = [np.zeros((0, len(nodes)))]
    for batch in np.split(pairs, range(_AT_ONCE, len(pairs), _AT_ONCE)):
        prompts = report.take(batch)
        trace = circuit.trace(prompts.tokens, np.float64, record=set(circuit.nodes))
        sites = [trace.sites[site][..., list(kept)] for site, kept in _by_site(circuit)]
        found = np.concatenate([*sites, np.zeros((*prompts.tokens.shape, 0))], axis=2)
        for row, last in enumerate(prompts.last):
            seen = found[row, : int(last) + 1]
            values.append(seen)
            peaks.append(np.take_along_axis(seen, np.abs(seen).argmax(axis=0)[None], axis=0))
        wants += [task.report[int(pair)].answer for pair in batch]
        wants += [task.report[int(pair)].counter_answer for pair in batch]
    return Activity(np.concatenate(values), np.concatenate(peaks), wants)


def _by_site(circuit: Circuit) -> list[tuple[Any, tuple[int, ...]]]:
    """Sites with their kept indices, in the order of `every_node`."""
    found: dict[Any, list[int]] = {}
    for node in every_node(circuit.nodes):
        found.setdefault(node.site, []).append(node.index)
    return [(site, tuple(indices)) for site, indices in found.items()]


def histograms(activity: Activity) -> dict[str, Any]:
    """How often a node's strongest value in a prompt falls where, by the answer that is right.

    `classes`: answers; `prompts`: how many of each. By node: `low`, `high`, and for every class
    `counts` in bins of equal width between them; None for a node that never changes.
    """
    classes = list(dict.fromkeys(activity.wants))
    rows = [np.array([want == name for want in activity.wants], dtype=bool) for name in classes]
    nodes: list[dict[str, Any] | None] = []
    for peaks in activity.peaks.T:
        low, high = float(peaks.min(initial=np.inf)), float(peaks.max(initial=-np.inf))
        if not low < high:
            nodes.append(None)
            continue
        counts = [np.histogram(peaks[row], _BINS, (low, high))[0].tolist() for row in rows]
        nodes.append({"low": short(low), "high": short(high), "counts": counts})
    return {"classes": classes, "prompts": [int(row.sum()) for row in rows], "nodes": nodes}


def largest_values(activity: Activity) -> list[float | int | None]:
    """By node, its largest magnitude on the prompts: the darkest colour. 0 without prompts."""
    return [short(float(value)) for value in np.abs(activity.values).max(axis=0, initial=0)]


def unity(values: NDArray[np.float64]) -> float:
    """How far nodes, the columns of `values` (tokens, n >= 2), move as one, in [0, 1].

    (l - 1) / (n - 1), l the largest eigenvalue of their correlations: 1 where every node is a
    multiple of one signal plus a constant, whatever its sign; for two nodes the magnitude of their
    correlation; near 0 where they have nothing in common. 0 if any of them never changes.
    """
    spread = values.std(axis=0)
    if len(values) < 2 or not (spread > 1e-12 * (np.abs(values).max(axis=0) + 1e-300)).all():
        return 0.0
    scaled = (values - values.mean(axis=0)) / spread
    largest = float(np.linalg.eigvalsh(scaled.T @ scaled / len(values))[-1])
    return min(1.0, max(0.0, (largest - 1) / (len(spread) - 1)))
