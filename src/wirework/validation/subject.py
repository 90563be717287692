"""What is being validated: a circuit, the model it is of, the prompts it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import (
    AblationConfig,
    CompactModel,
    Holding,
    Keep,
    PromptTensors,
    edge_masks,
    keep_of,
    masked_margins,
    require_answers,
    require_model_of,
)
from wirework.circuit import Circuit, cut_edges
from wirework.core import Edge, Site
from wirework.model import Checkpoint
from wirework.model.transformer import Transformer
from wirework.tasks import Task


@dataclass(frozen=True, eq=False)
class Subject:
    """`model`: that of the checkpoint, or a copy of it in another dtype. `holding`: what cut nodes
    are held at. `fit`, `select`, `report`: the splits of the task. `keep`: the circuit's nodes as
    masks; `cut`: edges between them that the circuit lacks."""

    circuit: Circuit
    checkpoint: Checkpoint
    task: Task
    model: Transformer
    holding: Holding
    fit: PromptTensors
    select: PromptTensors
    report: PromptTensors
    keep: Keep
    cut: tuple[Edge, ...]

    @classmethod
    def of(cls, circuit: Circuit, checkpoint: Checkpoint, task: Task | None) -> Self:
        """Raises `circuit-model-mismatch`, `ablation-unknown`, `ablation-lengths`,
        `circuit-lacks-answers` and what the encoding of the task raises."""
        require_model_of(circuit, checkpoint)
        asked = task if task is not None else Task.from_json(circuit.task)
        encoded = asked.encode(checkpoint.tokenizer, checkpoint.config.context)
        parts = (encoded.fit, encoded.select, encoded.report)
        fit, select, report = (PromptTensors.of(part) for part in parts)
        require_answers(circuit.network, encoded.answer_tokens().tolist())
        config = AblationConfig.of_name(circuit.ablation)
        holding = Holding.of(config, checkpoint, fit)
        gates = circuit.network.gates
        held = {site: torch.from_numpy(gate.constant) for site, gate in gates.items()}
        holding = holding.with_constants({**holding.constants, **held})
        widths = {site: len(value) for site, value in holding.constants.items()}
        keep = keep_of(circuit.nodes, widths)
        cut = cut_edges(circuit, checkpoint.sparse())
        model = checkpoint.model
        return cls(
            circuit, checkpoint, asked, model, holding, fit, select, report, keep, cut
        )  # fmt: skip

    @cached_property
    def whole(self) -> CompactModel:
        """The model with nothing taken out."""
        return CompactModel(
            self.model,
            self.holding.constants,
            torch.from_numpy(self.circuit.network.answers),
            before=self.holding.config.gate == "before",
        )

    def margins(self, keep: Keep | None, prompts: PromptTensors | None = None) -> Tensor:
        """Uncalibrated margins with `keep` kept and all else cut (None: the whole model), (2N)."""
        asked = prompts or self.report
        if keep is None:
            keep = {site: np.ones_like(kept) for site, kept in self.keep.items()}
        return masked_margins(self.whole, self.holding, keep, asked).double()

    def circuit_margins(
        self, prompts: PromptTensors | None = None, *, restored: Keep | None = None
    ) -> Tensor:
        """Uncalibrated margins of the model with all that is not the circuit cut, (2N).

        `restored`: nodes that are kept beside the circuit's, with all their edges; edges that the
        circuit lacks stay cut.
        """
        keep = self.keep
        if restored is not None:
            keep = {site: kept | restored[site] for site, kept in keep.items()}
        asked = prompts or self.report
        return masked_margins(self.whole, self.holding, keep, asked, edges=self.edges).double()

    @cached_property
    def edges(self) -> Mapping[Site, Tensor]:
        """Masks of the edges that the circuit lacks, as `CompactModel.margins` takes them."""
        return edge_masks(self.whole, self.cut)

    def sample(self, pairs: int, seed: int) -> PromptTensors:
        """Some pairs of `report`, drawn once from `seed`; all of them where there are fewer."""
        order = np.random.default_rng([seed, 0]).permutation(len(self.report))
        return self.report.pairs(torch.from_numpy(np.sort(order[:pairs])))

    @property
    def templates(self) -> NDArray[np.int64]:
        """Template of every pair, (N)."""
        return self.report.template[: len(self.report)].numpy()
