"""Does it matter what the rest of the model is? Subsets of it restored, at random and the worst.

A circuit is measured with all other nodes held at one value. If it is the mechanism, its answers
stay when any of them run as they did; if it lives on what the others are held at, they fall
(weight_sparse_paper.md §10.2, circuit_tools.md §1.13).

Answers are signs of margins *before calibration*. The shift that a circuit is calibrated with mends
what holding all others does; with everything restored there is nothing left to mend, and no one
shift is right on the way from one to the other. So none is used; shares with the circuit's own
stand beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import (
    Adversary,
    Attack,
    Keep,
    PromptTensors,
    calibrated,
    inverted,
    masked_margins,
    random_subset,
    score_of,
)
from wirework.circuit import Calibration
from wirework.core import Measure, Node, Site
from wirework.core.progress import StartProgress
from wirework.core.report import Better
from wirework.core.stats import share_interval
from wirework.validation.clusters import widened
from wirework.validation.config import ValidationConfig
from wirework.validation.findings import Findings
from wirework.validation.intervals import clusters_of_pairs, interval_of_share
from wirework.validation.subject import Subject
from wirework.validation.verdict import RULES

_DROPPED = (0.25, 0.5, 1.0)
"""Shares of the circuit's nodes that are dropped."""

_HALF = 0.5
"""The one of them that is measured."""

_BESIDE = (0.0, 0.5, 1.0)
"""Shares of the rest that are restored meanwhile."""

_RESAMPLES = 1000


def subset_findings(
    subject: Subject, config: ValidationConfig, *, seed: int, start: StartProgress
) -> Findings:
    """`subset_random`, `subset_adversarial@B`, `model_adversarial@B`, `subset_dropped`,
    `needed_in_model`.

    All on the same pairs of `report`. An answer is kept where it is the whole model's on that
    prompt, right or wrong. Intervals: see `_interval`. Raises nothing.
    """
    asked = _Asked(subject, subject.sample(config.pairs, seed), seed)
    return (
        _random(asked, config, start)
        | _dropped(asked, config, start)
        | _needed(asked, config, start)
        | _worst(asked, config, start)
    )


def subset_passes(subject: Subject, config: ValidationConfig) -> float:
    """Forward passes over `config.pairs` pairs that the group costs."""
    random = len(config.restore_rates) * config.restore_draws + 3
    dropped = len(_DROPPED) * len(_BESIDE) * _fewer(config)
    climbing = config.adversary_restarts * config.adversary_steps * 4
    return (
        random
        + dropped
        + config.needed_nodes
        + 2 * len(config.budgets) * (climbing + 2 * config.adversary_tries)
    )


@dataclass(frozen=True)
class _Asked:
    """The pairs that all is measured on, and what the whole model answers there."""

    subject: Subject
    sample: PromptTensors
    seed: int

    @cached_property
    def whole(self) -> Tensor:
        """Margins of the whole model, (2N)."""
        return self.subject.margins(None, self.sample)

    @cached_property
    def rest(self) -> Keep:
        """Every node that is not of the circuit."""
        return inverted(self.subject.keep)

    def margins(self, keep: Keep) -> Tensor:
        """With `keep` kept; edges that the circuit lacks stay cut."""
        subject = self.subject
        return masked_margins(
            subject.whole, subject.holding, keep, self.sample, edges=subject.edges
        ).double()

    def kept(self, margins: Tensor) -> NDArray[np.float64]:
        """Of each pair, the share of the whole model's two answers that are kept, (N)."""
        same = ((margins > 0) == (self.whole > 0)).double().numpy()
        mean: NDArray[np.float64] = same.reshape(2, -1).mean(axis=0)
        return mean

    def calibrated(self, margins: Tensor) -> Tensor:
        return calibrated(margins, self.sample.side, self.subject.circuit.calibration)

    def loss(self, margins: Tensor) -> float:
        return score_of(margins, self.sample, Calibration()).loss

    def interval(self, kept: NDArray[np.float64]) -> tuple[float, float]:
        """95% interval of the mean of `kept` (draws, N) for other prompts and other draws.

        Bootstrap over pairs, whole templates at a time where there are several, and over draws,
        `widened`; and no narrower than that of the prompts' shares, for where nothing fails no
        bootstrap sees what could.
        """
        draws, cluster = len(kept), clusters_of_pairs(self.sample)
        sizes = np.bincount(cluster)
        sums = np.stack([np.bincount(cluster, weights=row) for row in kept])
        random = np.random.default_rng([self.seed, 4])
        often = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), _RESAMPLES)
        drawn = random.multinomial(draws, np.full(draws, 1 / draws), _RESAMPLES)
        shares = ((drawn @ sums) * often).sum(axis=1) / (draws * (often @ sizes))
        low, high = (float(end) for end in np.quantile(shares, [0.025, 0.975]))
        low, high = widened(float(kept.mean()), (low, high), len(sizes))
        least = interval_of_share(self.sample, kept.mean(axis=0))
        return max(0.0, min(low, least[0])), min(1.0, max(high, least[1]))

    def measure(self, kept: NDArray[np.float64], note: str, better: Better = "higher") -> Measure:
        low, high = self.interval(kept)
        return Measure(float(kept.mean()), low, high, 2 * kept.size, better=better, note=note)


