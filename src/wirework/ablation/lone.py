"""A lone circuit on a task: the margins that the torch-free engine gives."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.ablation.score import PromptTensors
from wirework.core import WireworkError
from wirework.engine import Network, forward
from wirework.engine.forward import Replace
from wirework.tasks import NO_TOKEN


def require_answers(network: Network, tokens: Collection[int]) -> None:
    """Raises `circuit-lacks-answers` where the network has no logit for one of `tokens`."""
    missing = sorted(set(tokens) - set(network.answers.tolist()) - {NO_TOKEN})
    if missing:
        raise WireworkError(
            "circuit-lacks-answers",
            "the task asks for tokens that this circuit has no logit for",
            expected="the task that the circuit was found for, or one with the same answers",
            got=f"{len(missing)} unknown answer tokens, such as {missing[0]}",
        )


def lone_margins(
    network: Network,
    prompts: PromptTensors,
    dtype: DTypeLike = np.float64,
    *,
    replace: Replace | None = None,
    chunk: int = 64,
) -> NDArray[np.float64]:
    """What `all_margins` gives, from an extracted network run by the engine in `dtype`, (2N).

    `replace`: site -> function of its activation, see `engine.forward`. Raises
    `circuit-lacks-answers`.
    """
    require_answers(network, np.unique(prompts.wanted.numpy()).tolist())
    found = np.empty(len(prompts.last))
    for index, piece in prompts.chunks(chunk):
        last = piece.last.numpy()
        trace = forward(network, piece.tokens.numpy(), dtype=dtype, replace=replace, last=last)
        wanted = _set_score(network, trace.logits, piece.wanted.numpy())
        found[index.numpy()] = wanted - _set_score(network, trace.logits, piece.other.numpy())
    return found


def _set_score(
    network: Network, logits: NDArray[np.floating[Any]], answers: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    columns = np.searchsorted(network.answers, np.maximum(answers, 0))
    present = answers != NO_TOKEN
    columns = np.where(present, columns, 0)
    chosen = np.take_along_axis(logits, columns, axis=1)
    chosen = np.where(present, chosen, -np.inf)
    highest = chosen.max(axis=1, keepdims=True)
    total: NDArray[np.floating[Any]] = np.log(np.exp(chosen - highest).sum(axis=1)) + highest[:, 0]
    return total
