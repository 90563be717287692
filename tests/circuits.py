"""A small circuit with every part that a file can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from networks import PLACES, Switches, nodes_of, random_gates, random_network
from wirework.circuit import Calibration, Circuit, extract
from wirework.core.names import sites
from wirework.engine import SiteGate

RICH = Switches(
    11, 2, "concat", True, True, True, "gelu", PLACES, False, "layer", True, "relu",
    position_in_topk=True,
)  # fmt: skip
ANSWERS = np.array([7, 2, 4])


def small_circuit(want: Switches = RICH, **changes: Any) -> Circuit:
    """A random network with random gates, taken out and labelled."""
    network = random_network(want)
    gates = {
        site: SiteGate(np.ones(network.width(site), dtype=np.bool_), np.zeros(network.width(site)))
        for site in sites(want.n_layer)
    }
    alone = extract(network, {**gates, **random_gates(network, want.seed)}, ANSWERS)
    plain: dict[str, Any] = {
        "nodes": nodes_of(alone),
        "network": alone,
        "tokenizer": '{"model": "none"}',
        "task": {"name": "test/copy", "fit": [{"prompt": "a “b”", "answer": "c"}]},
        "prompt_tokens": (0, 3, 8),
        "model_hash": "c0ffee" * 10,
        "model_step": 400,
        "calibration": Calibration(1.5, -0.25),
        "losses": {"task_loss": 0.125, "task_loss_raw": 0.5, "task_accuracy": 0.96875},
        "recipe": {"target_loss": 0.15, "k": 12},
        "provenance": {"seed": 0},
    }
    return Circuit(**{**plain, **changes})
