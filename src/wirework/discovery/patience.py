"""When to stop training gates early: what is being made small has not fallen for a while."""

from __future__ import annotations

from dataclasses import dataclass

_SPAN = 50
"""Steps over which it is averaged before it is compared."""

_FALL = 0.02
"""A fall by a smaller share is none."""


@dataclass
class Patience:
    """`steps` without progress are borne; 0: any number. What is counted can be saved."""

    steps: int
    total: float = 0.0
    best: float = float("inf")
    best_at: int = 0
    done: int = 0

    def look(self, done: int, total: float) -> None:
        """After step `done`, with the objective at that step."""
        self.done = done
        self.total += total / _SPAN
        if done % _SPAN:
            return
        if self.total < self.best * (1 - _FALL):
            self.best_at = done
        self.best = min(self.best, self.total)
        self.total = 0.0

    @property
    def lost(self) -> bool:
        return self.steps > 0 and self.done - self.best_at >= self.steps
