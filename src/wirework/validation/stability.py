"""Whether other searches find the same circuit: seeds, resampled pairs, coefficients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit, Subgraph
from wirework.core import Measure, Node
from wirework.core.progress import StartProgress
from wirework.core.stats import bootstrap_interval, share_interval
from wirework.discovery import DiscoveryConfig, search
from wirework.tasks import Pair, Task
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.recipe import recipe_of
from wirework.validation.subject import Subject

CORE = 0.9
"""A node is of the consensus core if it is in at least this share of the runs."""


def stability_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`stability_of` the circuit and of `config.stability_runs` more searches by its recipe, with
    another seed, with resampled pairs and with another coefficient by turns; `runs_reached`.

    Searches that miss the target or a limit beside it have no circuit to compare;
    `runs_reached` counts the others. One search costs as much as the circuit's own.
    """
    runs = variations(subject, config.stability_runs, seed)
    found = [
        search(
            subject.checkpoint, run.task, config=run.config, seed=run.seed, unlearned_ok=True,
            start=start,
        )
        for run in runs
    ]  # fmt: skip
    good = [one.circuit for one in found if one.reached]
    low, high = share_interval(len(good), len(runs))
    told = {
        "runs_reached": Measure(
            len(good) / len(runs), low, high, len(runs), better="higher",
            note=f"Share of further searches that reach all that they ask for: "
            f"{', '.join(run.what for run in runs)}",
        )
    }  # fmt: skip
    return Findings(told) | stability_of([subject.circuit, *good])


def stability_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs, at most about."""
    recipe = recipe_of(subject.circuit)
    return config.stability_runs * 3 * recipe.steps * recipe.batch / config.pairs


def stability_of(circuits: Sequence[Circuit]) -> Findings:
    """How much circuits of one task have in common: `stability`, `stability_edges` (mean Jaccard
    index of two circuits), `core_nodes`, `core_share`.

    `details["stability"]`: how often every node was found, with a Wilson interval, the commonest
    first; the core; the sizes. Intervals of the means: bootstrap over circuits. NaN for fewer than
    two circuits.
    """
    graphs = [circuit.graph() for circuit in circuits]
    count = Counter(node for graph in graphs for node in graph.nodes)
    core = sorted(node for node, hits in count.items() if hits >= CORE * len(graphs))
    size = float(np.median([len(graph.nodes) for graph in graphs]))
    note = f"Nodes in at least {CORE:.0%} of {len(graphs)} circuits"
    share = len(core) / size if size else nan
    measures = {
        **_overlap(graphs),
        "core_nodes": Measure(len(core), n=len(graphs), note=note),
        "core_share": Measure(
            share, n=len(graphs), better="higher", note=f"{note}, as a share of the median size"
        ),
    }
    return Findings(measures, {"stability": _table(count, core, graphs)})


@dataclass(frozen=True)
class Variation:
    """One more search; `what` it does otherwise than the circuit's own."""

    what: str
    task: Task
    config: DiscoveryConfig
    seed: int


def variations(subject: Subject, count: int, seed: int) -> list[Variation]:
    """Searches that differ from the circuit's in one thing each, by turns: the seed; the pairs of
    `fit` and `select`, drawn with replacement; the coefficient, x 1/2, 2, 1/4, 4, …"""
    task, config = subject.task, recipe_of(subject.circuit)
    own = int(subject.circuit.recipe.get("seed", 0))
    found = []
    for number in range(count):
        turn, kind = divmod(number, 3)
        factor = 2.0 ** ((turn // 2 + 1) * (1 if turn % 2 else -1))
        if kind == 0:
            found.append(Variation(f"seed {own + turn + 1}", task, config, own + turn + 1))
        elif kind == 1:
            random = np.random.default_rng([seed, 6, turn])
            found.append(Variation("resampled pairs", resampled(task, random), config, own))
        else:
            other = config.replace(coefficient=config.coefficient * factor)
            found.append(Variation(f"coefficient x {factor:g}", task, other, own))
    return found


def resampled(task: Task, random: np.random.Generator) -> Task:
    """The task with pairs of `fit` and `select` drawn with replacement, as many as there were."""

    def drawn(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        return tuple(pairs[i] for i in random.integers(len(pairs), size=len(pairs)))

    return replace(task, fit=drawn(task.fit), select=drawn(task.select))


def _overlap(graphs: Sequence[Subgraph]) -> dict[str, Measure]:
    shared = np.ones((2, len(graphs), len(graphs)))
    for i, j in combinations(range(len(graphs)), 2):
        shared[:, i, j] = shared[:, j, i] = graphs[i].jaccard(graphs[j])
    found = {}
    for name, what, matrix in zip(
        ("stability", "stability_edges"), ("nodes", "edges"), shared, strict=True
    ):
        value, low, high = _mean_of_two(matrix)
        found[name] = Measure(
            value, low, high, len(graphs), better="higher",
            note=f"Mean Jaccard index (shared / all) of the {what} of two of the circuits",
        )  # fmt: skip
    return found


def _mean_of_two(matrix: NDArray[np.float64]) -> tuple[float, float | None, float | None]:
    """Mean over pairs of different circuits, and its interval; a circuit drawn twice makes no
    pair with itself."""
    count = len(matrix)
    if count < 2:
        return nan, None, None

    def mean(drawn: NDArray[np.float64]) -> float:
        index = drawn.astype(int)
        different = index[:, np.newaxis] != index
        values = matrix[np.ix_(index, index)][different]
        return float(values.mean()) if len(values) else nan

    value = mean(np.arange(count, dtype=np.float64))
    if count < 3:
        return value, None, None
    low, high = bootstrap_interval(
        np.arange(count), lambda drawn: value if (drawn == drawn[0]).all() else mean(drawn), seed=0
    )
    return value, low, high


def _table(count: Counter[Node], core: list[Node], graphs: Sequence[Subgraph]) -> dict[str, Any]:
    order = sorted(count, key=lambda node: (-count[node], node))
    intervals = [share_interval(count[node], len(graphs)) for node in order]
    return {
        "node": [str(node) for node in order],
        "share": [count[node] / len(graphs) for node in order],
        "low": [low for low, _ in intervals],
        "high": [high for _, high in intervals],
        "core": [str(node) for node in core],
        "nodes": [len(graph.nodes) for graph in graphs],
        "edges": [len(graph.edges) for graph in graphs],
    }
