"""Planted models on disk with their tasks as files, for sweeps over them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from wirework.discovery import DiscoveryConfig
from wirework.discovery.sweep_config import SweepConfig
from wirework.planted import Planted
from wirework.tasks import Task

QUICK = DiscoveryConfig(steps=40, batch=8, coefficient=1e-2, dtype="float32", clean_up=False)


def save_model(planted: Planted, folder: Path, **losses: float) -> str:
    """Write the model; returns the name that it is opened by."""
    replace(planted.checkpoint, losses=losses).save(folder)
    return str(folder)


def save_task(
    task: Task, path: Path, *, name: str, local: bool = False, flipped: bool = False
) -> str:
    """Write a task as a pairs file. `flipped`: with the answers of the two sides exchanged, which
    no model has learned."""
    rows: list[dict[str, Any]] = [{"name": name, "description": "planted", "local": local}]
    for split, pairs in task.splits.items():
        for pair in pairs:
            answers = [task.answers[a].plain() for a in (pair.answer, pair.counter_answer)]
            wanted, other = reversed(answers) if flipped else answers
            rows.append(
                {
                    "prompt": pair.prompt,
                    "counterfactual": pair.counterfactual,
                    "answers": wanted,
                    "counter_answers": other,
                    "split": split,
                    "template": pair.template,
                }
            )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def quick(*tasks: str, **changes: Any) -> SweepConfig:
    """One candidate at one seed."""
    base = {"tasks": list(tasks), "coefficients": [3e-2], "discovery": QUICK.plain()}
    return SweepConfig.parse({**base, **changes})
