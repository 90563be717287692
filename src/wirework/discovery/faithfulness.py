"""How faithful circuits of rising size are: CPR and CMD, as the MIB benchmark measures them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import Keep, all_margins, keep_of, kept_nodes, site_gates
from wirework.circuit import extract, on_path, sizes
from wirework.core.progress import Progress
from wirework.discovery.bench import Bench
from wirework.discovery.discretise import Scores, ranked

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Circuit sizes as shares of the whole model (circuit_tools.md §4.2)."""


def cpr(faithfulness: Sequence[float] | NDArray[np.float64]) -> float:
    """Area under the faithfulness of circuits of the sizes `SHARES`, by the trapezoid rule.

    HIGHER = BETTER. 0.999 where every circuit does what the model does, 0.250 where none but the
    whole model does anything; more where parts work against the task and go first.
    """
    return _area(np.asarray(faithfulness, dtype=np.float64))


def cmd(faithfulness: Sequence[float] | NDArray[np.float64]) -> float:
    """Area of |1 - faithfulness|, LOWER = BETTER: 0 for the perfect circuit, 0.749 for none."""
    return _area(np.abs(1 - np.asarray(faithfulness, dtype=np.float64)))


def _area(heights: NDArray[np.float64]) -> float:
    assert heights.shape == (len(SHARES),), "one number for each share"
    return float((np.diff(SHARES) * (heights[1:] + heights[:-1]) / 2).sum())


def faithfulness_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m(C) - m(∅)) / (m(M) - m(∅)) of every circuit, (S); NaN where the model does nothing.

    `rows` (pairs, 2 + S): mean margin of both sides of a pair with all nodes cut (∅), in the
    whole model (M) and in S circuits (C).
    """
    nothing, model, *circuits = rows.mean(axis=0)
    if model == nothing:
        return np.full(len(circuits), np.nan)
    return np.asarray((np.array(circuits) - nothing) / (model - nothing))


class Ladder:
    """Measures circuits of the sizes `SHARES` on `report`; m is the uncalibrated margin.

    `by`: shares are of the nodes, or of the edges (nonzeros between kept nodes): then the most
    nodes that stay within the share.
    """

    def __init__(self, bench: Bench, by: Literal["nodes", "edges"] = "nodes") -> None:
        self.bench = bench
        self.by = by
        self.count = sum(bench.widths.values())
        nothing = {site: np.zeros(width, dtype=np.bool_) for site, width in bench.widths.items()}
        whole = all_margins(bench.model, bench.report).double().numpy()
        self.ends = np.stack([self._margins(nothing), per_pair(whole)], axis=1)

    def rows(self, scores: Scores, progress: Progress) -> NDArray[np.float64]:
        """Margins (pairs, 2 + S) for `faithfulness_of`, the best nodes kept at every size."""
        top = ranked(scores)
        columns = [self.ends]
        for share in SHARES[:-1]:
            k = int(share * self.count) if self.by == "nodes" else self._within(top, share)
            columns.append(self._margins(top(k))[:, np.newaxis])
            progress.advance(nodes=k)
        return np.concatenate([*columns, self.ends[:, 1:]], axis=1)

    def _margins(self, keep: Keep) -> NDArray[np.float64]:
        bench = self.bench
        nodes = kept_nodes(keep)
        used = on_path(bench.network, nodes, outputs=bench.answers, tokens=bench.tokens)
        keep = keep_of(used, bench.widths)
        lone = extract(bench.network, site_gates(keep, bench.means), bench.answers)
        return per_pair(bench.margins(keep, lone, bench.report).numpy())

    def _within(self, top: Callable[[int], Keep], share: float) -> int:
        """The most of the best nodes that hold at most this share of all edges between them."""
        low, high = 0, self.count
        most = share * self._edges(top(high))
        while high - low > 1:
            middle = (low + high) // 2
            if self._edges(top(middle)) <= most:
                low = middle
            else:
                high = middle
        return low

    def _edges(self, keep: Keep) -> int:
        return sizes(self.bench.network, kept_nodes(keep), ()).edges


def per_pair(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the two sides of every pair, (2N) -> (N)."""
    return np.asarray(margins.reshape(2, -1).mean(axis=0))
