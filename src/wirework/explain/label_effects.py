"""How much of what a node does for the task its label explains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, lone_margins
from wirework.circuit import Circuit, without_node
from wirework.core import Node
from wirework.core.stats import bootstrap_interval
from wirework.engine import Network
from wirework.engine.sparse import Floats
from wirework.explain.node_label import EffectShare

_ROWS = 64
"""Prompts in one pass."""


@dataclass(frozen=True, eq=False)
class LabelEffects:
    """A lone circuit on pairs of its task, all of which are labelled. `whole` (2N): its margins;
    `left_out`: pairs that could not be labelled."""

    network: Network
    prompts: PromptTensors
    whole: NDArray[np.float64]
    left_out: int
    seed: int

    @classmethod
    def of(cls, circuit: Circuit, prompts: PromptTensors, left_out: int, seed: int) -> LabelEffects:
        """Raises `circuit-lacks-answers`, `circuit-needs-model`."""
        circuit.require_alone()
        whole = lone_margins(circuit.network, prompts, np.float32)
        return cls(circuit.network, prompts, whole, left_out, seed)

    def share(
        self, node: Node, marks: NDArray[np.bool_], inside: float, outside: float
    ) -> EffectShare:
        """The share of the effect of `node` that its label explains.

        marks (2N, T): where the label holds; the node becomes `inside` there, `outside` elsewhere.
        Whole templates are drawn for the interval where there are several.
        """
        measured, left_out = len(self.prompts), self.left_out
        cut = self.whole - lone_margins(without_node(self.network, node), self.prompts, np.float32)
        low, high = self._interval(_pairs(cut), lambda rows: float(rows.mean()))
        if low <= 0 <= high:
            reason = "cutting the node has no effect that is clear"
            return EffectShare(pairs=measured, unlabelled=left_out, reason=reason)
        lost = self.whole - self._replaced(node, np.where(marks, inside, outside))
        shuffled = self.whole - self._replaced(
            node, np.where(self._shuffled(marks), inside, outside)
        )
        rows = _pairs(np.stack([lost, cut], 1))
        low, high = self._interval(rows, _share)
        control = _share(_pairs(np.stack([shuffled, cut], 1)))
        return EffectShare(_share(rows), low, high, control, measured, left_out)

    def _replaced(self, node: Node, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Margins (2N) with the node at `values` (2N, T)."""
        found = np.empty(len(values))
        for index, piece in self.prompts.chunks(_ROWS):
            mine = values[index.numpy(), : piece.tokens.shape[1]]

            def change(x: Floats, mine: NDArray[np.float64] = mine) -> Floats:
                after = x.copy()
                after[..., node.index] = mine
                return after

            # In one pass, whose rows keep their order: they are sorted by length.
            found[index.numpy()] = lone_margins(
                self.network, piece, np.float32, replace={node.site: change}, chunk=_ROWS
            )
        return found

    def _shuffled(self, marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Marks in a random order among all tokens of the prompts."""
        real = np.arange(marks.shape[1]) <= self.prompts.last.numpy()[:, None]
        moved = marks.copy()
        moved[real] = np.random.default_rng([self.seed, 6]).permutation(marks[real])
        return moved

    def _interval(
        self, rows: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float]
    ) -> tuple[float, float]:
        templates = self.prompts.template[: len(self.prompts)].tolist()
        clusters = templates if len(set(templates)) > 1 else None
        return bootstrap_interval(rows, statistic, clusters=clusters, seed=self.seed)


def _pairs(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2N, …) -> mean of both sides (N, …)."""
    mean: NDArray[np.float64] = rows.reshape(2, -1, *rows.shape[1:]).mean(0)
    return mean


def _share(rows: NDArray[np.float64]) -> float:
    """rows (N, 2): lost with the label, lost without the node."""
    lost, cut = rows.mean(0).tolist()
    return 1 - lost / cut if cut else 0.0
