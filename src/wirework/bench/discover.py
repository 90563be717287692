"""A search for a circuit beside the plain published one, seed by seed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from wirework.ablation import Holding, NodeGates, PromptTensors, Reference, frozen
from wirework.ablation.compact import Gates
from wirework.ablation.score import answer_margins
from wirework.ablation.settle import pass_gates_plain
from wirework.bench.config import LEAST_PAIRS
from wirework.bench.machine import describe_machine, notes_on
from wirework.bench.turns import ratio
from wirework.core import Config, Measure, Report, RunRecord, Site
from wirework.core.progress import StartProgress, silent
from wirework.core.stats import bootstrap_interval
from wirework.discovery.bench import Bench, refuse_unlearned
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discretise import smallest
from wirework.discovery.gate_training import train_gates
from wirework.discovery.node_gates import GatedNodes
from wirework.model import Checkpoint, Taps, Transformer
from wirework.model.precision import resolve_dtype
from wirework.model.threads import threads
from wirework.tasks import Task


class DiscoverBench(Config):
    """`seeds` searches of either kind, from `seed` on, as `discovery` says but without clean-up and
    without a limit on attention, which the plain loop does not know."""

    seeds: int = Field(LEAST_PAIRS, ge=1)
    seed: int = 0
    discovery: DiscoveryConfig = DiscoveryConfig()


def bench_discover(
    checkpoint: Checkpoint,
    task: Task,
    config: DiscoverBench | None = None,
    *,
    start: StartProgress = silent,
) -> Report:
    """`discover_speedup`: whole searches - training of the gates, bisection to the target - by the
    plain published loop ÷ ours. Beside it `edges:`, `loss:` and `gates_speedup`.

    The plain loop has the same gates, batches, steps and schedule, but computes every node of
    padded prompts to the end in float32, logits of the whole vocabulary at every token, and never
    shuts a gate (weight_sparse_paper.md §4). Raises `task-unlearned` before any work.
    """
    config = config or DiscoverBench()
    machine = describe_machine()
    ours = config.discovery.replace(clean_up=False, edges=False, attention=1.0)
    plain = ours.replace(shut_below=-1.0, patience=0, dtype="float32")
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, ours)
    refuse_unlearned(task, ours.target_loss, bench.full.loss)
    runs: dict[str, list[_Run]] = {"ours": [], "plain": []}
    with threads(machine["threads"]), start("searches", 2 * (config.seeds + 1)) as progress:
        _search(bench, partial(GatedNodes, config=ours), ours.replace(steps=5), 0)
        _search(bench, partial(PlainNodes, config=plain), plain.replace(steps=5), 0)
        progress.advance(2)
        for seed in range(config.seed, config.seed + config.seeds):
            runs["plain"].append(_search(bench, partial(PlainNodes, config=plain), plain, seed))
            progress.advance(edges=runs["plain"][-1].edges)
            runs["ours"].append(_search(bench, partial(GatedNodes, config=ours), ours, seed))
            progress.advance(edges=runs["ours"][-1].edges)
    record = RunRecord.collect(
        seed=config.seed,
        dtype=str(resolve_dtype(ours.dtype)).removeprefix("torch."),
        threads=machine["threads"],
        inputs={"model": checkpoint.hash(), "task": task.hash()},
        config=config.plain(),
        config_hash=config.hash(),
    )
    details = {"machine": machine, "runs": {k: [vars(r) for r in v] for k, v in runs.items()}}
    provenance = {**record.to_json(), "notes": notes_on(machine), "details": details}
    measures = _measures(runs)
    verdict = "bars met" if all(m.passed is not False for m in measures.values()) else "bars missed"
    return Report("bench-discover", measures, verdict, provenance)


@dataclass(frozen=True)
class _Run:
    """One search: seconds of gate training and in all; what it found, NaN where nothing."""

    gates: float
    whole: float
    edges: float
    loss: float


def _search(bench: Bench, make: Any, config: DiscoveryConfig, seed: int) -> _Run:
    began = time.perf_counter()
    gated = make(bench.model, bench.holding, bench.answers, seed=seed)
    train_gates(
        gated, bench.objective(config.coefficient), bench.fit, config, steps=config.steps, seed=seed
    )
    trained = time.perf_counter()
    found = smallest(bench, gated.gates.ranks())
    whole = time.perf_counter() - began
    edges, loss = (np.nan, np.nan) if found is None else (float(found.edges), found.loss)
    return _Run(trained - began, whole, edges, loss)


def _measures(runs: dict[str, list[_Run]]) -> dict[str, Measure]:
    ours, plain = runs["ours"], runs["plain"]
    found = {
        "discover_speedup": ratio(
            [run.whole for run in plain], [run.whole for run in ours], better="higher", bar=4.0,
            note="Whole searches: plain published loop / ours",
        ),
        "gates_speedup": ratio(
            [run.gates for run in plain], [run.gates for run in ours], better="higher",
            note="The training of the gates alone",
        ),
    }  # fmt: skip
    for name, every in runs.items():
        for what in ("edges", "loss"):
            values = np.array([getattr(run, what) for run in every])
            low, high = bootstrap_interval(values, _median, seed=0)
            found[f"{what}:{name}"] = Measure(_median(values), low, high, len(values), "lower")
    return found


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))


class PlainNodes:
    """A gate on every node, by the published order of operations."""

    def __init__(
        self,
        model: Transformer,
        holding: Holding,
        answers: NDArray[np.int64],
        config: DiscoveryConfig,
        *,
        seed: int,
    ) -> None:
        self.model = model
        self.gates = NodeGates(
            holding.constants,
            **config.gate_options(seed),
        )

    def margins(
        self, prompts: PromptTensors, opened: Gates, record: Reference | None = None
    ) -> Tensor:
        assert record is None, "what attention sees is not written down"
        constants = self.gates.constants

        def pass_site(site: Site, x: Tensor) -> Tensor:
            rows = pass_gates_plain(x.flatten(0, 1), opened[site], constants[site])
            return rows.view_as(x)

        taps = Taps(replace={site: partial(pass_site, site) for site in self.gates.sites})
        with frozen(self.model):
            logits = self.model(prompts.tokens, taps)
        last = logits[torch.arange(len(prompts.last)), prompts.last]
        return answer_margins(last, prompts.wanted, prompts.other)

    def renew(self) -> None:
        """Nothing is ever left out."""
