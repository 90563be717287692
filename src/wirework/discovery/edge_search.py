"""From a circuit of nodes to the fewest edges between them: learned gates, then exact effects."""

from __future__ import annotations

from wirework.core.progress import StartProgress, silent
from wirework.discovery.bench import Bench, Candidate
from wirework.discovery.edge_clean_up import Drop as Drop
from wirework.discovery.edge_clean_up import drop_edges
from wirework.discovery.edge_gates import GatedEdges
from wirework.discovery.gate_training import train_gates


def prune_edges(
    bench: Bench, found: Candidate, *, seed: int, start: StartProgress = silent
) -> tuple[Candidate, tuple[Drop, ...]]:
    """Train a gate on every edge of `found`, keep the fewest that meet the target, drop what the
    target can spare after that; with the drops of that last step and what each cost."""
    config = bench.config
    gated = GatedEdges(bench.model, bench.holding, bench.answers, found.keep, config, seed=seed)
    train_gates(
        gated, bench.fit, config, steps=config.edge_steps, coefficient=config.edge_coefficient,
        seed=seed, label="edge gates", start=start,
    )  # fmt: skip
    fewer = _fewest(bench, found, gated, start)
    return drop_edges(bench, fewer, start)


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
