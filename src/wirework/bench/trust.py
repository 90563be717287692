"""Do searches find what was planted, and do verdicts tell right circuits from wrong ones?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import Field

from wirework.ablation import AblationConfig
from wirework.bench.kept_rows import KeptRows, Row
from wirework.bench.machine import describe_machine, notes_on
from wirework.bench.trust_cases import (
    ABLATIONS,
    FAMILIES,
    Case,
    Kind,
    cases_of,
    families_of,
    held_out,
    planted_model,
)
from wirework.core import Config, Measure, Report, RunRecord, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress, silent
from wirework.core.stats import share_interval
from wirework.discovery import DiscoveryConfig, alternatives, discover, take_circuit
from wirework.discovery.alternatives import nodes_of
from wirework.planted import minimal_circuits
from wirework.planted.recovery import recovery
from wirework.validation import ValidationConfig, validate
from wirework.validation.findings import Findings

PLANTED = DiscoveryConfig(
    steps=200, batch=16, coefficient=3e-3, lr=1e-2, dtype="float32", look_every=10, patience=0,
    faithfulness=0,
)  # fmt: skip
"""Searches in planted models: smaller steps would be wasted on some dozens of nodes, and the truth
is what meets the loss alone."""


BARS: Mapping[str, float] = MappingProxyType(
    {
        "planted_exact": 1.0,
        "node_auroc": 1.0,
        "edge_auroc": 1.0,
        "alternatives_reported": 1.0,
        "true_kept": 1.0,
        "hard_null_exposed": 0.95,
        "plain_null_exposed": 0.95,
        "easy_null_exposed": 0.95,
    }
)


class TrustBench(Config):
    """How much ground truth is gone through, from `seed` on.

    `seeds` of every planted model and ablation for recovery; `verdict_seeds` of every family of
    right and wrong circuits for verdicts; `held_out_only`: of families that no bar was fixed on.
    Models of lower seeds than the default one were looked at while bars were fixed.
    `families`: only these, planted or null; all where none is named. `rows`: a folder that keeps
    every result, so that the same call goes on where it was stopped; None keeps nothing.
    """

    seed: int = 50
    seeds: int = Field(1, ge=1)
    verdict_seeds: int = Field(2, ge=1)
    held_out_only: bool = True
    families: tuple[str, ...] = ()
    rows: Path | None = None
    discovery: DiscoveryConfig = PLANTED
    validation: ValidationConfig = ValidationConfig()

    def recovered(self) -> list[str]:
        """Families of planted models that are searched."""
        return [name for name in FAMILIES if not self.families or name in self.families]

    def judged(self, kind: Kind) -> list[str]:
        """Families of circuits whose verdict is scored."""
        names = [name for name in families_of(kind) if not self.families or name in self.families]
        return [name for name in names if not self.held_out_only or name in held_out(kind)]


@dataclass(frozen=True)
class Judged:
    """A case with what the validation said."""

    case: Case
    report: Report

    @property
    def kept(self) -> bool:
        return self.report.verdict != "unfaithful"

    def to_json(self) -> dict[str, Any]:
        missed = [name for name, m in self.report.measures.items() if m.passed is False]
        return {
            "name": self.case.name,
            "kind": self.case.kind,
            "verdict": self.report.verdict,
            "missed": missed,
            "why": self.case.why,
        }


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "true_kept": "true",
        "hard_null_exposed": "hard",
        "plain_null_exposed": "plain",
        "easy_null_exposed": "easy",
    }
)


FULL: Mapping[str, Any] = MappingProxyType({"seeds": 5, "verdict_seeds": 8, "held_out_only": False})
"""All ground truth there is."""


def dated(path: Path) -> Path:
    """The same path with today's date before its suffix."""
    return path.with_name(f"{path.stem}-{date.today().isoformat()}{path.suffix}")


