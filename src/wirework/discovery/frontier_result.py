"""What a frontier shows: sizes with intervals, the ratio, tables and pictures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wirework.core import Measure, Report, RunRecord
from wirework.core.files import write_text
from wirework.core.stats import bootstrap_interval, geometric_mean
from wirework.discovery.sweep_result import Sweep, edges_at, geomean_of_edges
from wirework.plots import (
    Bar,
    FrontierPoint,
    SizeBand,
    draw_frontier,
    draw_sizes_at_losses,
    draw_task_bars,
)

LOSSES = tuple(step / 50 for step in range(1, 31))
"""Target losses of Fig 2, in nats: from 0.02 to 0.6; guessing costs 0.69."""


@dataclass(frozen=True)
class FrontierModel:
    """One model. `val_loss`: nats per token; `val_text`: on which text; `density`: share of the
    projected weights that is not zero."""

    name: str
    sweep: Sweep
    val_loss: float
    val_text: str
    tokenizer: str
    nonzeros: int
    density: float

    @cached_property
    def variant(self) -> str:
        return next(iter(self.sweep.plan.config.variants()))

    def bar(self, task: str) -> Bar | None:
        """Edges of a task's circuits, median and interval over seeds; None where it has none."""
        found = self.sweep.measure("edges", task, self.variant)
        return None if found is None else Bar(found.value, found.low, found.high)

    def edges(self, task: str) -> float | None:
        found = self.bar(task)
        return None if found is None else found.value


