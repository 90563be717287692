"""Put a circuit to the test against its model; the answer is a report with a verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch

from wirework.circuit import Circuit
from wirework.core import Measure, Report, RunRecord, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.model import Checkpoint
from wirework.tasks import Task
from wirework.validation.controls import SAMPLE_PAIRS, control_measures
from wirework.validation.exactness import exactness_measures
from wirework.validation.fit import fit_measures
from wirework.validation.subject import Subject

BARS: Mapping[str, float] = {
    "task_accuracy": 0.97,
    "faithfulness": 0.9,
    "sufficiency": 0.95,
    "necessity": 0.95,
    "exactness": 1e-9,
}
"""What a circuit must reach; `task_loss` must reach the target it was searched for."""


def validate(
    circuit: Circuit,
    checkpoint: Checkpoint,
    task: Task | None = None,
    *,
    seed: int = 0,
    draws: int = 200,
    start: StartProgress = silent,
) -> Report:
    """Measure a circuit on the split `report` of its task (measures: design §4).

    `task`: the one stored in the circuit by default. `draws`: random circuits for `sufficiency`
    and `necessity`. Verdict: `faithful` where every bar is reached; `partly` where `task_loss`
    and `task_accuracy` reach theirs and another one is missed; else `unfaithful`. Raises, before
    any work, `circuit-model-mismatch`, `ablation-unknown`, `circuit-lacks-answers`,
    `draws-too-few` and what the encoding of the task raises.
    """
    if draws < 1:
        raise WireworkError(
            "draws-too-few",
            "random circuits are needed to compare with",
            expected="draws >= 1; 200 or more for a figure to publish",
            got=str(draws),
            hint="200",
        )
    subject = Subject.of(circuit, checkpoint, task)
    bars = dict(BARS)
    if "target_loss" in circuit.losses:
        bars["task_loss"] = circuit.losses["target_loss"]
    found = fit_measures(subject, bars, seed)
    found |= control_measures(subject, bars, seed=seed, draws=draws, start=start)
    found |= exactness_measures(subject, bars, seed)
    measures = {name: found[name] for name in _ORDER if name in found}
    return Report("validation", measures, _verdict(measures), _provenance(subject, seed, draws))


_ORDER = (
    "task_loss",
    "task_loss_raw",
    "task_accuracy",
    "faithfulness",
    "sufficiency",
    "necessity",
    "model_loss",
    "model_accuracy",
    "exactness",
    "exactness_float32",
)


def _verdict(measures: Mapping[str, Measure]) -> str:
    missed = {name for name, measure in measures.items() if measure.passed is False}
    if not missed:
        return "faithful"
    return "unfaithful" if missed & {"task_loss", "task_accuracy"} else "partly"


def _provenance(subject: Subject, seed: int, draws: int) -> dict[str, object]:
    circuit = subject.circuit
    nodes = {str(site): list(found) for site, found in sorted(circuit.nodes.items())}
    edges = [str(edge) for edge, _ in circuit.edges()]
    record = RunRecord.collect(
        seed=seed,
        dtype=str(subject.model.unembedding.weight.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={
            "model": circuit.model_hash,
            "task": subject.task.hash(),
            "nodes": hashlib.sha256(json.dumps(nodes).encode()).hexdigest(),
            "edges": hashlib.sha256(json.dumps(edges).encode()).hexdigest(),
        },
        config={"draws": draws, "control_pairs": SAMPLE_PAIRS},
    )
    return record.to_json()
