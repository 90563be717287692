"""Hypothesis tests of a circuit, each with its null and a p-value, corrected for their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import PromptTensors, inverted
from wirework.core import Measure
from wirework.core.progress import Progress, StartProgress
from wirework.core.report import Better
from wirework.core.stats import share_interval
from wirework.validation.config import ValidationConfig
from wirework.validation.controls import random_circuit
from wirework.validation.exact_tests import (
    clusters_of,
    equivalence_p,
    non_equivalence_p,
    rank_p,
    swap_p,
)
from wirework.validation.findings import Findings
from wirework.validation.minimality import KINDS, Needs, PartTests, pair_losses, part_runs
from wirework.validation.multiplicity import benjamini_hochberg, holm
from wirework.validation.subject import Subject

_LEAST = 1e-3
"""Share of the model's mean |margin|; what is smaller is rounding."""


@dataclass(frozen=True)
class _Test:
    p: float
    null: str
    better: Better
    n: int


def hypothesis_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`p:TEST` of five tests, `minimal_share` and `minimal_edge_share` (by margin, and `:loss` by
    loss), `margin_above`, `independence` (circuit_tools.md §1.12, re-derived).

    `details["hypotheses"]`: each null, p-value and p-values adjusted by Holm and by
    Benjamini-Hochberg; `minimal_nodes`, `minimal_edges`: the same of every part. They are adjusted
    over all of them together. The shares go by the latter: of n draws the smallest p-value is
    1 / (1 + n), which Holm takes times the number of tests. Prompts are held fixed where circuits
    or parts are drawn; where pairs are, templates are drawn whole if there are at least ten.
    """
    sample = subject.sample(config.pairs, seed)
    runs = part_runs(subject, config) + 2 * config.test_draws + 2
    with start("hypothesis tests", runs) as progress:
        tests = _against_random(subject, config, sample, seed, progress)
        more, found = _against_model(subject, config, seed)
        parts = PartTests(subject, config, sample, seed, progress)
        nodes, edges = parts.of_nodes(), parts.of_edges()
    tests |= more
    p = np.array([*(test.p for test in tests.values()), *nodes.p.ravel(), *edges.p.ravel()])
    family = np.stack([p, holm(p), benjamini_hochberg(p)])
    of_tests, of_nodes, of_edges = np.split(family, [len(tests), len(tests) + nodes.p.size], axis=1)
    for name, test in tests.items():
        note = f"Probability of such figures or clearer ones, where this is so: {test.null}"
        found[f"p:{name}"] = Measure(test.p, n=test.n, better=test.better, note=note)
    found |= _shares("minimal_share", "nodes", nodes, of_nodes[2], config)
    found |= _shares("minimal_edge_share", "edges", edges, of_edges[2], config)
    details: dict[str, Any] = {
        "hypotheses": {
            "test": list(tests),
            "null": [test.null for test in tests.values()],
            **_columns(of_tests),
        },
        "minimal_nodes": _table(nodes, of_nodes),
        "minimal_edges": _table(edges, of_edges),
    }
    return Findings(found, details)


def hypothesis_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    whole = 3 * len(subject.report) / config.pairs
    return part_runs(subject, config) + 2 * config.test_draws + 2 + whole


def _against_random(
    subject: Subject,
    config: ValidationConfig,
    sample: PromptTensors,
    seed: int,
    progress: Progress,
) -> dict[str, _Test]:
    """Sufficiency and partial necessity: exact rank among random circuits of equal size."""

    def loss(values: Tensor) -> float:
        progress.advance()
        return float(pair_losses(values, sample).mean())

    kept, removed = [], []
    for draw in range(config.test_draws):
        other = random_circuit(subject.keep, seed, draw)
        kept.append(-loss(subject.margins(other, sample)))
        removed.append(loss(subject.margins(inverted(other), sample)))
    alone = -loss(subject.circuit_margins(sample))
    without = loss(subject.margins(inverted(subject.keep), sample))
    like = "random circuit of as many nodes at every site"
    return {
        "sufficiency": _Test(
            rank_p(alone, kept), f"kept alone, the circuit does the task like a {like}",
            "lower", config.test_draws,
        ),
        "necessity": _Test(
            rank_p(without, removed), f"its removal hurts the model like that of a {like}",
            "lower", config.test_draws,
        ),
    }  # fmt: skip


def _against_model(
    subject: Subject, config: ValidationConfig, seed: int
) -> tuple[dict[str, _Test], dict[str, Measure]]:
    """Equivalence and independence, on all of `report`."""
    prompts, half = subject.report, len(subject.report)
    alone, whole, rest = (
        values.numpy()
        for values in (
            subject.circuit_margins(),
            subject.margins(None),
            subject.margins(inverted(subject.keep)),
        )
    )
    unit = _LEAST * max(float(np.abs(whole).mean()), 1e-9)
    # One prompt of each pair, by turns: both sides of a pair are alike.
    rows = np.arange(half) + half * (np.arange(half) % 2)
    ahead = np.round((alone - whole)[rows] / unit)
    wins = float((ahead > 0).sum() + (ahead == 0).sum() / 2)
    epsilon = config.equivalence_margin
    p, strength = swap_p(
        np.round(rest * _order(prompts) / unit), _order(prompts),
        clusters_of(subject.templates), draws=config.flips, seed=seed,
    )  # fmt: skip
    tests = {
        "equivalence": _Test(
            equivalence_p(wins, half, epsilon),
            f"the circuit's margin is the larger one on a share of prompts outside "
            f"1/2 ± {epsilon:g}",
            "lower", half,
        ),
        "non_equivalence": _Test(
            non_equivalence_p(wins, half, epsilon),
            f"the circuit's margin is the larger one on a share of prompts within "
            f"1/2 ± {epsilon:g}",
            "higher", half,
        ),
        "independence": _Test(
            p, "with the circuit's nodes cut, the rest cannot tell the sides of a pair apart",
            "higher", half,
        ),
    }  # fmt: skip
    low, high = share_interval(round(wins), half)
    measures = {
        "margin_above": Measure(
            wins / half, low, high, half,
            note="Share of prompts on which the circuit's margin is above the whole model's, "
            "ties half; one prompt of each pair, uncalibrated",
        ),
        "independence": Measure(
            strength, n=half, better="lower",
            note="Distance correlation of the right answer with what the model without the "
            "circuit's nodes says; 0 where that says nothing",
        ),
    }  # fmt: skip
    return tests, measures


def _order(prompts: PromptTensors) -> NDArray[np.float64]:
    """+1 for rows (2N) that want the answers that come first of a pair's two, -1 for the others."""
    wanted, other = prompts.wanted.numpy(), prompts.other.numpy()
    first = [tuple(a) > tuple(b) for a, b in zip(wanted.tolist(), other.tolist(), strict=True)]
    return np.where(first, 1.0, -1.0)


