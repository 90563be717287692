"""The plain way to ablate one weight of a model at some positions: another matrix there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from wirework.explain.model_weight import ModelWeight
from wirework.model import Transformer
from wirework.probing import LabelledTokens


class Partly(nn.Module):
    """A matrix where `off` (T) holds not, and another one where it does; for one window."""

    def __init__(self, whole: nn.Linear, weight: Tensor, off: Tensor) -> None:
        super().__init__()
        self.whole, self.weight, self.off = whole, weight, off

    def forward(self, x: Tensor) -> Tensor:
        without = functional.linear(x, self.weight, self.whole.bias)
        return torch.where(self.off[:, None], without, self.whole(x))


@contextmanager
def edited(model: Transformer, weight: ModelWeight, off: NDArray[np.bool_]) -> Iterator[None]:
    """The model with a weight of zero at some positions."""
    changed = weight.linear.weight.detach().clone()
    changed[weight.row, weight.column] = 0
    name = next(name for name, part in model.named_modules() if part is weight.linear)
    owner, _, last = name.rpartition(".")
    setattr(model.get_submodule(owner), last, Partly(weight.linear, changed, torch.from_numpy(off)))
    try:
        yield
    finally:
        setattr(model.get_submodule(owner), last, weight.linear)


@torch.no_grad()
def plain_losses(
    model: Transformer, text: LabelledTokens, weight: ModelWeight, off: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Losses of all tokens (N) with a weight ablated at `off` (N), window by window."""
    found, context = np.zeros(len(text)), model.config.context
    for number in range(len(text.documents)):
        rows = np.flatnonzero(text.document == number)
        for first in range(0, len(rows), context):
            mine = rows[first : first + context]
            more = rows[first : first + context + 1]  # the last target stands behind the window
            with edited(model, weight, off[mine]):
                logits = model(torch.from_numpy(text.tokens[mine])[None])[0]
            targets = torch.from_numpy(text.tokens[more[1:]])
            losses = functional.cross_entropy(logits[: len(targets)], targets, reduction="none")
            found[mine[: len(targets)]] = losses.numpy()
    return found
