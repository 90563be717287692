"""What is being validated: a circuit, the model it is of, the prompts it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import (
    Keep,
    PromptTensors,
    all_margins,
    keep_of,
    keep_taps,
    require_answers,
    require_model_of,
)
from wirework.circuit import Circuit
from wirework.model import Checkpoint
from wirework.model.means import Means
from wirework.model.transformer import Transformer
from wirework.tasks import Task


@dataclass(frozen=True, eq=False)
class Subject:
    """`prompts`: the split `report` of the task. `keep`: the circuit's nodes as masks."""

    circuit: Circuit
    task: Task
    model: Transformer
    means: Means
    prompts: PromptTensors
    keep: Keep

    @classmethod
    def of(cls, circuit: Circuit, checkpoint: Checkpoint, task: Task | None) -> Self:
        """Raises `circuit-model-mismatch`, `ablation-unknown`, `circuit-lacks-answers` and what
        the encoding of the task raises."""
        require_model_of(circuit, checkpoint)
        asked = task if task is not None else Task.from_json(circuit.task)
        encoded = asked.encode(checkpoint.tokenizer, checkpoint.config.context)
        prompts = PromptTensors.of(encoded.report)
        require_answers(circuit.network, np.unique(prompts.wanted.numpy()).tolist())
        means = checkpoint.require_means()
        widths = {site: len(mean) for site, mean in means.items()}
        keep = keep_of(circuit.nodes, widths)
        return cls(circuit, asked, checkpoint.model, means, prompts, keep)

    def margins(self, keep: Keep | None, prompts: PromptTensors | None = None) -> Tensor:
        """Uncalibrated margins with `keep` kept and all else cut (None: the whole model), (2N)."""
        taps = None if keep is None else keep_taps(keep, self.means)
        return all_margins(self.model, prompts or self.prompts, taps).double()

    def sample(self, pairs: int, seed: int) -> PromptTensors:
        """Some pairs of `report`, drawn once from `seed`; all of them where there are fewer."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.prompts))
        return self.prompts.pairs(torch.from_numpy(np.sort(order[:pairs])))

    @property
    def templates(self) -> NDArray[np.int64]:
        """Template of every pair, (N)."""
        return self.prompts.template[: len(self.prompts)].numpy()
