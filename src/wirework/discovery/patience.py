"""When to stop training gates early: neither loss nor open nodes have fallen for a while."""

from __future__ import annotations

from dataclasses import dataclass

_SPAN = 50
"""Steps over which losses and nodes are averaged before they are compared."""

_NODES, _LOSS = 0.02, 0.02
"""Falls by a smaller share than these are none."""


@dataclass
class Patience:
    """`steps` without progress are borne; 0: any number. What is counted can be saved."""

    steps: int
    loss: float = 0.0
    nodes: float = 0.0
    best_loss: float = float("inf")
    best_nodes: float = float("inf")
    best_at: int = 0
    done: int = 0

    def look(self, done: int, loss: float, nodes: int) -> None:
        """After step `done`, with the step's loss and its number of open nodes."""
        self.done = done
        self.loss += loss / _SPAN
        self.nodes += nodes / _SPAN
        if done % _SPAN:
            return
        fewer = self.nodes < self.best_nodes * (1 - _NODES)
        better = self.loss < self.best_loss * (1 - _LOSS)
        if fewer or better:
            self.best_at = done
        self.best_nodes = min(self.best_nodes, self.nodes)
        self.best_loss = min(self.best_loss, self.loss)
        self.loss = self.nodes = 0.0

    @property
    def lost(self) -> bool:
        return self.steps > 0 and self.done - self.best_at >= self.steps