def bench_trust(config: TrustBench | None = None, *, start: StartProgress = silent) -> Report:
    """`planted_exact`, `true_kept`, `hard_null_exposed`, `plain_null_exposed`,
    `easy_null_exposed`: shares with Wilson intervals (circuit_tools.md §6.3, T-plant and T-null).

    `planted_exact`: searches in planted models whose minimal circuit is unique that found it,
    nodes and edges; beside it the lowest AUROC. `alternatives_reported`: models with several
    minimal circuits of which `alternatives` names more than one, all of them right. `true_kept`:
    minimal circuits not called unfaithful; `true_faithful`: called faithful. The others: wrong
    circuits called unfaithful. Verdicts count where no bar was fixed on the family; those on the
    other families are `:fixed_on`. Models of one family are much alike, so the intervals of
    verdicts are as wide as if every family were one observation.
    Raises `family-unknown`, `family-not-held-out`, `rows-foreign` before any work.
    """
    config = config or TrustBench()
    known = sorted({name for kind in KINDS.values() for name in families_of(kind)})
    for name in config.families:
        if name not in known:
            raise unknown_choice("family-unknown", "family", name, known)
    _require_measured(config)
    machine = describe_machine()
    told = config.plain()
    rows = KeptRows(config.rows, {name: told[name] for name in ("seed", "discovery", "validation")})
    found = _recovery_findings(config, rows, start) | _verdict_findings(config, rows, start)
    # What no family was asked for can't miss its bar.
    measures = {
        name: replace(measure, bar=BARS.get(name))
        for name, measure in found.measures.items()
        if measure.n
    }
    record = RunRecord.collect(
        seed=config.seed, dtype="float32", threads=torch.get_num_threads(), config=told
    )
    provenance = {**record.to_json(), "machine": machine, "notes": notes_on(machine)}
    return Report("trust", measures, provenance=provenance, details=found.details)


def _require_measured(config: TrustBench) -> None:
    """Every family that is asked for has a part in some measure."""
    everything = config.replace(families=[])
    measured = {*everything.recovered()}.union(*(everything.judged(k) for k in KINDS.values()))
    for name in config.families:
        if name not in measured:
            raise WireworkError(
                "family-not-held-out", f"the bars were fixed on {name}, so it is left out here",
                expected=f"--full, or one of {', '.join(sorted(measured))}", got=name,
                hint="--full",
            )  # fmt: skip


def judge(cases: Iterable[Case], config: TrustBench) -> list[Judged]:
    """Take every case out of its model and validate it."""
    judged = []
    for case in cases:
        ablation = AblationConfig.of_name(case.ablation).plain()
        circuit = take_circuit(
            case.checkpoint, case.task, case.nodes,
            config=config.discovery.replace(ablation=ablation),
        )  # fmt: skip
        report = validate(
            circuit, case.checkpoint, groups=VERDICT_GROUPS, config=config.validation,
            seed=config.seed,
        )  # fmt: skip
        judged.append(Judged(case, report))
    return judged


VERDICT_GROUPS = ("fit", "controls", "exactness", "subsets", "mechanism")
"""Groups whose measures have bars."""


def _verdict_findings(config: TrustBench, rows: KeptRows, start: StartProgress) -> Findings:
    seeds = range(config.seed, config.seed + config.verdict_seeds)
    asked = {name: config.judged(kind) for name, kind in KINDS.items()}
    found: dict[str, Measure] = {}
    table: list[Row] = []
    with start("verdicts", len(seeds) * sum(map(len, asked.values()))) as progress:
        for name, families in asked.items():
            judged: dict[str, list[str]] = {family: [] for family in families}
            for family, seed in product(families, seeds):
                make = partial(_verdict, KINDS[name], family, seed, config)
                row = rows.row(f"verdict-{KINDS[name]}-{family}-{seed}", make)
                table.append(row)
                if row["verdict"] is not None:
                    judged[family].append(row["verdict"])
                progress.advance(verdict=row["verdict"] or "no circuit")
            found |= _scored(name, {family: words for family, words in judged.items() if words})
    return Findings(found, {"verdicts": table})


