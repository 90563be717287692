"""Find the smallest circuit that carries a task, and take it out of the model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import (
    MEAN_PRETRAINING,
    PromptTensors,
    TaskScore,
    all_margins,
    calibrate,
    keep_taps,
    score,
)
from wirework.circuit import Calibration, Circuit
from wirework.core import RunRecord, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discretise import Bench, Candidate, drop_nodes, smallest
from wirework.discovery.gate_training import train_gates
from wirework.model import Checkpoint
from wirework.model.precision import resolve_dtype
from wirework.tasks import NO_TOKEN, EncodedTask, Prompts, Task


def discover(
    checkpoint: Checkpoint,
    task: Task,
    *,
    target_loss: float | None = None,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    state: Path | None = None,
    unlearned_ok: bool = False,
    start: StartProgress = silent,
) -> Circuit:
    """Train gates, discretise, calibrate, extract; returns a circuit that runs alone.

    `target_loss` (nats) goes before `config`'s. `state`: file to save progress to and to resume
    from. `unlearned_ok`: go on although the full model misses the target; then all gates may stay
    open. Raises `task-unlearned` (before any work), `target-missed`, `resume-mismatch`,
    `interrupted` and what the task's encoding raises.
    """
    config = config or DiscoveryConfig()
    if target_loss is not None:
        config = config.replace(target_loss=target_loss)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    fit, select, report = (PromptTensors.of(part) for part in _parts(encoded))
    full = _full_score(checkpoint, fit, select, config)
    if full.loss > config.target_loss and not unlearned_ok:
        raise _unlearned(task, config.target_loss, full.loss)
    answers = answer_tokens(encoded)
    identity = _identity(checkpoint, task, config, seed)
    taus = train_gates(
        checkpoint, fit, config, seed=seed, state=state, identity=identity, start=start
    )
    tokens = np.array(prompt_tokens(encoded), dtype=np.int64)
    full_margin = float(all_margins(checkpoint.model, select).mean())
    bench = Bench(checkpoint, fit, select, answers, tokens, full, full_margin, config)
    found = smallest(bench, taus, start)
    if found is None and not unlearned_ok:
        raise _missed(task, config.target_loss, full.loss)
    if found is None:
        found = bench.measure({site: tau >= 0 for site, tau in taus.items()})
    elif config.clean_up:
        found = drop_nodes(bench, found, start)
    return _circuit(checkpoint, task, config, bench, found, report, encoded, seed)


def _full_score(
    checkpoint: Checkpoint, fit: PromptTensors, select: PromptTensors, config: DiscoveryConfig
) -> TaskScore:
    """The whole model on `select`, calibrated as every candidate will be."""
    calibration = Calibration()
    if config.calibrate == "during":
        calibration = calibrate(all_margins(checkpoint.model, fit), fit.side)
    return score(checkpoint.model, select, calibration=calibration)


def answer_tokens(encoded: EncodedTask) -> NDArray[np.int64]:
    """Every token that is an answer on some side of some pair, rising."""
    parts = [array for prompts in _parts(encoded) for array in (prompts.wanted, prompts.other)]
    tokens: NDArray[np.int64] = np.unique(np.concatenate([part.ravel() for part in parts]))
    return np.asarray(tokens[tokens != NO_TOKEN])


def prompt_tokens(encoded: EncodedTask) -> tuple[int, ...]:
    """Every token of some prompt, padding left out, rising."""
    found: set[int] = set()
    for part in _parts(encoded):
        real = np.arange(part.tokens.shape[1]) <= part.last[:, None]
        found.update(int(token) for token in np.unique(part.tokens[real]))
    return tuple(sorted(found))


def _parts(encoded: EncodedTask) -> tuple[Prompts, Prompts, Prompts]:
    return encoded.fit, encoded.select, encoded.report


def _circuit(
    checkpoint: Checkpoint,
    task: Task,
    config: DiscoveryConfig,
    bench: Bench,
    found: Candidate,
    report: PromptTensors,
    encoded: EncodedTask,
    seed: int,
) -> Circuit:
    calibration = bench.calibration(found.lone)
    taps = keep_taps(found.keep, checkpoint.means)
    model = checkpoint.model
    calibrated = score(model, report, taps, calibration)
    whole = score(model, report)
    losses = {
        "task_loss": calibrated.loss,
        "task_accuracy": calibrated.accuracy,
        "task_loss_raw": score(model, report, taps).loss,
        "select_loss": found.loss,
        "target_loss": config.target_loss,
        "model_loss": whole.loss,
        "model_accuracy": whole.accuracy,
    }
    model_hash = checkpoint.hash()
    record = RunRecord.collect(
        seed=seed,
        dtype=str(resolve_dtype(config.dtype)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={"model": model_hash, "task": task.hash()},
        config=config.plain(),
        config_hash=config.hash(),
    )
    return Circuit(
        nodes=found.nodes,
        network=found.lone,
        tokenizer=checkpoint.tokenizer.to_json(),
        task=task.to_json(),
        prompt_tokens=prompt_tokens(encoded),
        model_hash=model_hash,
        model_step=checkpoint.step,
        calibration=calibration,
        ablation=MEAN_PRETRAINING,
        runs_alone=True,
        losses=losses,
        recipe={"discovery": config.plain(), "seed": seed},
        provenance=record.to_json(),
    )


def _identity(checkpoint: Checkpoint, task: Task, config: DiscoveryConfig, seed: int) -> str:
    parts: list[Any] = [checkpoint.hash(), task.hash(), config.hash(), seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _unlearned(task: Task, target: float, loss: float) -> WireworkError:
    return WireworkError(
        "task-unlearned",
        f"the full model itself misses the target on {task.name}",
        expected=f"a loss of at most {target:g} on the split `select`",
        got=f"loss {loss:.3f}",
        hint=f"a longer training, --target-loss {loss * 1.2:.2f}, or --unlearned-ok to go on",
    )


def _missed(task: Task, target: float, loss: float) -> WireworkError:
    return WireworkError(
        "target-missed",
        f"no set of nodes meets the target on {task.name} with the others cut",
        expected=f"a loss of at most {target:g} on the split `select`",
        got=f"more, even with every node kept (full model: {loss:.3f})",
        hint="a higher --target-loss",
    )
