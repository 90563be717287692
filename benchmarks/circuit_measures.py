"""What benchmarks of circuits share: sizes of a circuit, shares of verdicts, geometric means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wirework.circuit import Circuit
from wirework.core import Measure
from wirework.core.stats import bootstrap_interval, geometric_mean, share_interval
from wirework.validation.verdict import FAITHFUL, PARTLY, UNFAITHFUL


def sizes(circuit: Circuit) -> dict[str, int]:
    """Kept nodes and edges."""
    return {"nodes": sum(map(len, circuit.nodes.values())), "edges": circuit.n_edges}


def verdict_shares(verdicts: Sequence[str | None], name: str) -> dict[str, Measure]:
    """The share of every verdict, as `faithful:NAME`; None: there was no circuit to judge."""
    n = len(verdicts)
    return {
        f"{word}:{name}": share(verdicts.count(word), n) for word in (FAITHFUL, PARTLY, UNFAITHFUL)
    }


def share(hits: int, n: int) -> Measure:
    """With Wilson's interval."""
    return Measure(hits / n, *share_interval(hits, n), n)


def geometric(name: str, values: Sequence[float]) -> dict[str, Measure]:
    """The geometric mean with a bootstrap interval; nothing where there are no values."""
    if not values:
        return {}
    low, high = (float(np.exp(end)) for end in bootstrap_interval(np.log(values), seed=0))
    return {name: Measure(geometric_mean(values), low, high, len(values))}
