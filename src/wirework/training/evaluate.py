"""Figures of a model on held-out text: loss, bits per byte, dead neurons, nonzeros."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from wirework.core import Site
from wirework.model import Taps, Transformer


@torch.no_grad()
def evaluate(
    model: Transformer, batches: Iterable[Tensor], bytes_per_token: float
) -> dict[str, float]:
    """`val_loss` (nats per token), `val_bits_per_byte`, `dead_neurons`, in float32.

    A neuron is dead where it is exactly zero at every position of every batch.
    """
    places = [Site(layer, "mlp.neuron") for layer in range(model.config.n_layer)]
    alive = {site: torch.zeros(model.config.d_mlp, dtype=torch.bool) for site in places}
    losses = []
    for windows in batches:
        taps = Taps(record=places)
        logits = model(windows[:, :-1], taps)
        losses.append(functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))
        for site in places:
            alive[site] |= (taps.values[site] != 0).any(0).any(0).cpu()
    loss = float(torch.stack(losses).mean())
    dead = sum(int((~mask).sum()) for mask in alive.values())
    return {
        "val_loss": loss,
        "val_bits_per_byte": loss / math.log(2) / bytes_per_token,
        "dead_neurons": float(dead),
    }


def nonzeros(model: Transformer) -> dict[str, int]:
    """Nonzero weights of every projected matrix."""
    return {matrix.name: int(matrix.weight.count_nonzero()) for matrix in model.projected()}
