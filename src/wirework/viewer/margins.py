"""Answer margins of a lone circuit, and the task loss that they come to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Calibration
from wirework.engine import Network, forward
from wirework.tasks import NO_TOKEN, Prompts


def last_margins(network: Network, prompts: Prompts) -> NDArray[np.float64]:
    """lse(wanted logits) - lse(other logits) at the last token of each row, in float32: (2N)."""
    logits = forward(network, prompts.tokens, last=prompts.last).logits.astype(np.float64)
    columns = {int(token): column for column, token in enumerate(network.answers)}
    found = np.empty(len(logits))
    for row, values in enumerate(logits):
        wanted, other = (
            np.logaddexp.reduce(values[[columns[int(t)] for t in tokens if t != NO_TOKEN]])
            for tokens in (prompts.wanted[row], prompts.other[row])
        )
        found[row] = wanted - other
    return found


def loss_and_accuracy(
    margins: NDArray[np.float64], calibration: Calibration
) -> tuple[float, float]:
    """Two-sided loss in nats and share of right answers, of margins (2N) after calibration."""
    side = np.repeat([1.0, -1.0], len(margins) // 2)
    calibrated = calibration.scale * margins + calibration.shift * side
    return float(np.logaddexp(0, -calibrated).mean()), float((calibrated > 0).mean())


def answer_scores(
    logits: NDArray[np.floating[Any]], answers: NDArray[np.int64], tokens: tuple[int, ...]
) -> NDArray[np.float64]:
    """lse of the logits of some `tokens`, by row: logits (B, O) of `answers` (O) -> (B)."""
    columns = np.flatnonzero(np.isin(answers, tokens))
    found: NDArray[np.float64] = np.logaddexp.reduce(logits[:, columns].astype(np.float64), axis=1)
    return found
