"""What the same search, or chance, makes of a model where there is nothing to be found."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isinf

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import Keep, PromptTensors
from wirework.ablation.packed import Packed
from wirework.core import Measure, Site
from wirework.core.progress import StartProgress
from wirework.discovery import search
from wirework.model import Checkpoint
from wirework.tasks import Task
from wirework.validation.config import ValidationConfig
from wirework.validation.controls import random_circuit
from wirework.validation.findings import Findings
from wirework.validation.minimality import pair_losses
from wirework.validation.null_tasks import null_task, reinitialised
from wirework.validation.recipe import recipe_of
from wirework.validation.subject import Subject

RANDOM_WEIGHTS = "random_weights"
"""The control whose task is the circuit's and whose model has learned nothing."""

CONSTANT = "constant"
"""The control that asks for nothing of the prompt: one node that always writes may be enough."""

_NEAREST = 5
"""A node is replaced by one of so many whose activations are most like its own in size."""

_CANDIDATES = 10
"""Circuits that a search measures to discretise, and some of its clean-up; for `null_passes`."""


def null_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`null_edges` (design §4), `null_edges:CONTROL` of each of `config.null_controls`,
    `null_ratio`, `control_loss:random` and `control_loss:matched`.

    Each control is searched by the circuit's own recipe, but without a least share of the model's
    margin, as the model has none there, and given up after `config.null_steps` gate steps if the
    loss is still near chance (`DiscoveryConfig.give_up`). Infinity where the search meets the
    circuit's target with no set of nodes. Raises what `null_task` raises.
    """
    edges: dict[str, float] = {}
    losses: dict[str, float] = {}
    for control in config.null_controls:
        edges[control], losses[control] = _null_edges(subject, config, control, seed, start)
    found = {
        f"null_edges:{control}": Measure(
            count, n=1, better="higher",
            note=f"Edges that a search by the circuit's recipe needs for the control {control}; "
            + ("none found within its limits, open gates have" if isinf(count) else "these have")
            + f" a loss of {losses[control]:.3f} on select",
        )
        for control, count in edges.items()
    }  # fmt: skip
    found |= _summary(edges, subject.circuit.n_edges)
    found |= _drawn_circuits(subject, config, seed, start)
    return Findings(found)


def null_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs, about; more where a control
    is not given up."""
    recipe = recipe_of(subject.circuit)
    trained = 2 * min(config.null_steps, recipe.steps) * recipe.batch
    measured = _CANDIDATES * (recipe.calibration_pairs + len(subject.select))
    searches = len(config.null_controls) * (trained + measured) / config.pairs
    return searches + 2 * config.matched_draws + 2


def _null_edges(
    subject: Subject, config: ValidationConfig, control: str, seed: int, start: StartProgress
) -> tuple[float, float]:
    """Edges of the circuit that the search finds, infinitely many without one; its loss on
    `select`."""
    recipe = recipe_of(subject.circuit)
    recipe = recipe.replace(give_up=config.null_steps, faithfulness=0)
    checkpoint, task = _control(subject, control, seed)
    found = search(checkpoint, task, config=recipe, seed=seed, unlearned_ok=True, start=start)
    count = float(found.circuit.n_edges) if found.reached else inf
    return count, found.circuit.losses["select_loss"]


def _control(subject: Subject, control: str, seed: int) -> tuple[Checkpoint, Task]:
    if control == RANDOM_WEIGHTS:
        text = _without_padding(subject.fit)
        return reinitialised(subject.checkpoint, text, seed=seed), subject.task
    tokenizer = subject.checkpoint.tokenizer
    return subject.checkpoint, null_task(subject.task, control, tokenizer, seed=seed)


def _without_padding(prompts: PromptTensors) -> Iterator[Tensor]:
    """Prompts of equal length together."""
    for last in sorted(set(prompts.last.tolist())):
        yield prompts.tokens[prompts.last == last, : last + 1]


def _summary(edges: dict[str, float], circuit_edges: int) -> dict[str, Measure]:
    """The smallest over the controls that ask for something of the prompt."""
    asking = {control: count for control, count in edges.items() if control != CONSTANT}
    if not asking:
        return {}
    least = min(asking, key=asking.__getitem__)
    count = asking[least]
    return {
        "null_edges": Measure(
            count, n=len(asking), better="higher",
            note="Fewest edges that a search by the circuit's recipe needs for a control that "
            f"asks for something of the prompt: {'none found' if isinf(count) else least}",
        ),
        "null_ratio": Measure(
            (count + 1) / (circuit_edges + 1), n=len(asking), better="higher",
            note=f"(null_edges + 1) / (edges + 1), the circuit having {circuit_edges} edges; "
            "near 1 the search fits anything as easily",
        ),
    }  # fmt: skip


def _drawn_circuits(
    subject: Subject, config: ValidationConfig, seed: int, start: StartProgress
) -> dict[str, Measure]:
    """Loss of random circuits, and of circuits of nodes about as active as the circuit's."""
    sample, draws = subject.sample(config.pairs, seed), config.matched_draws
    sizes = activation_sizes(subject, sample)
    losses = np.empty((2, draws))

    def loss(keep: Keep) -> float:
        return float(pair_losses(subject.margins(keep, sample), sample).mean())

    own = float(pair_losses(subject.circuit_margins(sample), sample).mean())
    with start("circuits by chance", draws) as progress:
        for draw in range(draws):
            losses[0, draw] = loss(random_circuit(subject.keep, seed, draw))
            losses[1, draw] = loss(matched_circuit(subject.keep, sizes, seed, draw))
            progress.advance()
    what = ("equal in size at every site", "of nodes about as active as the circuit's")
    found = {}
    for name, values, like in zip(("random", "matched"), losses, what, strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        found[f"control_loss:{name}"] = Measure(
            float(np.median(values)), float(low), float(high), draws, better="higher",
            note=f"Median loss in nats of random circuits {like}, with the range of 95% of them; "
            f"the circuit's own is {own:.4f}. Each calibrated on the {len(sample)} pairs",
        )  # fmt: skip
    return found


def activation_sizes(subject: Subject, prompts: PromptTensors) -> dict[Site, NDArray[np.float64]]:
    """How far each node of the whole model is from what it would be held at when cut, root mean
    square over the tokens of the prompts: site -> (channels)."""
    record = subject.whole.reference(Packed.of(prompts))
    return {
        site: (value - subject.holding.constants[site]).double().square().mean(0).sqrt().numpy()
        for site, value in record.values.items()
    }


def matched_circuit(
    keep: Keep, sizes: dict[Site, NDArray[np.float64]], seed: int, draw: int
) -> dict[Site, NDArray[np.bool_]]:
    """For every kept node another one of its site that is about as large, as far as there are any:
    drawn from the nearest that are neither kept nor taken."""
    random = np.random.default_rng([seed, 5, draw])
    found = {}
    for site, kept in sorted(keep.items()):
        mask, free = np.zeros_like(kept), ~kept
        for index in random.permutation(np.flatnonzero(kept)):
            left = np.flatnonzero(free)
            near = left[np.argsort(np.abs(sizes[site][left] - sizes[site][index]))[:_NEAREST]]
            chosen = int(random.choice(near)) if len(near) else int(index)
            mask[chosen], free[chosen] = True, False
        found[site] = mask
    return found
