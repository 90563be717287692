"""A model with a gate on every node, cut down as gates are shut for good."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import CompactModel, Holding, Keep, NodeGates, PromptTensors, Reference
from wirework.ablation.compact import Gates
from wirework.core import Site
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.gate_training import train_gates
from wirework.discovery.restored import Restored
from wirework.model import Transformer
from wirework.model.precision import resolve_dtype


def trained_gates(
    bench: Bench,
    *,
    coefficient: float | None = None,
    seed: int,
    never: Keep | None = None,
    state: Path | None = None,
    identity: str = "",
    start: StartProgress = silent,
) -> dict[Site, NDArray[np.float32]]:
    """A number for every node after training as `bench.config` says; HIGHER = KEEP, >= 0 where its
    gate is open, see `GateSet.ranks`. `coefficient`: in place of the configured one. `never`:
    nodes whose gates are shut from the start; theirs is -inf.

    Where constants are learned, the bench holds cut nodes at them from then on. For `state` and
    `identity`, and what is raised, see `train_gates`.
    """
    config = bench.config
    gated = GatedNodes(bench.model, bench.holding, bench.answers, config, seed=seed)
    if never:
        gated.gates.shut_all(never)
    objective = bench.objective(config.coefficient if coefficient is None else coefficient)
    restored = None
    if config.restore != "none":
        restored = Restored(gated.whole_margins, gated.gates, objective, config, seed=seed)
    train_gates(
        gated, objective, bench.fit, config, steps=config.steps, seed=seed, restored=restored,
        attention=bench.attention_limit(bench.fit),
        state=state, identity=identity, start=start,
    )  # fmt: skip
    if gated.learned:
        bench.hold(gated.holding)
    ranks = gated.gates.ranks()
    for site, mask in (never or {}).items():
        ranks[site][mask] = -np.inf
    return ranks


class GatedNodes:
    """`holding`: what closed nodes are held at, as it starts; `answers`: answer tokens, rising."""

    def __init__(
        self,
        model: Transformer,
        holding: Holding,
        answers: NDArray[np.int64],
        config: DiscoveryConfig,
        *,
        seed: int,
    ) -> None:
        self.model = model
        self.config = config
        self.answers = torch.from_numpy(answers)
        self.start = holding
        self.learned = config.ablation.kind == "optimal"
        self.gates: NodeGates = NodeGates(
            holding.constants,
            **config.gate_options(seed),
            learn_held=self.learned,
        )
        self.whole = self._compact(shut=False)
        self.compact = self.whole

    @property
    def holding(self) -> Holding:
        """What closed nodes are held at now."""
        return self.start.with_constants(self.gates.constants)

    def margins(
        self, prompts: PromptTensors, opened: Gates, record: Reference | None = None
    ) -> Tensor:
        reference = self.start.reference(self.whole, prompts)
        return self.compact.margins(prompts, opened, reference, record=record)

    def whole_margins(self, prompts: PromptTensors, opened: Gates) -> Tensor:
        """The same where gates that are shut may be open."""
        return self.whole.margins(prompts, opened, self.start.reference(self.whole, prompts))

    def renew(self) -> None:
        # The adversary asks for the slope of gates that are shut.
        fixed = self.config.ablation.constant and not self.learned
        self.compact = self._compact(shut=fixed and self.config.restore != "adversarial")

    def _compact(self, *, shut: bool) -> CompactModel:
        return CompactModel(
            self.model,
            self.gates.constants,
            self.answers,
            kept=self.gates.may_open() if shut else None,
            before=self.config.ablation.gate == "before",
            dtype=resolve_dtype(self.config.dtype),
        )