def _scored(name: str, judged: Mapping[str, Sequence[str]]) -> dict[str, Measure]:
    """Shares of right verdicts by `held_out`; `judged`: family -> words."""
    fresh = held_out(KINDS[name])
    halves = {
        "": {family: words for family, words in judged.items() if family in fresh},
        ":fixed_on": {family: words for family, words in judged.items() if family not in fresh},
    }
    found = {}
    for half, words in halves.items():
        if name == "true_kept":
            told = "Share of right circuits"
            found[name + half] = _share_of(words, told, ("faithful", "partly"))
            found["true_faithful" + half] = _share_of(words, told, ("faithful",))
        else:
            found[name + half] = _share_of(words, "Share of wrong circuits", ("unfaithful",))
    return found


def _share_of(judged: Mapping[str, Sequence[str]], told: str, right: Collection[str]) -> Measure:
    """Interval: Wilson's, of as many observations as there are families."""
    hits = [word in right for words in judged.values() for word in words]
    n = len(hits)
    share = sum(hits) / n if n else float("nan")
    low, high = share_interval(share * len(judged), len(judged)) if n else (0.0, 1.0)
    note = f"{told} called {' or '.join(right)}; {len(judged)} families"
    return Measure(share, low, high, n, "higher", note=note)


def _verdict(kind: Kind, family: str, seed: int, config: TrustBench) -> Row:
    """The verdict on the case of this seed; None where there is no case."""
    judged = judge(cases_of(kind, [family], [seed], config.discovery), config)
    nothing: Row = {"name": f"{family}/seed-{seed}", "kind": kind, "verdict": None, "missed": []}
    return judged[0].to_json() if judged else {**nothing, "why": "No circuit was found."}


def _recovery_findings(config: TrustBench, rows: KeptRows, start: StartProgress) -> Findings:
    seeds = range(config.seed, config.seed + config.seeds)
    asked = list(product(config.recovered(), ABLATIONS, seeds))
    table = []
    with start("recovery", len(asked)) as progress:
        for one in asked:
            make = partial(_recover, *one, config.discovery)
            table.append(rows.row("recovery-{}-{}-{}".format(*one), make))
            progress.advance()
    unique = [row for row in table if row["minimal_circuits"] == 1]
    several = [row["alternatives_reported"] for row in table if row["minimal_circuits"] > 1]
    exact = sum(row["exact"] for row in unique)
    told = "Share of planted models with several minimal circuits of which more than one is named"
    measures = {
        "planted_exact": _share(exact, len(unique), "Share of unique planted circuits found"),
        "node_auroc": _least([row["node_auroc"] for row in unique], "nodes"),
        "edge_auroc": _least(
            [row["edge_auroc"] for row in unique],
            "edges, which are all weights between the nodes found,",
        ),
        "alternatives_reported": _share(sum(several), len(several), told),
    }
    return Findings(measures, {"recovery": table})


def _recover(family: str, ablation: str, seed: int, discovery: DiscoveryConfig) -> Row:
    """A search beside the truth; where there are several truths, whether more than one is told."""
    planted = planted_model(family, seed).under(ablation)
    config = discovery.replace(ablation=planted.config.plain())
    truth = minimal_circuits(planted, config.target_loss)
    circuit = discover(planted.checkpoint, planted.task, config=config, seed=seed)
    one = recovery(planted, truth, circuit)
    named = None
    if not one.unique:
        others = alternatives(planted.checkpoint, planted.task, circuit, config=config, seed=seed)
        found = {nodes_of(other) for other in others.circuits}
        named = len(found) > 1 and found <= set(truth)
    return {
        "family": family,
        "ablation": ablation,
        "seed": seed,
        "minimal_circuits": one.alternatives,
        "exact": one.exact and one.edges_exact,
        "node_auroc": one.node_auroc,
        "edge_auroc": one.edge_auroc,
        "alternatives_reported": named,
    }


def _share(hits: int, n: int, note: str) -> Measure:
    low, high = share_interval(hits, n)
    return Measure(hits / n if n else float("nan"), low, high, n, "higher", note=note)


def _least(values: Sequence[float], what: str) -> Measure:
    note = f"Lowest AUROC of {what} over searches with a unique truth"
    return Measure(min(values, default=float("nan")), n=len(values), better="higher", note=note)