@dataclass(frozen=True)
class Size:
    """Geometric mean over tasks of edges + 1, with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Frontier:
    """Models beside each other. `left_out`: tasks of the catalog that were not searched."""

    folder: Path
    models: tuple[FrontierModel, ...]
    baseline: str
    left_out: Mapping[str, str]

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks of which every model has a circuit, local ones apart: what means are taken over."""
        names = self.models[0].sweep.headline
        return [
            task for task in names if all(model.edges(task) is not None for model in self.models)
        ]

    @property
    def unsolved(self) -> dict[str, str]:
        """Tasks that were searched, but not found in every model: which model lacks them."""
        lacking: dict[str, str] = {}
        for task in self.models[0].sweep.headline:
            without = [model.name for model in self.models if model.edges(task) is None]
            if without:
                lacking[task] = "no circuit in " + ", ".join(without)
        return lacking

    def size(self, model: FrontierModel) -> Size | None:
        """Over `tasks`; None where there is none."""
        found = [model.edges(task) for task in self.tasks]
        sizes = [size for size in found if size is not None]
        return Size(*geomean_of_edges(sizes)) if sizes else None

    def size_at(self, model: FrontierModel, loss: float) -> Size | None:
        """The size at another target loss, from the curves; None where a task is not that good."""
        curves = (model.sweep.curve(task, model.variant) for task in self.tasks)
        sizes = [edges_at(curve, loss) for curve in curves]
        known = [size for size in sizes if size is not None]
        if not known or len(known) < len(sizes):
            return None
        return Size(*geomean_of_edges(known))

    def ratio(self, model: FrontierModel) -> Size:
        """Edges + 1 of the baseline ÷ those of a model, task by task; interval over tasks."""
        base = next(m for m in self.models if m.name == self.baseline)
        pairs = [(base.edges(task), model.edges(task)) for task in self.tasks]
        shares = np.array([(a + 1) / (b + 1) for a, b in pairs if a is not None and b is not None])
        low, high = bootstrap_interval(shares, geometric_mean, seed=0)
        return Size(geometric_mean(shares), low, high)

    def report(self) -> Report:
        """`edges_geomean:MODEL`, `val_loss:MODEL`, `ratio:MODEL` to the baseline, and `ratio`: that
        of the model whose validation loss is nearest to the baseline's."""
        measures: dict[str, Measure] = {}
        base = next(model for model in self.models if model.name == self.baseline)
        others = [model for model in self.models if model is not base]
        for model in self.models:
            size = self.size(model)
            if size is not None:
                measures[f"edges_geomean:{model.name}"] = _measure(size, len(self.tasks), "lower")
            measures[f"val_loss:{model.name}"] = Measure(
                model.val_loss, better="lower", note=f"nats per token, on {model.val_text}"
            )
        if self.tasks and others:
            for model in others:
                ratio = _measure(self.ratio(model), len(self.tasks), "higher")
                measures[f"ratio:{model.name}"] = ratio
            near = min(others, key=lambda model: abs(model.val_loss - base.val_loss))
            note = f"{base.name} ÷ {near.name}, {near.val_loss - base.val_loss:+.3f} nats apart"
            measures["ratio"] = _measure(self.ratio(near), len(self.tasks), "higher", note)
        return Report("frontier", measures, provenance=self._provenance())

    def _provenance(self) -> dict[str, Any]:
        config = self.models[0].sweep.plan.config
        plans = [model.sweep.plan for model in self.models]
        record = RunRecord.collect(
            seed=config.seeds[0],
            dtype=config.discovery.dtype,
            inputs={m.name: plan.model_hash for m, plan in zip(self.models, plans, strict=True)},
            config=config.plain(),
            config_hash=config.hash(),
        )
        notes = []
        if len({model.tokenizer for model in self.models}) > 1:
            notes.append("the models have different tokenizers: losses per token don't compare")
        return {
            **record.to_json(),
            "baseline": self.baseline,
            "tasks": self.tasks,
            "left_out": dict(self.left_out),
            "unsolved": self.unsolved,
            "notes": notes,
        }

    def table(self) -> list[dict[str, Any]]:
        """A row for every model."""
        rows = []
        for model in self.models:
            size = self.size(model)
            rows.append(
                {
                    "model": model.name,
                    "density": model.density,
                    "nonzeros": model.nonzeros,
                    "val_loss": model.val_loss,
                    "edges_geomean": size and size.value,
                    "low": size and size.low,
                    "high": size and size.high,
                    "tasks": len(self.tasks),
                }
            )
        return rows

    def write(self) -> Report:
        """The tables, the report and the pictures."""
        report = self.report()
        report.save(self.folder / "report.json")
        rows = self.table()
        write_text(self.folder / "frontier.csv", _csv(rows))
        write_text(self.folder / "frontier.md", markdown(rows))
        write_text(self.folder / "tasks.csv", _csv(self._task_rows()))
        bands = {m.name: self._band(m) for m in self.models}
        write_text(self.folder / "sizes_at_losses.csv", _csv(self._loss_rows(bands)))
        if self.tasks:
            self._draw(bands)
        return report

    def _task_rows(self) -> list[dict[str, Any]]:
        found = []
        for model in self.models:
            for task in model.sweep.headline:
                best = model.sweep.best(task, model.variant)
                found.append(
                    {
                        "model": model.name,
                        "task": task,
                        "edges": model.edges(task),
                        "fewest_edges": best and best.edges,
                        "nodes": best and best.sizes["nodes"],
                        "task_loss": best and best.losses["task_loss"],
                    }
                )
        return found

    def _band(self, model: FrontierModel) -> dict[float, Size]:
        sizes = {loss: self.size_at(model, loss) for loss in LOSSES}
        return {loss: size for loss, size in sizes.items() if size is not None}

    def _loss_rows(self, bands: Mapping[str, Mapping[float, Size]]) -> list[dict[str, Any]]:
        return [
            {"model": name, "target_loss": loss, "edges_geomean": size.value,
             "low": size.low, "high": size.high}
            for name, band in bands.items()
            for loss, size in band.items()
        ]  # fmt: skip

    def _draw(self, bands: Mapping[str, Mapping[float, Size]]) -> None:
        short = short_names([model.name for model in self.models])
        points = []
        for model in self.models:
            size = self.size(model)
            assert size is not None, "there are tasks that every model has a circuit of"
            points.append(
                FrontierPoint(short[model.name], model.val_loss, size.value, size.low, size.high)
            )
        draw_frontier(points, self.folder / "frontier.svg")
        target = self.models[0].sweep.plan.config.discovery.target_loss
        lines = {
            short[name]: SizeBand(
                list(band),
                [size.value for size in band.values()],
                [size.low for size in band.values()],
                [size.high for size in band.values()],
            )
            for name, band in bands.items()
        }
        draw_sizes_at_losses(lines, self.folder / "sizes_at_losses.svg", target=target)
        bars: dict[str, dict[str, Bar]] = {short[model.name]: {} for model in self.models}
        for model in self.models:
            for task in model.sweep.headline:
                if bar := model.bar(task):
                    bars[short[model.name]][task] = bar
        draw_task_bars(bars, self.folder / "tasks.svg", label="edges")


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each name's last parts, as many as tell all of them apart."""
    parts = {name: name.rstrip("/").split("/") for name in names}
    for count in range(1, max(map(len, parts.values()), default=1)):
        short = {name: "/".join(found[-count:]) for name, found in parts.items()}
        if len(set(short.values())) == len(names):
            return short
    return {name: name for name in names}


def _measure(size: Size, n: int, better: Any, note: str = "over tasks, edges + 1") -> Measure:
    return Measure(size.value, size.low, size.high, n, better, note=note)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a table."""
    lines = [_line(rows[0]), _line("---" for _ in rows[0])]
    lines += [_line(_cell(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
