"""How large a configuration is, without making any of its numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from wirework.model import Transformer
from wirework.sparsity import kept_count
from wirework.training.config import TrainConfig


@dataclass(frozen=True)
class Size:
    """`parameters`: all numbers, bigram table and fixed positions too. `projected`: those of the
    matrices that training keeps sparse; `nonzeros` of them are left in the end."""

    parameters: int
    projected: int
    nonzeros: int

    @property
    def density(self) -> float:
        return self.nonzeros / self.projected


def size_of(config: TrainConfig) -> Size:
    with torch.device("meta"):
        model = Transformer(config.model)
    matrices = model.projected()
    kept = [kept_count(m.weight.numel(), config.sparsity.final_density(m)) for m in matrices]
    return Size(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        projected=sum(matrix.weight.numel() for matrix in matrices),
        nonzeros=sum(kept),
    )
