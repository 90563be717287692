"""Choosing the next token from logits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from wirework.core import WireworkError
from wirework.engine.tiles import Floats


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: at `temperature` 0 the most likely one, else from the `top_k` most
    likely ones, and of these from the fewest whose probability together reaches `top_p`.

    Ties go to the lower id. Raises `sampling-impossible`.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        for name, value, fine, expected in (
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, ">= 0"),
            ("top_k", self.top_k, self.top_k is None or self.top_k >= 1, ">= 1"),
            ("top_p", self.top_p, self.top_p is None or 0 < self.top_p <= 1, "above 0, at most 1"),
        ):
            if not fine:
                raise WireworkError(
                    "sampling-impossible", f"no token can be drawn with this {name}",
                    expected=f"{name} {expected}", got=str(value),
                )  # fmt: skip

    def choose(self, logits: Floats, random: np.random.Generator) -> int:
        """logits (O) -> the place of the chosen token. Draws one number, none at temperature 0."""
        if self.temperature == 0:
            return int(np.argmax(logits))
        order = np.argsort(-logits.astype(np.float64), kind="stable")[: self.top_k]
        scaled = logits[order].astype(np.float64) / self.temperature
        share = np.exp(scaled - scaled[0])
        reached = np.cumsum(share / share.sum())
        if self.top_p is not None:
            reached = reached[: int(np.searchsorted(reached, self.top_p)) + 1]
        drawn = int(np.searchsorted(reached, random.random() * reached[-1], side="right"))
        return int(order[min(drawn, len(reached) - 1)])
