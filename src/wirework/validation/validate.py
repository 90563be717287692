"""Put a circuit to the test against its model; the answer is a report with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch

from wirework.circuit import Circuit
from wirework.core import Report, RunRecord
from wirework.core.progress import StartProgress, silent
from wirework.model import Checkpoint
from wirework.tasks import Task
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.groups import chosen, seconds_of_pass, usual_config
from wirework.validation.subject import Subject
from wirework.validation.verdict import verdict_of, with_bars


def validate(
    circuit: Circuit,
    checkpoint: Checkpoint,
    task: Task | None = None,
    *,
    groups: Collection[str] = (),
    config: ValidationConfig | None = None,
    seed: int = 0,
    announce: Callable[[Mapping[str, float]], None] | None = None,
    start: StartProgress = silent,
) -> Report:
    """Measure a circuit on the split `report` of its task (measures: design §4).

    `task`: the one stored in the circuit by default. `groups`: which groups of tests (`GROUPS`, or
    `quick`), the usual ones by default. `config`: by default `usual_config`. `announce` is told
    beforehand how many seconds each may take. Verdict: see `verdict_of`. Raises, before any work,
    `circuit-model-mismatch`, `ablation-unknown`, `circuit-lacks-answers`, `group-unknown` and what
    the encoding of the task raises.
    """
    config = config or usual_config(groups)
    tests = chosen(groups)
    subject = Subject.of(circuit, checkpoint, task)
    if announce is not None:
        once = seconds_of_pass(subject, config, seed)
        announce({name: once * group.passes(subject, config) for name, group in tests.items()})
    found = Findings()
    for group in tests.values():
        found |= group.test(subject, config, seed=seed, start=start)
    measures = with_bars(found.measures, circuit.losses.get("target_loss"))
    verdict = verdict_of(measures)
    details = {"verdict": verdict.to_json(), **found.details}
    provenance = _provenance(subject, config, list(tests), seed)
    return Report("validation", measures, verdict.word, provenance, details)


def _provenance(
    subject: Subject, config: ValidationConfig, groups: list[str], seed: int
) -> dict[str, object]:
    record = RunRecord.collect(
        seed=seed,
        dtype=str(subject.model.unembedding.weight.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={**subject.circuit.identity(), "task": subject.task.hash()},
        config={**config.plain(), "groups": groups},
    )
    return record.to_json()
