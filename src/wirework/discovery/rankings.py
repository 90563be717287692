"""One score per node by the ways of the field: what our gates are compared with.

Everywhere HIGHER = KEEP (circuit_tools.md G17): the score of a node says how much worse the task
gets when the node is held at its constant c while all others run. The value that gets
worse is the answer margin, or minus the task loss, as a mean over the prompts of `fit`.

Gradients are taken of that value v with respect to a gate m of every node, x -> c + m (x - c),
one gate for all positions and prompts. So a gradient is the sum over positions of
dv/dx (x - c), and its sign is that of v(kept) - v(cut). Published code scores with (c - x) times
the gradient of the metric, which is the effect of cutting: the same number with the other sign.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from wirework.ablation import AblationConfig, PromptTensors, frozen, margins
from wirework.circuit import on_path
from wirework.core import Config, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench
from wirework.discovery.discretise import Scores
from wirework.discovery.exact_patching import exact_scores
from wirework.model import Taps, Transformer
from wirework.model.means import Means

METHODS = ("exact", "attribution", "integrated", "magnitude", "random")

_CHUNK = 128


class RankingConfig(Config):
    """How nodes are scored and ranked.

    `metric`: what cutting a node makes worse: `margin` (logit difference, as MIB), or `loss`.
    `order`: how signed scores rank: `absolute` (the default of EAP and EAP-IG, and of MIB's CMD)
    or `signed` (MIB's CPR). `points`: of integrated gradients (EAP-IG: 5). `exact_pairs`: pairs
    of `fit` on which every node is cut by itself; the other methods see all of `fit`.
    `ladder`: whether the sizes of CPR and CMD are shares of the nodes or of the edges.
    `clean_up`: after discretisation, as in `DiscoveryConfig`, for all methods and for our gates.
    """

    metric: Literal["margin", "loss"] = "margin"
    order: Literal["absolute", "signed"] = "absolute"
    points: int = Field(10, ge=1)
    exact_pairs: int = Field(16, ge=1)
    ladder: Literal["nodes", "edges"] = "nodes"
    clean_up: bool = False


def rank_nodes(
    bench: Bench,
    method: str,
    config: RankingConfig | None = None,
    *,
    seed: int = 0,
    start: StartProgress = silent,
) -> Scores:
    """One score per node, site -> (channels,) float64, HIGHER = KEEP; signed where it can be.

    Only the split `fit` is looked at; cut nodes are held where the bench holds them. `seed`
    matters to `random` alone. Raises `method-unknown`, `ranking-ablation`.
    """
    config = config or RankingConfig()
    require_ablation(bench.holding.config)
    model, means, fit = bench.model, bench.means, bench.fit
    value = VALUES[config.metric]
    if method == "exact":
        every = {site: tuple(range(width)) for site, width in bench.widths.items()}
        paths = on_path(bench.network, every, outputs=bench.answers, tokens=bench.tokens)
        return exact_scores(model, means, fit.first(config.exact_pairs), value, paths, start)
    if method == "attribution":
        return attribution_scores(model, means, fit, value, start)
    if method == "integrated":
        return integrated_scores(model, means, fit, value, config.points, start)
    if method == "magnitude":
        return magnitude_scores(model, means, fit)
    if method == "random":
        return random_scores(means, seed)
    raise unknown_choice("method-unknown", "ranking", method, METHODS)


def require_ablation(ablation: AblationConfig) -> None:
    """Raises `ranking-ablation` where a cut node is not held at one known constant, or competes
    at it: then what a method of the field would score is not defined."""
    if not ablation.constant or ablation.kind == "optimal" or ablation.gate == "before":
        raise WireworkError(
            "ranking-ablation",
            "the rankings cut a node by holding it at a known constant",
            expected="mean-pretraining, mean-task or zero, norms free, gates behind AbsTopK",
            got=ablation.name,
            hint="--set ablation.kind=mean-pretraining",
        )


def in_order(scores: Scores, order: Literal["absolute", "signed"]) -> Scores:
    """The scores that nodes are ranked by."""
    if order == "signed":
        return scores
    return {site: np.abs(values) for site, values in scores.items()}


VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "margin": lambda margins: margins,
    "loss": lambda margins: -functional.softplus(-margins),
}
"""Margins of the wanted answers -> the value of every prompt, HIGHER = BETTER."""


def attribution_scores(
    model: Transformer,
    means: Means,
    prompts: PromptTensors,
    value: Callable[[Tensor], Tensor],
    start: StartProgress = silent,
) -> Scores:
    """Attribution patching: gradient x (activation - constant), summed over positions.

    The first-order estimate of `exact_scores`, for all nodes from one backward pass.
    """
    with start("attribution", 1) as progress:
        found = _gate_gradients(model, means, prompts, value, 1.0)
        progress.advance()
    return found


def integrated_scores(
    model: Transformer,
    means: Means,
    prompts: PromptTensors,
    value: Callable[[Tensor], Tensor],
    points: int,
    start: StartProgress = silent,
) -> Scores:
    """Integrated gradients of all gates together, along the straight path from all cut to all on.

    The mean of the gradient over `points` middles of equal steps (EAP-IG takes their ends).
    Scores add up to v(whole model) - v(all cut), but for the steps' width and for AbsTopK, which
    jumps.
    """
    total = {site: np.zeros(len(mean)) for site, mean in means.items()}
    with start("integrated", points) as progress:
        for step in range(points):
            found = _gate_gradients(model, means, prompts, value, (step + 0.5) / points)
            for site, gradient in found.items():
                total[site] += gradient / points
            progress.advance()
    return total


def _gate_gradients(
    model: Transformer,
    means: Means,
    prompts: PromptTensors,
    value: Callable[[Tensor], Tensor],
    opened: float,
) -> Scores:
    """d v / d gate of every node with all gates at `opened`, mean over prompts."""
    kind = model.unembedding.weight.dtype
    gates = {
        site: torch.full((len(mean),), opened, dtype=kind, requires_grad=True)
        for site, mean in means.items()
    }
    held = {site: torch.from_numpy(mean).to(kind) for site, mean in means.items()}
    with frozen(model):
        for _, piece in prompts.chunks(_CHUNK):
            taps = Taps(replace={s: partial(_mix, gate, held[s]) for s, gate in gates.items()})
            total = value(margins(model, piece, taps)).sum() / len(prompts.last)
            total.backward()  # type: ignore[no-untyped-call]
    return {site: _array(gate.grad) for site, gate in gates.items() if gate.grad is not None}


def _mix(gate: Tensor, constant: Tensor, x: Tensor) -> Tensor:
    # An open gate gives x to the last bit: AbsTopK would tell.
    return torch.addcmul((1 - gate) * constant, gate, x)


def magnitude_scores(model: Transformer, means: Means, prompts: PromptTensors) -> Scores:
    """Mean of |activation - constant| over all tokens of the prompts, padding left out."""
    total = {site: np.zeros(len(mean)) for site, mean in means.items()}
    tokens = 0
    for _, piece in prompts.chunks(_CHUNK):
        taps = Taps(record=means)
        with torch.no_grad():
            model.read_out(piece.tokens, taps)
        real = torch.arange(piece.tokens.shape[1]) <= piece.last[:, None]
        tokens += int(real.sum())
        for site, x in taps.values.items():
            total[site] += _array((x[real] - torch.from_numpy(means[site]).to(x)).abs().sum(0))
    return {site: sums / tokens for site, sums in total.items()}


def random_scores(means: Means, seed: int) -> Scores:
    """Even draws from [0, 1)."""
    random = np.random.default_rng(seed)
    return {site: random.random(len(means[site])) for site in sorted(means)}


def _array(x: Tensor) -> NDArray[np.float64]:
    return np.asarray(x.detach().double().numpy())
