"""Gates at a price that the target can bear, and the fewest nodes by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import Keep
from wirework.core import Site
from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate
from wirework.discovery.discretise import smallest
from wirework.discovery.node_gates import trained_gates

_CHEAPER = 0.5
"""By what the price of a node is multiplied where the gates shut too much."""

_NEAR = 2.0
"""How many times as many nodes as there are open gates may still be near to what they found."""

_FEW = 100
"""So many nodes are tried in any case."""


def gated_search(
    bench: Bench,
    *,
    seed: int,
    never: Keep | None = None,
    state: Path | None = None,
    identity: str = "",
    start: StartProgress = silent,
) -> tuple[dict[Site, NDArray[np.float32]], Candidate | None]:
    """A number for every node (`trained_gates`), and the smallest set by them that meets the
    target, None where there is none.

    Far above the open gates their order says little: there a set that meets the target has
    thousands of nodes. So where twice as many nodes as open gates still miss it, gates are
    trained again at half the coefficient, `bench.config.retries` times, before more are taken.
    Arguments and errors: as for `trained_gates`.
    """
    config = bench.config
    learned = bench.full.loss <= config.target_loss
    places = [_place(state, trial) for trial in range(1 + config.retries * learned)]
    scores, found = {}, None
    for trial, place in enumerate(places):
        scores = trained_gates(
            bench, coefficient=config.coefficient * _CHEAPER**trial, seed=seed, never=never,
            state=place, identity=identity, start=start,
        )  # fmt: skip
        last = trial == len(places) - 1
        n_open = sum(int((values >= 0).sum()) for values in scores.values())
        # What the whole model has not learned, more nodes hardly mend; few may, by chance.
        most = n_open if not learned else None if last else max(_FEW, int(_NEAR * n_open))
        found = smallest(bench, scores, start, most=most)
        if found is not None:
            break
    for place in places[1:]:
        if place is not None:
            place.unlink(missing_ok=True)
    return scores, found


def _place(state: Path | None, trial: int) -> Path | None:
    """Every trial has a state of its own; the first one that of the search."""
    return state if state is None or not trial else state.with_name(f"{state.name}.{trial}")
