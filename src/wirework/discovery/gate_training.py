"""Train one gate per node: task loss + coefficient x open nodes. The loop, read downward."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import NodeGates, PromptTensors, frozen, margins, two_sided_loss
from wirework.core import Site, WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import StartProgress, silent
from wirework.discovery.config import DiscoveryConfig
from wirework.model import Checkpoint
from wirework.model.precision import autocast, resolve_dtype
from wirework.sparsity import learning_rate_at

SAVE_EVERY = 50


def train_gates(
    checkpoint: Checkpoint,
    fit: PromptTensors,
    config: DiscoveryConfig,
    *,
    seed: int,
    state: Path | None = None,
    identity: str = "",
    start: StartProgress = silent,
) -> dict[Site, NDArray[np.float32]]:
    """tau of every node after `config.steps` steps on `fit` (weight_sparse_paper.md §4).

    With `state` (a file) progress is saved every 50 steps and picked up again from there;
    `identity` names what the state belongs to. Raises `resume-mismatch`, `interrupted`.
    """
    model = checkpoint.model
    gates = NodeGates(
        checkpoint.require_means(),
        bias=config.init_bias,
        noise=config.init_noise,
        temperature=config.temperature,
        seed=seed,
    )
    optimizer = torch.optim.AdamW(
        gates.parameters(),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
    )
    dtype = resolve_dtype(config.dtype)
    first = _load(state, gates, optimizer, identity)
    with frozen(model), Interruptible() as stop, start("gates", config.steps, first) as progress:
        for step in range(first, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    step + 1, config.steps + 1, config.lr, warmup=config.warmup
                )
            batch = fit.pairs(_pairs_of_step(len(fit), config.batch, step, seed))
            opened = gates.open_gates()
            with autocast(dtype):
                values = margins(model, batch, gates.taps(opened))
            task_loss = two_sided_loss(values.float())
            nodes = torch.stack([gate.sum() for gate in opened]).sum()
            optimizer.zero_grad()
            (task_loss + config.coefficient * nodes).backward()  # type: ignore[no-untyped-call]
            _clip_rms([p.grad for p in gates.parameters() if p.grad is not None], config.clip_rms)
            optimizer.step()
            gates.clamp()
            done = step + 1
            progress.advance(loss=float(task_loss.detach()), nodes=int(nodes.detach()))
            if state is not None and (done % SAVE_EVERY == 0 or stop.requested):
                _save(state, gates, optimizer, done, identity)
            if stop.requested:
                raise interrupted(done, config.steps, "the same command with --resume")
    return gates.values()


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


def _save(
    path: Path, gates: NodeGates, optimizer: torch.optim.Optimizer, step: int, identity: str
) -> None:
    arrays: dict[str, NDArray[np.float32]] = {}
    for index, tau in enumerate(gates.taus):
        arrays[f"tau/{index}"] = tau.detach().numpy()
        for name, tensor in optimizer.state[tau].items():
            arrays[f"adam/{index}/{name}"] = tensor.numpy()
    save_arrays(path, arrays, {"step": step, "identity": identity})


def _load(
    path: Path | None, gates: NodeGates, optimizer: torch.optim.Optimizer, identity: str
) -> int:
    if path is None or not path.exists():
        return 0
    arrays, header = load_arrays(path)
    if header["identity"] != identity:
        raise WireworkError(
            "resume-mismatch",
            f"{path} belongs to another search",
            expected="the same model, task, settings and seed",
            got=f"a state of search {header['identity'][:12]}",
            hint="leave --resume away to start anew",
        )
    with torch.no_grad():
        for index, tau in enumerate(gates.taus):
            tau.copy_(torch.from_numpy(arrays[f"tau/{index}"]))
            prefix = f"adam/{index}/"
            optimizer.state[tau] = {
                key.removeprefix(prefix): torch.from_numpy(array)
                for key, array in arrays.items()
                if key.startswith(prefix)
            }
    return int(header["step"])
