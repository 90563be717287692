"""Train gates on nodes or edges. The loop, read downward."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from wirework.ablation import GateSet, PromptTensors, Reference
from wirework.ablation.compact import Gates
from wirework.ablation.packed import Packed
from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import StartProgress, silent
from wirework.discovery.attention_limit import AttentionLimit
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.gate_state import load_gates, save_gates
from wirework.discovery.objective import Objective
from wirework.discovery.patience import Patience
from wirework.discovery.restored import Restored
from wirework.sparsity import learning_rate_at

SAVE_EVERY = 50


class Gated(Protocol):
    """A model under gates that are being trained."""

    @property
    def gates(self) -> GateSet: ...

    def margins(
        self, prompts: PromptTensors, opened: Gates, record: Reference | None = None
    ) -> Tensor:
        """Answer margins (2N) with the gates as they are now; `record`: see `CompactModel`."""
        ...

    def renew(self) -> None:
        """More gates have been shut for good."""
        ...


def train_gates(
    gated: Gated,
    objective: Objective,
    fit: PromptTensors,
    config: DiscoveryConfig,
    *,
    steps: int,
    seed: int,
    label: str = "gates",
    restored: Restored | None = None,
    attention: AttentionLimit | None = None,
    state: Path | None = None,
    identity: str = "",
    start: StartProgress = silent,
) -> None:
    """At most `steps` steps on `fit` (weight_sparse_paper.md §4); `gated.gates` are trained, and
    what `objective` learns beside them. `restored`: half of the task loss is the one with some
    closed gates opened. `attention`: a limit on `fit`, whose excess is counted beside it.

    With `state` (a file) progress is saved every 50 steps and picked up again from there;
    `identity` names what the state belongs to. Raises `resume-mismatch`, `interrupted`.
    """
    gates = gated.gates
    learned = nn.ModuleDict({"gates": gates, "objective": objective})
    optimizer = _optimizer(gates, objective, config)
    patience = Patience(config.patience, config.give_up, config.target_loss)
    first = load_gates(state, learned, optimizer, patience, identity)
    gated.renew()
    with Interruptible() as stop, start(label, steps, first) as progress:
        for step in range(first, steps):
            if patience.lost:
                break
            rate = learning_rate_at(step + 1, steps + 1, 1.0, warmup=config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["highest"]
            pairs = _pairs_of_step(len(fit), config.batch, step, seed)
            batch, opened = fit.pairs(pairs), gates.opened()
            record = Reference(Packed.of(batch)) if attention is not None else None
            values = gated.margins(batch, gates.by_site(opened), record)
            task_loss = objective.loss(values.float(), batch)
            if restored is not None:
                task_loss = (task_loss + restored.loss(task_loss, opened, batch, step)) / 2
            if attention is not None and record is not None:
                task_loss = task_loss + attention.excess(record.looks, pairs)
            optimizer.zero_grad()
            (task_loss + objective.price(opened.sum(), step / steps)).backward()  # type: ignore[no-untyped-call]
            _clip_rms([p.grad for p in gates.parameters() if p.grad is not None], config.clip_rms)
            optimizer.step()
            gates.clamp()
            done, loss = step + 1, float(task_loss.detach())
            n_open = int(opened.detach().sum())
            progress.advance(loss=loss, open=n_open)
            patience.look(done, loss, objective.coefficient * n_open)
            if done % config.look_every == 0:
                gates.look(done / steps)
                if gates.shut_low(config.shut_below):
                    gated.renew()
            if state is not None and (done % SAVE_EVERY == 0 or stop.requested):
                save_gates(state, learned, optimizer, patience, done, identity)
            if stop.requested:
                raise interrupted(done, steps, "the same command with --resume")


def _optimizer(gates: GateSet, objective: Objective, config: DiscoveryConfig) -> torch.optim.AdamW:
    others = [p for p in gates.parameters() if p is not gates.tau]
    scaling = [p for p in objective.parameters() if p.requires_grad]
    groups = (
        ([gates.tau], config.lr, config.weight_decay),
        (others, config.lr, 0.0),
        (scaling, config.calibration_lr, 0.0),
    )
    return torch.optim.AdamW(
        [
            {"params": params, "highest": lr, "weight_decay": decay}
            for params, lr, decay in groups
            if params
        ],
        betas=(config.beta1, config.beta2),
    )


def _pairs_of_step(count: int, batch: int, step: int, seed: int) -> Tensor:
    """Each epoch goes through all pairs in an order of its own; a function of the step only."""
    wanted = np.arange(step * batch, (step + 1) * batch)
    chosen = np.empty(batch, dtype=np.int64)
    for epoch in np.unique(wanted // count):
        order = np.random.default_rng([seed, int(epoch)]).permutation(count)
        mine = wanted // count == epoch
        chosen[mine] = order[wanted[mine] % count]
    return torch.from_numpy(chosen)


def _clip_rms(gradients: list[Tensor], limit: float) -> None:
    squares = torch.stack([g.square().sum() for g in gradients]).sum()
    rms = float((squares / sum(g.numel() for g in gradients)).sqrt())
    if rms > limit:
        torch._foreach_mul_(gradients, limit / rms)
