"""When single weights of a model matter: for each the predicate that says it best, held out.

The measure is that of weight_sparse_paper.md §10.4, where predicates were written by a language
model; here they are conjunctions of features.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from wirework.core import Edge
from wirework.core.progress import StartProgress, silent
from wirework.core.stats import bootstrap_interval
from wirework.explain.label_search import Holds, Terms, common_columns, conjunction
from wirework.explain.model_weight import ModelWeight
from wirework.explain.node_label import Term
from wirework.explain.predicate_search import PredicateSearch, worth
from wirework.explain.weight_ablation import Floats, WeightAblation
from wirework.explain.weight_predicate import Ablation, PredicateScore, WeightPredicate
from wirework.explain.window_sample import Integers, WindowSample
from wirework.model import Checkpoint
from wirework.probing.feature import YES
from wirework.probing.labelled import LabelledTokens

_MEASURED = 8
"""Candidates of every weight that are measured exactly, in half of the training windows."""


def weight_predicates(
    checkpoint: Checkpoint,
    edges: Collection[Edge],
    labelled: LabelledTokens,
    *,
    seed: int,
    ablation: Ablation = "zero",
    tokens: int = 20_000,
    least: int = 20,
    test: float = 0.3,
    start: StartProgress = silent,
) -> dict[Edge, WeightPredicate]:
    """For every edge, one weight of the whole model, when it matters (`WeightPredicate`).

    A weight is ablated at a position by taking weight * source from its target there, before
    AbsTopK and activation; with `ablation` "mean", weight * (source - its mean over training
    text). The source of an edge from `attn.v` to `attn.out` is what attention makes of the value
    channel at the position that looks; the position of an edge into `attn.k` or `attn.v` is the
    one that is looked at.

    Where the interval of the rise in training documents holds zero, the weight does not matter
    and nothing is searched. Else conjunctions of at most three features or their absences (a
    token that is not asked has a feature not) that hold at no more than half of the positions are
    ranked by first order: the change of the target times the slope of the loss, mean of the slopes
    with and without the weight. The best of them, where they differ, are measured exactly in half
    of the training windows, and the winner in all held-out ones. The control is found and scored
    in the same way after the labels of every document were rolled by a quarter to three quarters
    of it.

    `tokens`: of training documents, and of held-out ones, that are read at most, in windows
    without overlap drawn from `seed`. `least`: tokens with and without a feature that it needs
    among either. Raises `edge-absent`, `labels-tokenizer-mismatch`, `scan-without-features` and
    what `LabelledTokens.split` raises.
    """
    labelled.require_tokenizer(checkpoint.tokenizer.hash(), "the model")
    weights = [ModelWeight.of(checkpoint.model, edge) for edge in dict.fromkeys(edges)]
    train, test_mask = labelled.split(seed, test)
    samples = [
        WindowSample.of(labelled, mask, checkpoint.config.context, tokens, seed)
        for mask in (train, test_mask)
    ]
    found = {}
    with start("weights", len(weights) + 1) as progress:
        texts = [
            WeightAblation(checkpoint.model, sample, weights, slopes=number == 0)
            for number, sample in enumerate(samples)
        ]
        progress.advance()
        rounds = [
            _Round.of(labelled, order, samples, least)
            for order in (np.arange(len(labelled)), _rolled(labelled.document, seed))
        ]
        for number, weight in enumerate(weights):
            trial = _Trial.of(weight, number, texts, ablation, seed)
            found[weight.edge] = _predicate(trial, rounds)
            progress.advance()
    return found


def _rolled(document: Integers, seed: int) -> Integers:
    """Of every token another one of its document: all are moved alike, around the end."""
    random = np.random.default_rng([seed, 8])
    order = np.arange(len(document))
    for number in np.unique(document):
        mine = np.flatnonzero(document == number)
        quarter = len(mine) // 4
        order[mine] = np.roll(mine, random.integers(quarter, len(mine) - quarter))
    return order


@dataclass(frozen=True)
class _Round:
    """One search: features held by training and held-out tokens, (n, F), and their names."""

    held: tuple[Holds, Holds]
    names: tuple[str, ...]
    search: PredicateSearch

    @classmethod
    def of(
        cls, labelled: LabelledTokens, order: Integers, samples: list[WindowSample], least: int
    ) -> _Round:
        first, second = (labelled.labels[order[sample.rows]] == YES for sample in samples)
        columns = common_columns((first, second), least, "a weight")
        names = tuple(feature.name for feature in labelled.features)
        return cls((first, second), names, PredicateSearch(first, columns))


@dataclass(frozen=True, eq=False)
class _Part:
    """One weight in one half of the text: what its target gets from it, (n), and the losses (n)
    without it anywhere, less those of the whole model. `tested` (n): the batches that are run."""

    text: WeightAblation
    weight: ModelWeight
    given: Floats
    rise: Floats
    tested: NDArray[np.bool_]

    def rises(self, where: NDArray[np.bool_]) -> Floats:
        """By how much the losses (n) rise when the weight is ablated at some positions."""
        taken = np.where(where & self.tested, self.given, 0.0)
        return self.text.losses(self.weight, taken) - self.text.base

    def by_document(self, *columns: Floats) -> Floats:
        """Sums over every document, (documents, columns), those of the rise first."""
        names, place = np.unique(self.text.sample.document, return_inverse=True)
        every = (self.rise, *columns)
        return np.stack([np.bincount(place, x, len(names)) for x in every], 1)


@dataclass(frozen=True, eq=False)
class _Trial:
    """One weight, and the first-order gain (n) of having it at each training position."""

    train: _Part
    held: _Part
    gain: Floats
    ablation: Ablation
    seed: int

    @classmethod
    def of(
        cls, weight: ModelWeight, number: int, texts: list[WeightAblation], ablation: Ablation,
        seed: int,
    ) -> _Trial:  # fmt: skip
        train, held = texts
        mean = train.read[number].mean() if ablation == "mean" else 0.0
        given, held_given = (weight.value * (text.read[number] - mean) for text in texts)
        losses, slope = train.losses_and_slope(weight, given)
        rise, every = losses - train.base, np.ones(len(held.base), bool)
        tested = np.zeros(len(rise), bool)
        for batch in train.sample.batches[::2]:
            tested[batch[batch >= 0]] = True
        if rise[tested].sum() <= 0:
            tested[:] = True
        held_rise = held.losses(weight, held_given) - held.base
        return cls(
            train=_Part(train, weight, given, rise, tested),
            held=_Part(held, weight, held_given, held_rise, every),
            gain=-(train.slope[number] + slope) / 2 * given,
            ablation=ablation,
            seed=seed,
        )

    def search(self, one: _Round) -> PredicateScore | None:
        """The best predicate by its exact score in training text, scored on held-out text."""
        train, rise = self.train, float(self.train.rise[self.train.tested].sum())
        total = float(self.gain.sum())
        found: list[tuple[float, float, Holds, Terms]] = []
        # Where first order has the wrong sign, its sum cannot be what shares are taken of.
        for terms in islice(one.search.ranked(self.gain, total if total > 0 else rise), _MEASURED):
            marks = conjunction(one.held[0], terms)
            bound = float(train.rises(marks).sum()) / rise
            found.append((worth(bound, float(marks.mean()), len(terms)), bound, marks, terms))
        best: tuple[float, float, Terms] | None = None
        # The other side is measured only where it can matter: a score is the smaller of both.
        for most, bound, marks, terms in sorted(found, key=lambda item: -item[0]):
            if best is not None and best[0] >= most:
                break
            score = min(bound, 1 - float(train.rises(~marks).sum()) / rise)
            value = worth(score, float(marks.mean()), len(terms))
            if best is None or value > best[0]:
                best = value, score, terms
        return None if best is None else self._scored(one, best[2], best[1])

    def _scored(self, one: _Round, terms: Terms, train_score: float) -> PredicateScore:
        marks = conjunction(one.held[1], terms)
        sums = self.held.by_document(self.held.rises(~marks), self.held.rises(marks))
        low, high = bootstrap_interval(sums, _score, seed=self.seed)
        rise, outside, inside = sums.sum(0).tolist()
        return PredicateScore(
            terms=tuple(Term(one.names[column], absent) for column, absent in terms),
            train_score=train_score,
            recovery=1 - outside / rise if rise else 0.0,
            inverse=1 - inside / rise if rise else 1.0,
            low=low,
            high=high,
            coverage=float(marks.mean()),
        )

    def summary(self) -> WeightPredicate:
        """What the weight does on held-out text, without a predicate."""
        counts = (self.held.text.sample.targets >= 0).astype(np.float64)
        sums = self.held.by_document(counts)
        low, high = bootstrap_interval(sums, _mean, seed=self.seed)
        return WeightPredicate(
            weight=self.train.weight.value,
            ablation=self.ablation,
            tokens=int(counts.sum()),
            loss=float(self.held.text.base.sum() / counts.sum()),
            rise=_mean(sums),
            rise_low=low,
            rise_high=high,
        )

    def matters(self) -> tuple[float, float, float]:
        """Rise in training text, in nats a token, and its interval over documents."""
        sums = self.train.by_document((self.train.text.sample.targets >= 0).astype(np.float64))
        return _mean(sums), *bootstrap_interval(sums, _mean, seed=self.seed)


def _predicate(trial: _Trial, rounds: list[_Round]) -> WeightPredicate:
    found = trial.summary()
    rise, low, high = trial.matters()
    if low <= 0:
        told = "the text is predicted better without it" if high < 0 else "does not matter"
        return replace(
            found, reason=f"{told} on this text: {rise:+.1e} nats [{low:+.1e}, {high:+.1e}]"
        )
    best, control = (trial.search(one) for one in rounds)
    return replace(
        found, best=best, control=control,
        reason="" if best else "every predicate covers more than half of the text",
    )  # fmt: skip


def _mean(sums: Floats) -> float:
    """sums (documents, 2): rise, tokens."""
    rise, count = sums.sum(0).tolist()
    return rise / count if count else 0.0


def _score(sums: Floats) -> float:
    """sums (documents, 3): rise everywhere, outside, inside; 0 where the weight does not matter."""
    rise, outside, inside = sums.sum(0).tolist()
    return min(1 - outside / rise, inside / rise) if rise > 0 else 0.0
