"""Our gates beside the rankings of the field: one model, one task, same data, one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import score, score_of
from wirework.circuit import sizes
from wirework.core import Measure, Report, RunRecord
from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress, silent
from wirework.core.report import Better
from wirework.core.stats import bootstrap_interval, share_interval
from wirework.discovery.bench import Bench, Candidate, refuse_unlearned
from wirework.discovery.clean_up import drop_nodes
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discover import search
from wirework.discovery.discretise import Scores, smallest
from wirework.discovery.faithfulness import SHARES, Ladder, cmd, cpr, faithfulness_of
from wirework.discovery.rankings import (
    METHODS,
    RankingConfig,
    in_order,
    rank_nodes,
    require_ablation,
)
from wirework.model import Checkpoint
from wirework.tasks import Task

GATES = "gates"
"""What our own trained gates are called in the table."""

_FIRST = 64
"""Nodes of the first trial of a ranking, which has no open gates to start from."""


def compare_rankings(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss: float | None = None,
    config: DiscoveryConfig | None = None,
    ranking: RankingConfig | None = None,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
    unlearned_ok: bool = False,
    start: StartProgress = silent,
) -> Report:
    """Circuits of one task by trained gates and by every ranking of `methods`.

    All are scored on `fit`, cut to the same constants, discretised and calibrated alike, and meet
    the same target on `select`. For each METHOD (`gates` among them) the report of kind `rankings`
    holds, measured on `report`: `nodes:METHOD`, `edges:METHOD`, `embedding_edges:METHOD` and
    `loss:METHOD` (calibrated, nats) of the smallest circuit that meets the target, NaN where none
    does; `cpr:METHOD` (signed scores) and `cmd:METHOD` (absolute ones), as MIB ranks them. Beside
    them `wins`, 1 where the gates need fewer edges than every ranking, else 0, and `edges_ratio`,
    (edges + 1) of the best ranking over (edges + 1) of the gates.

    `target_loss` (nats) goes before `config`'s; `config.edges` is left out, and of the two
    `clean_up` that of `ranking` counts, for the gates too. Raises, before any work,
    `method-unknown`, `ranking-ablation`, `means-missing`, `task-unlearned` unless `unlearned_ok`,
    and what the task's encoding raises.
    """
    ranking = ranking or RankingConfig()
    config = (config or DiscoveryConfig()).replace(clean_up=False, edges=False)
    if target_loss is not None:
        config = config.replace(target_loss=target_loss)
    require_ablation(config.ablation)
    for method in methods:
        if method not in METHODS:
            raise unknown_choice("method-unknown", "ranking", method, METHODS)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, config)
    if not unlearned_ok:
        refuse_unlearned(task, config.target_loss, bench.full.loss)
    contest = _Contest(bench, Ladder(bench, ranking.ladder), ranking, seed, start)
    whole = score(checkpoint.model, bench.report)
    measures = {"model_loss": Measure(whole.loss, n=len(whole.margins), better="lower")}
    only_gates = config.replace(clean_up=False, edges=False)
    gates = search(checkpoint, task, config=only_gates, seed=seed, unlearned_ok=True, start=start)
    measures |= contest.enter(GATES, gates.scores)
    for method in methods:
        measures |= contest.enter(
            method, rank_nodes(bench, method, ranking, seed=seed, start=start)
        )
    measures |= _wins(measures, methods)
    record = RunRecord.collect(
        seed=seed,
        threads=torch.get_num_threads(),
        inputs={"model": checkpoint.hash(), "task": task.hash()},
        config={"discovery": config.plain(), "ranking": ranking.plain()},
    )
    return Report("rankings", measures, provenance={**record.to_json(), "task": task.name})


@dataclass(frozen=True)
class _Contest:
    """What every method is measured with."""

    bench: Bench
    ladder: Ladder
    ranking: RankingConfig
    seed: int
    start: StartProgress

    def enter(self, method: str, scores: Scores) -> dict[str, Measure]:
        """The measures of one method; `scores`: HIGHER = KEEP."""
        # A gate below zero is a shut one; its size says nothing.
        signed = method != GATES and any((values < 0).any() for values in scores.values())
        sizes = in_order(scores, "absolute") if signed else scores
        by_target = sizes if self.ranking.order == "absolute" else scores
        first = None if method == GATES else _FIRST
        found = smallest(self.bench, by_target, self.start, first=first)
        if found is not None and self.ranking.clean_up:
            found = drop_nodes(self.bench, found, self.start)
        with self.start(f"faithfulness {method}", (1 + signed) * (len(SHARES) - 1)) as progress:
            signed_rows = self.ladder.rows(scores, progress)
            absolute_rows = self.ladder.rows(sizes, progress) if signed else signed_rows
        named = {
            **self._at_target(found),
            "cpr": self._area(signed_rows, cpr, "higher"),
            "cmd": self._area(absolute_rows, cmd, "lower"),
        }
        return {f"{name}:{method}": measure for name, measure in named.items()}

    def _at_target(self, found: Candidate | None) -> dict[str, Measure]:
        names = ("nodes", "edges", "embedding_edges", "loss")
        if found is None:
            missed = Measure(float("nan"), better="lower", note="No set of nodes meets the target")
            return dict.fromkeys(names, missed)
        bench = self.bench
        size = sizes(found.lone, found.nodes, bench.tokens.tolist())
        values = bench.margins(found.keep, found.lone, bench.report)
        result = score_of(values, bench.report, bench.calibration(found))
        counts = (size.nodes, size.edges, size.embedding_edges)
        measures = [Measure(count, better="lower") for count in counts]
        loss = Measure(result.loss, n=len(result.margins), better="lower")
        return dict(zip(names, [*measures, loss], strict=True))

    def _area(
        self,
        rows: NDArray[np.float64],
        area: Callable[[NDArray[np.float64]], float],
        better: Better,
    ) -> Measure:
        """With its interval: bootstrap over pairs, whole templates where there are several."""
        report = self.bench.report
        labels = [int(label) for label in report.template[: len(report)]]
        clusters = labels if len(set(labels)) > 1 else None

        def statistic(drawn: NDArray[np.float64]) -> float:
            return area(faithfulness_of(drawn))

        low, high = bootstrap_interval(rows, statistic, clusters=clusters, seed=self.seed)
        return Measure(statistic(rows), low, high, len(rows), better=better)


def _wins(measures: Mapping[str, Measure], methods: Sequence[str]) -> dict[str, Measure]:
    ours = measures[f"edges:{GATES}"].value
    others = {method: measures[f"edges:{method}"].value for method in methods}
    met = {method: edges for method, edges in others.items() if edges == edges}
    best = min(met, key=met.__getitem__, default="none")
    theirs = met.get(best, np.inf)
    won = "1 where the gates need fewer edges than every ranking"
    ratio = "(edges + 1) of the best ranking / (edges + 1) of the gates"
    return {
        "wins": Measure(float(ours < theirs), better="higher", note=f"{won}; the best: {best}"),
        "edges_ratio": Measure((theirs + 1) / (ours + 1), better="higher", note=ratio),
    }


def join_reports(reports: Mapping[str, Report]) -> Report:
    """One report of several tasks: `edges:METHOD:TASK` and so on, `wins:TASK`, and `wins`, the
    share of tasks won. The report itself where there is one."""
    assert reports, "a report of at least one task"
    if len(reports) == 1:
        return next(iter(reports.values()))
    won = int(sum(report["wins"].value for report in reports.values()))
    low, high = share_interval(won, len(reports))
    note = "Share of tasks on which the gates need fewer edges than every ranking"
    measures = {"wins": Measure(won / len(reports), low, high, len(reports), "higher", note=note)}
    for task, report in reports.items():
        measures |= {f"{name}:{task}": measure for name, measure in report.measures.items()}
    parts = {task: dict(report.provenance) for task, report in reports.items()}
    return Report("rankings", measures, provenance={"tasks": parts})
