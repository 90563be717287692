"""Hypothesis tests of a circuit, each with its null and a p-value, corrected for their number."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import PromptTensors, inverted
from wirework.core import Measure
from wirework.core.progress import Progress, StartProgress
from wirework.core.report import Better
from wirework.core.stats import share_interval
from wirework.validation.clusters import clustered_share_interval, template_clusters
from wirework.validation.config import ValidationConfig
from wirework.validation.controls import enough_others, random_circuit, random_elsewhere
from wirework.validation.equivalence import ShareTests, by_turns, wins
from wirework.validation.exact_tests import (
    clusters_of,
    rank_p,
    swap_p,
)
from wirework.validation.findings import Findings
from wirework.validation.minimality import (
    KINDS,
    Needs,
    PartTests,
    pair_losses,
    part_runs,
)
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
    or parts are drawn. Where pairs are, equivalence is about new templates (`ShareTests`);
    independence and what parts cost are about new templates where there are at least ten, else
    about new fillings of the same (`clusters_of`).
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
    for (name, test), (_, by_holm, by_bh) in zip(tests.items(), of_tests.T, strict=True):
        note = (
            f"Probability of such figures or clearer ones, where this is so: {test.null}. "
            f"Adjusted for {p.size} tests: {by_holm:.2g} by Holm, {by_bh:.2g} by Benjamini-Hochberg"
        )
        found[f"p:{name}"] = Measure(test.p, n=test.n, better=test.better, note=note)
    found |= _shares("minimal_share", "nodes", nodes, of_nodes[2], p.size, config)
    found |= _shares("minimal_edge_share", "edges", edges, of_edges[2], p.size, config)
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
    """Sufficiency and partial necessity: exact rank among random circuits of equal size, and among
    random sets of other nodes (see `control_findings`)."""

    def loss(values: Tensor) -> float:
        progress.advance()
        return float(pair_losses(values, sample).mean())

    kept, removed = [], []
    for draw in range(config.test_draws):
        other = random_circuit(subject.keep, seed, draw)
        kept.append(-loss(subject.margins(other, sample)))
        elsewhere = random_elsewhere(subject.keep, seed, draw)
        removed.append(loss(subject.margins(inverted(elsewhere), sample)))
    alone = -loss(subject.circuit_margins(sample))
    without = loss(subject.margins(inverted(subject.keep), sample))
    like = "random circuit of as many nodes at every site"
    if not enough_others(subject.keep):
        without = nan
    return {
        "sufficiency": _Test(
            rank_p(alone, kept), f"kept alone, the circuit does the task like a {like}",
            "lower", config.test_draws,
        ),
        "necessity": _Test(
            rank_p(without, removed), "its removal hurts the model like that of as many others",
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
    scores = wins(by_turns(alone), by_turns(whole), config.equivalence_zone)
    clusters = template_clusters(subject.templates)
    by_share = ShareTests.of(scores, clusters, config.equivalence_margin)
    p, strength = swap_p(
        np.round(rest * _order(prompts) / unit), _order(prompts),
        clusters_of(subject.templates), draws=config.flips, seed=seed,
    )  # fmt: skip
    drawn = "new templates" if len(set(subject.templates.tolist())) > 1 else "its one template"
    where = f"1/2 ± {config.equivalence_margin:g} of prompts of {drawn}, ties half"
    few = f" (no p-value below {by_share.least:.2g} can come of so few templates)"
    tests = {
        "equivalence": _Test(
            by_share.equivalent,
            f"the circuit's margin is the larger one on a share outside {where}",
            "lower", half,
        ),
        "non_equivalence": _Test(
            by_share.different,
            f"the circuit's margin is the larger one on a share within {where}"
            + (few if by_share.least > config.alpha else ""),
            "higher", half,
        ),
        "independence": _Test(
            p, "with the circuit's nodes cut, the rest cannot tell the sides of a pair apart",
            "higher", half,
        ),
    }  # fmt: skip
    low, high = clustered_share_interval(scores, clusters)
    measures = {
        "margin_above": Measure(
            float(scores.mean()), low, high, half,
            note=f"Share of prompts on which the circuit's margin is above the whole model's by "
            f"more than {config.equivalence_zone:.0%} of its mean size, ties half; one prompt of "
            f"each pair, uncalibrated",
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
    name: str,
    what: str,
    needs: Needs,
    adjusted: NDArray[np.float64],
    tests: int,
    config: ValidationConfig,
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
        # So many p-values of 1 / (1 + draws) are what the step-up lets through together.
        fewest = ceil(tests / (config.alpha * (1 + needs.draws)))
        note = (
            f"Share of the circuit's {what} whose removal costs more than {least} and more than "
            f"that of padding; Benjamini-Hochberg over all {tests} tests, {config.alpha:g}. With "
            f"{needs.draws} draws of padding "
            + (
                f"no fewer than {fewest} of the tests can be passed"
                if fewest > 1
                else "each can be passed by itself"
            )
        )
        if count:
            key = name if kind == KINDS[0] else f"{name}:{kind}"
            found[key] = Measure(hits / count, low, high, count, better="higher", note=note)
    return found
