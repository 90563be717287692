"""Whether a circuit and a model belong together."""

from __future__ import annotations

from collections.abc import Callable

from wirework.ablation.kinds import AblationConfig
from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.model import Checkpoint

MEAN_PRETRAINING = "mean-pretraining"
"""Cut nodes take their average over pretraining text (weight_sparse_paper.md §4.1)."""


def require_model_of(
    circuit: Circuit,
    checkpoint: Checkpoint,
    *,
    circuit_name: str = "",
    model_name: str = "",
    right_model: Callable[[], str] = str,
) -> None:
    """Raises `circuit-model-mismatch` where `circuit` was found in another model, and
    `ablation-unknown` where nobody here knows how its nodes were cut.

    The names are what the user called the two, such as `quote.circuit` and `runs/tiny`;
    `right_model`: finds what the model of the circuit is called here, empty where nobody knows.
    """
    AblationConfig.of_name(circuit.ablation)
    found = checkpoint.hash()
    if circuit.model_hash == found:
        return
    model, right = model_name or "the model", right_model()
    raise WireworkError(
        "circuit-model-mismatch",
        f"{circuit_name or 'the circuit'} was found in model {circuit.model_hash[:6]}… "
        f"but {model} is {found[:6]}…",
        expected="a model with the same weights hash",
        got=f"{model} (step {checkpoint.step}; the circuit was found at step {circuit.model_step})",
        hint=f"--model {right}" if right else "the model that the circuit was found in",
    )
