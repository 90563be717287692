"""A sweep that is done: the best circuits, size-loss curves, overlap, report, pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit
from wirework.core import Measure, Report, RunRecord
from wirework.core.stats import bootstrap_interval, geometric_mean
from wirework.discovery.sweep_folder import SweepFolder
from wirework.discovery.sweep_plan import Group, Plan, RunResult
from wirework.plots import (
    Bar,
    SizeLoss,
    draw_overlap,
    draw_size_loss_grid,
    draw_task_bars,
)

Point = tuple[int, int, float]
"""Nodes, edges, task loss in nats."""


@dataclass(frozen=True)
class Sweep:
    """What `sweep` left in a folder. `results`: of every run of the plan that is done."""

    folder: Path
    plan: Plan
    results: Mapping[str, RunResult]

    @classmethod
    def open(cls, folder: Path | str) -> Sweep:
        """Raises what `SweepFolder.plan` and `SweepFolder.results` raise."""
        store = SweepFolder(folder)
        plan, results = store.plan(), store.results()
        known = {run.id: run.told(results[run.id]) for run in plan.runs if run.id in results}
        return cls(Path(folder), plan, known)

    def runs(self, task: str, variant: str = "") -> list[RunResult]:
        """The full searches of a task, in the order of the plan."""
        return [
            result
            for result in self.results.values()
            if (result.task, result.variant) == (task, variant) and not result.trial
        ]

    def best_by_seed(self, task: str, variant: str = "") -> dict[int, RunResult]:
        """For each seed the candidate with the fewest edges that meets the target; a seed at
        which none has a circuit is left out."""
        found: dict[int, RunResult] = {}
        for result in sorted(self.runs(task, variant), key=lambda result: result.rank):
            if result.sizes:
                found.setdefault(result.seed, result)
        return dict(sorted(found.items()))

    def best(self, task: str, variant: str = "") -> RunResult | None:
        """The result with the fewest edges over all seeds; None where no run has a circuit."""
        return min(
            self.best_by_seed(task, variant).values(), key=lambda result: result.rank, default=None
        )

    def circuit(self, result: RunResult) -> Circuit:
        return SweepFolder(self.folder).circuit(result.id)

    def curve(self, task: str, variant: str = "") -> list[Point]:
        """The fewest edges that some full search needed for each loss on `select`: nodes, edges
        and loss, edges rising and loss falling. Without clean-up where the searches kept their
        curves; else the circuits themselves."""
        points = [point for result in self.runs(task, variant) for point in points_of(result)]
        return lower_edge(points)

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.plan.groups

    @property
    def headline(self) -> list[str]:
        """Tasks that may stand in a mean: not local."""
        return [task.name for task in self.plan.tasks if not task.local]

    def unsolved(self) -> dict[str, str]:
        """Tasks without a circuit at some seed, with what their runs said."""
        found = {}
        for task, variant in self.groups:
            seeds = self.best_by_seed(task, variant)
            said = {r.seed: f"{r.status} ({r.error.get('got', '')})"
                    for r in self.runs(task, variant) if r.seed not in seeds}  # fmt: skip
            if said:
                found[label(task, variant)] = "; ".join(f"seed {s}: {t}" for s, t in said.items())
        return found

    def report(self) -> Report:
        """`edges:TASK`, `nodes:TASK`, `task_loss:TASK`: medians over seeds of the best candidate,
        with a bootstrap interval; `edges_geomean`: geometric mean over tasks of edges + 1 (design
        §4), without local tasks and without those whose circuits miss the target. A variant's
        name stands behind the task's."""
        measures: dict[str, Measure] = {}
        for task, variant in self.groups:
            for what in ("edges", "nodes", "task_loss"):
                measure = self.measure(what, task, variant)
                if measure is not None:
                    measures[f"{what}:{label(task, variant)}"] = measure
        for variant in self.plan.config.variants():
            measures |= self._geomean(variant)
        return Report("sweep", measures, provenance=self._provenance())

    def measure(self, what: str, task: str, variant: str = "") -> Measure | None:
        """A size or a loss of the best candidates: their median over seeds, with an interval
        where there are several; None where no seed has a circuit."""
        results = self.best_by_seed(task, variant).values()
        values = [float({**result.losses, **result.sizes}[what]) for result in results]
        if not values:
            return None
        low, high = None, None
        if len(values) > 1:
            low, high = bootstrap_interval(values, lambda drawn: float(np.median(drawn)), seed=0)
        return Measure(median(values), low, high, len(values), "lower", note="median over seeds")

    def _geomean(self, variant: str) -> dict[str, Measure]:
        tasks = [task for task in self.headline if self._solved(task, variant)]
        sizes = [self.measure("edges", task, variant) for task in tasks]
        found = [size.value for size in sizes if size is not None]
        if not found:
            return {}
        value, low, high = geomean_of_edges(found)
        name = "edges_geomean" + (f":{variant}" if variant else "")
        measure = Measure(value, low, high, len(found), "lower", note="over tasks, edges + 1")
        return {name: measure}

    def _solved(self, task: str, variant: str) -> bool:
        """Whether the circuits of all seeds meet the target."""
        best = self.best_by_seed(task, variant).values()
        return bool(best) and all(result.status == "found" for result in best)

    def _provenance(self) -> dict[str, object]:
        threads = {result.threads for result in self.results.values()}
        record = RunRecord.collect(
            seed=self.plan.config.seeds[0],
            dtype=self.plan.config.discovery.dtype,
            threads=max(threads, default=1),
            inputs={
                "model": self.plan.model_hash,
                **{task.name: task.content for task in self.plan.tasks},
            },
            config=self.plan.config.plain(),
            config_hash=self.plan.config.hash(),
        )
        local = [task.name for task in self.plan.tasks if task.local]
        told = {"left_out": self.plan.left_out, "unsolved": self.unsolved(), "local": local}
        return {**record.to_json(), **told, "model": self.plan.model}

    def overlap(self, variant: str = "") -> tuple[list[str], NDArray[np.float64]]:
        """Jaccard index of the nodes of each two tasks' best circuits: task names (n), (n, n)."""
        best = {task.name: self.best(task.name, variant) for task in self.plan.tasks}
        nodes = {name: _nodes(self.circuit(result)) for name, result in best.items() if result}
        shares = [[_jaccard(one, other) for other in nodes.values()] for one in nodes.values()]
        return list(nodes), np.array(shares, dtype=np.float64).reshape(len(nodes), len(nodes))

    def write(self) -> Report:
        """report.json, and the pictures size_loss.svg, edges.svg, overlap.svg beside it."""
        report = self.report()
        report.save(self.folder / "report.json")
        panels: dict[str, dict[str, SizeLoss]] = {}
        bars: dict[str, dict[str, Bar]] = {}
        for task, variant in self.groups:
            best, points = self.best(task, variant), self.curve(task, variant)
            if best is None:
                continue
            kept = (float(best.edges), best.losses["select_loss"])
            panels.setdefault(task, {})[variant or "fewest edges"] = SizeLoss(
                [edges for _, edges, _ in points], [loss for _, _, loss in points], kept
            )
            size = report[f"edges:{label(task, variant)}"]
            bars.setdefault(variant or "edges", {})[task] = Bar(size.value, size.low, size.high)
        if panels:
            target = self.plan.config.discovery.target_loss
            draw_size_loss_grid(panels, self.folder / "size_loss.svg", target=target)
            seeds = len(self.plan.config.seeds)
            over = f" (median of {seeds} seeds)" if seeds > 1 else ""
            draw_task_bars(bars, self.folder / "edges.svg", label=f"edges{over}")
        for variant in self.plan.config.variants():
            names, shares = self.overlap(variant)
            if names:
                suffix = f"-{variant.replace('/', '-').replace(' ', '_')}" if variant else ""
                draw_overlap(names, shares, self.folder / f"overlap{suffix}.svg")
        return report


