"""Train gates on nodes or edges: task loss + coefficient x open gates. The loop, read downward."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import GateSet, PromptTensors, two_sided_loss
from wirework.ablation.compact import Gates
from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import StartProgress, silent
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.gate_state import load_gates, save_gates
from wirework.discovery.patience import Patience
from wirework.sparsity import learning_rate_at

SAVE_EVERY = 50


class Gated(Protocol):
    """A model under gates that are being trained."""

    @property
    def gates(self) -> GateSet: ...

    def margins(self, prompts: PromptTensors, opened: Gates) -> Tensor:
        """Answer margins (2N) with the gates as they are now."""
        ...

    def renew(self) -> None:
        """More gates have been shut for good."""
        ...


def train_gates(
    gated: Gated,
    fit: PromptTensors,
    config: DiscoveryConfig,
    *,
    steps: int,
    coefficient: float,
    seed: int,
    label: str = "gates",
    state: Path | None = None,
    identity: str = "",
    start: StartProgress = silent,
) -> None:
    """At most `steps` steps on `fit` (weight_sparse_paper.md §4); `gated.gates` are trained.

    With `state` (a file) progress is saved every 50 steps and picked up again from there;
    `identity` names what the state belongs to. Raises `resume-mismatch`, `interrupted`.
    """
    gates = gated.gates
    optimizer = _optimizer(gates, config)
    patience = Patience(config.patience)
    first = load_gates(state, gates, optimizer, patience, identity)
    gated.renew()
    with Interruptible() as stop, start(label, steps, first) as progress:
        for step in range(first, steps):
            if patience.lost:
                break
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step + 1, steps + 1, config.lr, warmup=config.warmup)
            batch = fit.pairs(_pairs_of_step(len(fit), config.batch, step, seed))
            opened = gates.open_gates()
            task_loss = two_sided_loss(gated.margins(batch, opened).float())
            count = torch.stack([gate.sum() for gate in opened.values()]).sum()
            optimizer.zero_grad()
            (task_loss + coefficient * count).backward()  # type: ignore[no-untyped-call]
            _clip_rms([p.grad for p in gates.parameters() if p.grad is not None], config.clip_rms)
            optimizer.step()
            gates.clamp()
            done, loss, n_open = step + 1, float(task_loss.detach()), int(count.detach())
            progress.advance(loss=loss, open=n_open)
            patience.look(done, loss, n_open)
            if done % config.look_every == 0 and gates.shut_low(config.shut_below):
                gated.renew()
            if state is not None and (done % SAVE_EVERY == 0 or stop.requested):
                save_gates(state, gates, optimizer, patience, done, identity)
            if stop.requested:
                raise interrupted(done, steps, "the same command with --resume")


def _optimizer(gates: GateSet, config: DiscoveryConfig) -> torch.optim.AdamW:
    others = [p for name, p in gates.named_parameters() if not name.startswith("taus.")]
    return torch.optim.AdamW(
        [
            {"params": list(gates.taus), "weight_decay": config.weight_decay},
            *([{"params": others, "weight_decay": 0.0}] if others else []),
        ],
        lr=config.lr,
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
