"""From a circuit of nodes to the fewest edges between them, by learned gates."""

from __future__ import annotations

from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate
from wirework.discovery.edge_gates import GatedEdges
from wirework.discovery.gate_training import train_gates


def prune_edges(
    bench: Bench, found: Candidate, *, seed: int, start: StartProgress = silent
) -> Candidate:
    """Train a gate on every edge of `found`, keep the fewest that meet the target."""
    config = bench.config
    gated = GatedEdges(bench.model, bench.holding, bench.answers, found.keep, config, seed=seed)
    objective = bench.objective(config.edge_coefficient, found.calibration)
    train_gates(
        gated, objective, bench.fit, config, steps=config.edge_steps, seed=seed,
        label="edge gates", attention=bench.attention_limit(bench.fit), start=start,
    )  # fmt: skip
    return _fewest(bench, found, gated, start)


def _fewest(bench: Bench, found: Candidate, gated: GatedEdges, start: StartProgress) -> Candidate:
    """Rank edges by their gates and bisect to the fewest that meet the target."""
    scores = gated.scores()
    order = sorted(scores, key=lambda edge: (-scores[edge], edge))
    best, low, high = found, 0, len(order)
    with start("edges", len(order).bit_length()) as progress:
        while high - low > 1:
            middle = (low + high) // 2
            trial = bench.measure(found.keep, order[middle:])
            progress.advance(edges=middle, loss=trial.loss)
            if trial.meets_target:
                high, best = middle, trial
            else:
                low = middle
    return best