# -- at random


def _random(asked: _Asked, config: ValidationConfig, start: StartProgress) -> Findings:
    rates = (0.0, *config.restore_rates, 1.0)
    curve: dict[str, list[float]] = {
        key: []
        for key in ("rate", "share", "low", "high", "worst_share", "calibrated_share", "loss",
                    "worst_loss")
    }  # fmt: skip
    measures = []
    with start("random subsets", len(rates) * config.restore_draws) as progress:
        for rate in rates:
            # The ends are one draw each: there is nothing to choose.
            draws = config.restore_draws if 0 < rate < 1 else 1
            found = [asked.margins(keep) for keep in _restored(asked, rate, draws)]
            kept = np.stack([asked.kept(margins) for margins in found])
            losses = [asked.loss(margins) for margins in found]
            own = [asked.kept(asked.calibrated(margins)).mean() for margins in found]
            measure = asked.measure(kept, _RANDOM_NOTE.format(rate=rate))
            measures.append(measure)
            row = (rate, measure.value, measure.low, measure.high, kept.mean(axis=1).min(),
                   np.mean(own), np.mean(losses), max(losses))  # fmt: skip
            for values, value in zip(curve.values(), row, strict=True):
                values.append(float(value or 0))
            progress.advance(config.restore_draws, rate=rate, share=measure.value)
    worst = min(measures, key=lambda measure: measure.value)
    return Findings({"subset_random": worst}, {"subset_random": curve})


_RANDOM_NOTE = (
    "Share of (prompt, random subset) draws that give the whole model's answer, uncalibrated, at "
    "the worst share of cut nodes restored, {rate:g}; the interval is for other prompts and draws"
)


def _restored(asked: _Asked, rate: float, draws: int) -> Iterator[Keep]:
    """The circuit with random nodes of the rest beside it."""
    for draw in range(draws):
        chosen = random_subset(asked.rest, rate, [asked.seed, 2, draw, round(rate * 1e6)])
        yield {site: kept | chosen[site] for site, kept in asked.subject.keep.items()}


# -- with nodes of the circuit dropped


def _dropped(asked: _Asked, config: ValidationConfig, start: StartProgress) -> Findings:
    table: dict[str, list[float]] = {key: [] for key in ("dropped", "rate", "share", "low", "high")}
    halved = []
    draws = _fewer(config)
    with start("dropped nodes", len(_DROPPED) * len(_BESIDE) * draws) as progress:
        for dropped in _DROPPED:
            for rate in _BESIDE:
                keeps = (
                    _without(asked.subject.keep, keep, dropped, [asked.seed, 3, draw])
                    for draw, keep in enumerate(_restored(asked, rate, draws))
                )
                kept = np.stack([asked.kept(asked.margins(keep)) for keep in keeps])
                measure = asked.measure(kept, _DROPPED_NOTE.format(rate=rate), "lower")
                halved += [measure] * (dropped == _HALF)
                row = (dropped, rate, measure.value, measure.low, measure.high)
                for values, value in zip(table.values(), row, strict=True):
                    values.append(float(value or 0))
                progress.advance(draws, dropped=dropped, rate=rate, share=measure.value)
    left = max(halved, key=lambda measure: measure.value)
    return Findings({"subset_dropped": left}, {"subset_dropped": table})


_DROPPED_NOTE = (
    "Share of the whole model's answers that are left with a random half of the circuit's nodes "
    "dropped, at the share of the rest restored where most are left, {rate:g}; 0.5 is guessing, "
    "more means that the rest or half of the circuit does the task too"
)


