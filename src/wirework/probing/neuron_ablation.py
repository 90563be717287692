"""What ablating a neuron does to next-token loss, on tokens with a feature and without it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.core import Measure
from wirework.core.progress import StartProgress, silent
from wirework.probing.activation_source import PADDING, Ablatable, Held
from wirework.probing.activation_windows import TokenStream, Windows, cut_windows
from wirework.probing.feature import NO, NOT_ASKED, YES
from wirework.probing.labelled import LabelledTokens
from wirework.probing.neuron_case import Details, Findings, Measures
from wirework.probing.split_tokens import Parts

_TOKENS_A_PASS = 4096
_LARGEST = 10


@dataclass(frozen=True)
class Ablation:
    """What is ablated: `neurons` of `site` together. `means` (d): of all neurons of the site over
    training text; `active` (d): which of them ever change there."""

    site: str
    neurons: Sequence[int]
    means: NDArray[np.float64]
    active: NDArray[np.bool_]

    def groups(self, count: int, seed: int) -> list[NDArray[np.int64]]:
        """The neurons, then `count` random groups of as many other active ones of the site."""
        own = np.array(self.neurons, np.int64)
        others = np.setdiff1d(np.flatnonzero(self.active), own)
        random = np.random.default_rng([seed, 3])
        if not count or len(others) < len(own):
            return [own]
        if len(own) == 1:
            drawn = random.permutation(others)[:count, None]
        else:
            drawn = np.stack([random.permutation(others)[: len(own)] for _ in range(count)])
        return [own, *np.sort(drawn, 1)]

    def held(self, neurons: NDArray[np.int64], kind: str) -> Held:
        values = self.means[neurons] if kind == "mean" else np.zeros(len(neurons))
        return {self.site: (neurons, values.astype(np.float32))}


KINDS = ("zero", "mean")
"""What neurons are held at: 0, or their mean over training text."""


def ablate(
    ablation: Ablation,
    source: Ablatable,
    labelled: LabelledTokens,
    feature: str,
    parts: Parts,
    *,
    tokens: int,
    random_neurons: int,
    seed: int,
    start: StartProgress = silent,
) -> Findings:
    """Change of loss, in nats, of the prediction made at held-out tokens (sparse_probing.md §4.1).

    Documents are read in windows, about `tokens` tokens in all; half of these come from windows
    with the feature, as far as there are any. Raises `labels-tokenizer-mismatch` and what
    `Ablatable.losses` raises.
    """
    if source.tokenizer and labelled.tokenizer:
        labelled.require_tokenizer(source.tokenizer, "the model")
    labels = labelled.column(feature)
    stream = TokenStream.of(labelled)
    windows = cut_windows(stream, source.context, source.context // 4, causal=True)
    documents = np.unique(labelled.document[parts.test])
    chosen = _chosen(windows, labels, np.isin(stream.document[windows.first], documents),
                     tokens, seed)  # fmt: skip
    groups = ablation.groups(random_neurons, seed)
    conditions: list[Held] = [{}]
    conditions += [ablation.held(group, kind) for kind in KINDS for group in groups]
    rows, losses = _losses(source, stream, windows, chosen, conditions, start)
    known = np.isfinite(losses).all(0) & (labels[rows] != NOT_ASKED)
    rows, losses = rows[known], losses[:, known]
    changes = (losses[1:] - losses[0]).reshape(len(KINDS), len(groups), -1)
    document = np.searchsorted(documents, stream.document[rows])
    effects = _Effects(parts, document, labels[rows], seed)
    measures: Measures = {}
    details: Details = {
        "neurons": [int(i) for i in ablation.neurons],
        "means": ablation.means[list(ablation.neurons)].tolist(),
        "random_neurons": [group.tolist() for group in groups[1:]],
        "tokens": len(rows),
        "loss": effects.means(losses[0]),
    }
    for kind, change in zip(KINDS, changes, strict=True):
        found, more = effects.of(change)
        measures |= {f"{kind}_{name}": measure for name, measure in found.items()}
        order = np.argsort(-change[0], kind="stable")[:_LARGEST]
        details[kind] = {**more, "largest": [_token(stream, rows[i], change[0][i]) for i in order]}
    return measures, {"ablation": details}


def _token(stream: TokenStream, row: np.int64, change: np.float64) -> Details:
    return {
        "document": int(stream.document[row]),
        "position": int(stream.position[row]),
        "token": int(stream.tokens[row]),
        "next": int(stream.tokens[row + 1]),
        "change": float(change),
    }


def _chosen(
    windows: Windows, labels: NDArray[np.int8], allowed: NDArray[np.bool_], tokens: int, seed: int
) -> NDArray[np.int64]:
    """Windows, in their order: half of the tokens from such with the feature."""
    positives = np.concatenate([[0], np.cumsum(labels == YES)])
    having = positives[windows.end] > positives[windows.keep]
    order = np.random.default_rng([seed, 4]).permutation(np.flatnonzero(allowed))
    sizes = windows.end - windows.keep
    first = order[having[order]]
    first = first[np.cumsum(sizes[first]) - sizes[first] < tokens / 2]
    rest = np.setdiff1d(order, first, assume_unique=True)
    left = tokens - sizes[first].sum()
    rest = rest[np.cumsum(sizes[rest]) - sizes[rest] < left]
    return np.sort(np.concatenate([first, rest])).astype(np.int64)


def _losses(
    source: Ablatable,
    stream: TokenStream,
    windows: Windows,
    chosen: NDArray[np.int64],
    conditions: Sequence[Held],
    start: StartProgress,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Kept tokens of the windows (n), and their losses under every condition, (C, n)."""
    rows, losses = [], []
    batches = list(_batches(windows, chosen, max(1, _TOKENS_A_PASS // source.context)))
    with start("ablation", len(batches)) as progress:
        for batch in batches:
            lengths = windows.last[batch] - windows.first[batch]
            tokens = np.full((len(batch), lengths.max()), PADDING, np.int64)
            kept = np.zeros(tokens.shape, bool)
            for row, window in enumerate(batch):
                begin, end = windows.first[window], windows.last[window]
                tokens[row, : end - begin] = stream.tokens[begin:end]
                kept[row, windows.keep[window] - begin : windows.end[window] - begin] = True
                rows.append(np.arange(windows.keep[window], windows.end[window]))
            losses.append(np.stack([source.losses(tokens, held)[kept] for held in conditions]))
            progress.advance()
    return np.concatenate(rows), np.concatenate(losses, 1).astype(np.float64)


def _batches(
    windows: Windows, chosen: NDArray[np.int64], count: int
) -> Iterator[NDArray[np.int64]]:
    """Windows of like length together."""
    order = chosen[np.argsort(windows.last[chosen] - windows.first[chosen], kind="stable")]
    for i in range(0, len(order), count):
        yield order[i : i + count]


class _Effects:
    """Means over tokens with the feature and without, with intervals over documents."""

    def __init__(
        self, parts: Parts, document: NDArray[np.intp], labels: NDArray[np.int8], seed: int
    ) -> None:
        self._parts, self._document = parts, document
        self._yes, self._no = labels == YES, labels == NO
        self._shuffled = np.random.default_rng([seed, 5]).permutation(self._yes)

    def means(self, values: NDArray[np.float64]) -> dict[str, float]:
        """`positive` and `negative`; NaN where there is no such token."""
        kinds = {"positive": self._yes, "negative": self._no}
        return {k: float(values[own].mean()) if own.any() else np.nan for k, own in kinds.items()}

    def of(self, changes: NDArray[np.float64]) -> Findings:
        """`changes` (groups, n): the neuron's, then those of random groups."""
        own, random = changes[0], changes[1:]
        yes, no, shuffled = self._yes, self._no, self._shuffled
        beside = random.mean(0) if len(random) else np.full(len(own), np.nan)
        columns = [own * yes, yes, own * no, no, beside * yes, beside * no, own * shuffled,
                   shuffled]  # fmt: skip
        sums = np.zeros((self._parts.documents, len(columns)))
        np.add.at(sums, self._document, np.stack(columns, 1).astype(np.float64))
        plans = {
            "loss_positive": (0, 1, None, None),
            "loss_negative": (2, 3, None, None),
            "loss_positive_random": (4, 1, None, None),
            "loss_negative_random": (5, 3, None, None),
            "loss_positive_shuffled": (6, 7, None, None),
            "loss_specific": (0, 1, 2, 3),
            "loss_beyond_random": (0, 1, 4, 1),
        }
        found = {name: self._measure(sums, *plan) for name, plan in plans.items()}
        each = [self.means(change) for change in random]
        size = abs(found["loss_positive"].value)
        larger = sum(abs(one["positive"]) >= size for one in each)
        return found, {"random": each, "random_at_least_as_large": larger}

    def _measure(
        self, sums: NDArray[np.float64], a: int, n: int, b: int | None, m: int | None
    ) -> Measure:
        def statistic(totals: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = totals[..., a] / totals[..., n]
                return mean if b is None else mean - totals[..., b] / totals[..., m]

        total = sums.sum(0)
        low, high = self._parts.spread(sums, statistic)
        return Measure(float(statistic(total)), low, high, int(total[n]))