def _columns(family: NDArray[np.float64]) -> dict[str, list[float]]:
    return dict(zip(("p", "holm", "bh"), family.tolist(), strict=True))


def _table(needs: Needs, family: NDArray[np.float64]) -> dict[str, Any]:
    """By part and kind of harm: `harm:KIND`, `p:KIND`, `holm:KIND`, `bh:KIND`."""
    table: dict[str, Any] = {"part": list(needs.names)}
    for kind, harm, columns in zip(KINDS, needs.harm, np.split(family, 2, axis=1), strict=True):
        named = {"harm": harm.tolist(), **_columns(columns)}
        table |= {f"{name}:{kind}": values for name, values in named.items()}
    return table


def _shares(
    name: str, what: str, needs: Needs, adjusted: NDArray[np.float64], config: ValidationConfig
) -> dict[str, Measure]:
    """`name` by margin, `name:loss` by loss; none where no part was tested."""
    count, found = len(needs.names), {}
    means = (
        f"{config.least_share:.1%} of the answer margin",
        f"{config.least_harm:g} nats of calibrated loss",
    )
    for kind, least, p in zip(KINDS, means, np.split(adjusted, 2), strict=True):
        hits = int((p <= config.alpha).sum())
        low, high = share_interval(hits, count) if count < needs.total else (None, None)
        note = (
            f"Share of the circuit's {what} whose removal costs more than {least} and more than "
            f"that of padding; Benjamini-Hochberg over all tests, {config.alpha:g}"
        )
        if count:
            key = name if kind == KINDS[0] else f"{name}:{kind}"
            found[key] = Measure(hits / count, low, high, count, better="higher", note=note)
    return found