def label(task: str, variant: str) -> str:
    """How measures call a task of a variant."""
    return f"{task}:{variant}" if variant else task


def points_of(result: RunResult) -> list[Point]:
    """A run's curve; the circuit itself where it kept none."""
    if result.curve or not result.sizes:
        return list(result.curve)
    return [(result.sizes["nodes"], result.edges, result.losses["select_loss"])]


def lower_edge(points: Iterable[Point]) -> list[Point]:
    """Those of the points that no other beats in both edges and loss, edges rising."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p[1], p[2], p[0])):
        if not found or point[2] < found[-1][2]:
            found.append(point)
    return found


def edges_at(curve: Sequence[Point], loss: float) -> int | None:
    """The fewest edges of a `lower_edge` with at most that loss; None where none has."""
    return next((edges for _, edges, reached in curve if reached <= loss), None)


def geomean_of_edges(edges: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of edges + 1 with its bootstrap interval over tasks (95%)."""
    sizes = np.asarray(edges, dtype=np.float64) + 1
    low, high = bootstrap_interval(sizes, geometric_mean, seed=0)
    return geometric_mean(sizes), low, high


def _nodes(circuit: Circuit) -> frozenset[tuple[str, int]]:
    return frozenset((str(site), i) for site, found in circuit.nodes.items() for i in found)


def _jaccard(one: frozenset[tuple[str, int]], other: frozenset[tuple[str, int]]) -> float:
    """NaN for two empty sets."""
    either = len(one | other)
    return len(one & other) / either if either else float("nan")