def _fewer(config: ValidationConfig) -> int:
    return max(1, config.restore_draws // 3)


def _without(circuit: Keep, keep: Keep, share: float, seed: list[int]) -> Keep:
    """`keep` without a random share of the circuit's nodes."""
    order = _shuffled(circuit, seed)
    left = {site: mask.copy() for site, mask in keep.items()}
    for site, index in order[: round(share * len(order))]:
        left[site][index] = False
    return left


def _shuffled(circuit: Keep, seed: list[int]) -> list[tuple[Site, int]]:
    places = [(site, int(i)) for site in sorted(circuit) for i in np.flatnonzero(circuit[site])]
    return [places[place] for place in np.random.default_rng(seed).permutation(len(places))]


# -- with the rest of the model, but for one node of the circuit


def _needed(asked: _Asked, config: ValidationConfig, start: StartProgress) -> Findings:
    """Half of what cancels out in the rest of a model drowns a right circuit too; but a circuit
    that other nodes silence in the model has nodes that the model can do without."""
    subject, bar = asked.subject, RULES["subset_random"].bar
    kept: dict[str, float] = {}
    order = _shuffled(subject.keep, [asked.seed, 5])
    with start("needed nodes", min(len(order), config.needed_nodes)) as progress:
        for site, index in order:
            # All are tried before it is said that all are needed.
            if len(kept) >= config.needed_nodes and max(kept.values()) >= bar:
                break
            keep = {site: np.ones_like(mask) for site, mask in subject.keep.items()}
            keep[site][index] = False
            left = asked.kept(subject.margins(keep, asked.sample)).mean()
            kept[str(Node(site, index))] = float(left)
            progress.advance(left=float(left))
    needed = sum(left < bar for left in kept.values())
    low, high = share_interval(needed, len(kept)) if kept else (None, None)
    share = needed / len(kept) if kept else float("nan")
    note = _NEEDED_NOTE.format(bar=bar)
    measure = Measure(share, low, high, len(kept), better="higher", note=note)
    return Findings({"needed_in_model": measure}, {"needed_in_model": kept})


_NEEDED_NOTE = (
    "Share of the circuit's nodes, of those tried, that the whole model needs: with that one node "
    "cut it keeps less than {bar:g} of its answers"
)


# -- the worst


def _worst(asked: _Asked, config: ValidationConfig, start: StartProgress) -> Findings:
    subject = asked.subject
    everything = {site: np.ones_like(kept) for site, kept in subject.keep.items()}
    found = Findings()
    for name, note, keep, edges in (
        ("subset_adversarial", _RESTORED_NOTE, subject.keep, subject.edges),
        ("model_adversarial", _CUT_NOTE, everything, None),
    ):
        adversary = Adversary(
            subject.whole, subject.holding, keep, asked.rest, asked.sample,
            torch.where(asked.whole > 0, 1.0, -1.0), edges, restarts=config.adversary_restarts,
            steps=config.adversary_steps, tries=config.adversary_tries,
        )  # fmt: skip
        attacks = adversary.worst(config.budgets, asked.seed, start)
        found |= _attacked(asked, name, note, attacks)
    return found


def _attacked(asked: _Asked, name: str, note: str, attacks: dict[int, Attack]) -> Findings:
    measures = {}
    curve: dict[str, list[Any]] = {
        key: [] for key in ("budget", "share", "low", "high", "calibrated_share", "loss", "nodes")
    }
    for budget, attack in attacks.items():
        measure = asked.measure(asked.kept(attack.margins)[None], note.format(budget=budget))
        measures[f"{name}@{budget}"] = measure
        own = float(asked.kept(asked.calibrated(attack.margins)).mean())
        row = (budget, measure.value, measure.low, measure.high, own, asked.loss(attack.margins),
               [str(node) for node in attack.nodes])  # fmt: skip
        for values, value in zip(curve.values(), row, strict=True):
            values.append(value)
    return Findings(measures, {name: curve})


_RESTORED_NOTE = (
    "Share of the whole model's answers that the circuit keeps, uncalibrated, with the worst at "
    "most {budget} cut nodes restored that a search on these prompts found"
)
_CUT_NOTE = (
    "Share of its own answers that the whole model keeps with the worst at most {budget} nodes "
    "outside the circuit cut that the same search found"
)
