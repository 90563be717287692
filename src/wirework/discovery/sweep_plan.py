"""The runs of a sweep, each with its content as its identity, and what became of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from wirework.core import Config
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.sweep_config import Candidate, SweepConfig, better_half

Group = tuple[str, str]
"""A task's name and a variant's: what candidates compete within."""


class SweepTask(Config):
    """A task of a sweep. `content`: hash of what a model is asked."""

    name: str
    content: str
    local: bool


class Run(Config):
    """One discovery. `variant`: which of `SweepConfig.variants`, empty for the only one.
    `trial`: a short search of a rung, of which only the figures are kept."""

    task: str
    task_hash: str
    model_hash: str
    seed: int
    discovery: DiscoveryConfig
    variant: str = ""
    unlearned_ok: bool = False
    trial: bool = False

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the sha256 of all that decides the result."""
        parts: list[Any] = [
            self.model_hash, self.task, self.task_hash, self.discovery.hash(), self.seed,
            self.unlearned_ok,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def group(self) -> Group:
        return self.task, self.variant

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.discovery.coefficient, self.discovery.lr)

    def told(self, result: RunResult) -> RunResult:
        """A result of equal content under the names that this plan has for it."""
        return result.model_copy(update={"variant": self.variant, "trial": self.trial})


class RunResult(Config):
    """What became of a run: one line of `results.jsonl`.

    `status`: `found` meets the target; `missed` does not, whatever is kept; `unlearned`: the whole
    model does not; `failed`: anything else, and --resume tries again. `sizes` (`nodes`, `edges`
    and those beside) and `losses` are the circuit's, empty where there is none. `curve`: nodes,
    edges and loss on `select` of circuits of rising size. `threads` that the run was given.
    """

    id: str
    task: str
    variant: str
    coefficient: float
    lr: float
    seed: int
    steps: int
    trial: bool
    status: Literal["found", "missed", "unlearned", "failed"]
    error: dict[str, str] = Field({})
    sizes: dict[str, int] = Field({})
    losses: dict[str, float] = Field({})
    curve: tuple[tuple[int, int, float], ...] = ()
    threads: int = 1

    @property
    def edges(self) -> int:
        return self.sizes["edges"]

    @property
    def candidate(self) -> Candidate:
        return Candidate(self.coefficient, self.lr)

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """Smaller is better: the target met, a circuit at all, fewest edges, fewest nodes."""
        sizes = self.sizes
        return self.status != "found", not sizes, sizes.get("edges", 0), sizes.get("nodes", 0)


class Plan(Config):
    """What `plan.json` holds: what was asked, of which model, and every run known so far.

    `model`: the name that workers open it by. `left_out`: tasks of the catalog that were not
    taken, with the reason. The runs of later rungs are added as the earlier ones decide them.
    """

    model: str
    model_hash: str
    config: SweepConfig
    tasks: tuple[SweepTask, ...]
    left_out: dict[str, str] = Field({})
    runs: tuple[Run, ...] = ()

    @property
    def groups(self) -> tuple[Group, ...]:
        variants = self.config.variants()
        return tuple((task.name, variant) for task in self.tasks for variant in variants)

    def with_runs(self, runs: Sequence[Run]) -> Plan:
        """The same plan with more runs decided."""
        return self.model_copy(update={"runs": (*self.runs, *runs)})

    def trials(self, steps: int, going: Mapping[Group, Sequence[Candidate]]) -> list[Run]:
        """One rung: every candidate that is still going, at the first seed."""
        changes = {"steps": steps, "clean_up": False, "edges": False}
        return self._runs(going, self.config.seeds[:1], changes, trial=True)

    def finals(self, going: Mapping[Group, Sequence[Candidate]]) -> list[Run]:
        """The full searches of the candidates that are left, at every seed."""
        return self._runs(going, self.config.seeds, {}, trial=False)

    def _runs(
        self,
        going: Mapping[Group, Sequence[Candidate]],
        seeds: Sequence[int],
        changes: Mapping[str, Any],
        *,
        trial: bool,
    ) -> list[Run]:
        variants = self.config.variants()
        hashes = {task.name: task.content for task in self.tasks}
        found: dict[str, Run] = {}
        for (task, variant), candidates in going.items():
            for candidate in candidates:
                settings = variants[variant].replace(**candidate._asdict(), **changes)
                for seed in seeds:
                    run = Run(
                        task=task,
                        task_hash=hashes[task],
                        model_hash=self.model_hash,
                        seed=seed,
                        discovery=settings,
                        variant=variant,
                        unlearned_ok=self.config.unlearned_ok,
                        trial=trial,
                    )
                    found.setdefault(run.id, run)
        return list(found.values())

    def count(self) -> int:
        """Runs in all, those of later rungs too."""
        config, left = self.config, len(self.config.candidates)
        if config.rungs:
            left = better_half(config.rungs[-1].candidates)
        trials = sum(rung.candidates for rung in config.rungs)
        return len(self.groups) * (trials + left * len(config.seeds))


def survivors(results: Iterable[RunResult]) -> list[Candidate]:
    """The better half of the candidates of one group, best first; ties as they were given."""
    ranked = sorted(results, key=lambda result: result.rank)
    return [result.candidate for result in ranked[: better_half(len(ranked))]]
