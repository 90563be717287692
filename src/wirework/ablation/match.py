"""Whether a circuit and a model belong together."""

from __future__ import annotations

from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.model import Checkpoint

MEAN_PRETRAINING = "mean-pretraining"
"""Cut nodes take their average over pretraining text (weight_sparse_paper.md §4.1)."""


def require_model_of(
    circuit: Circuit,
    checkpoint: Checkpoint,
    *,
    circuit_name: str = "the circuit",
    model_name: str = "the model",
) -> None:
    """Raises `circuit-model-mismatch` where `circuit` was found in another model, and
    `ablation-unknown` where its cut nodes are held at something other than reference means.

    The names are how the error speaks of the two, such as `quote.circuit` and `runs/tiny`.
    """
    if circuit.ablation != MEAN_PRETRAINING:
        raise WireworkError(
            "ablation-unknown",
            f"the ablation of {circuit_name} cannot be done again here",
            expected=MEAN_PRETRAINING,
            got=circuit.ablation,
        )
    found = checkpoint.hash()
    if circuit.model_hash == found:
        return
    raise WireworkError(
        "circuit-model-mismatch",
        f"{circuit_name} was found in model {circuit.model_hash[:6]}… "
        f"but {model_name} is {found[:6]}…",
        expected="a model with the same weights hash",
        got=f"{model_name} (step {checkpoint.step}; "
        f"the circuit was found at step {circuit.model_step})",
        hint=_right_model(circuit, checkpoint, model_name),
    )


def _right_model(circuit: Circuit, checkpoint: Checkpoint, model_name: str) -> str:
    if circuit.model_step == checkpoint.step:
        return f"the run that the circuit was found in; {model_name} is another one"
    run = model_name.partition("@")[0] if "/" in model_name else "RUN"
    return f"the checkpoint of step {circuit.model_step}: --model {run}@{circuit.model_step}"
