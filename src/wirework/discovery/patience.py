"""When to stop training gates early: what is being made small does not fall, or not enough."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

_SPAN = 50
"""Steps over which it is averaged before it is compared."""

_FALL = 0.02
"""A fall by a smaller share is none."""

_CHANCE = log(2)
"""Two-sided loss in nats of whoever cannot tell the two sides apart."""


@dataclass
class Patience:
    """`steps` without progress are borne; 0: any number. By step `give_up` (0: no such step) the
    mean loss of the last steps must have come half the way from chance to `target`, in nats. What
    is counted can be saved."""

    steps: int
    give_up: int = 0
    target: float = 0.0
    total: float = 0.0
    best: float = float("inf")
    best_at: int = 0
    done: int = 0
    loss: float = 0.0

    def look(self, done: int, loss: float, price: float) -> None:
        """After step `done`, with what the objective adds up to at that step: the loss and by how
        much limits are exceeded, the price of the open gates."""
        self.done = done
        span = min(_SPAN, self.give_up)
        if self.give_up - span < done <= self.give_up:
            self.loss += loss / span
        self.total += (loss + price) / _SPAN
        if done % _SPAN:
            return
        if self.total < self.best * (1 - _FALL):
            self.best_at = done
        self.best = min(self.best, self.total)
        self.total = 0.0

    @property
    def lost(self) -> bool:
        return self.hopeless or (self.steps > 0 and self.done - self.best_at >= self.steps)

    @property
    def hopeless(self) -> bool:
        return self.done == self.give_up > 0 and self.loss > (_CHANCE + self.target) / 2
