"""Some windows of labelled documents, flat, in batches whose make-up never changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wirework.probing.activation_windows import TokenStream, cut_windows
from wirework.probing.labelled import LabelledTokens

_TOKENS_A_BATCH = 2048

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowSample:
    """The tokens (n) of some windows, each once.

    `rows`: their places in the labelled tokens. `tokens`; `targets`: the tokens behind them in
    their documents, -1 where there is none; `document`; `place`: in the window. `batches`: places
    in these arrays (B, T), -1 behind the end of a window. Rows of a product can differ in their
    last bits with how many there are: a batch is always run as a whole.
    """

    rows: Integers
    tokens: Integers
    targets: Integers
    document: Integers
    place: Integers
    batches: tuple[Integers, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls,
        labelled: LabelledTokens,
        allowed: NDArray[np.bool_],
        context: int,
        most: int,
        seed: int,
    ) -> WindowSample:
        """About `most` tokens in windows drawn from `seed`; `allowed` (N) holds for whole
        documents."""
        stream = TokenStream.of(labelled)
        windows = cut_windows(stream, context, 0, causal=True)
        order = np.random.default_rng([seed, 7]).permutation(np.flatnonzero(allowed[windows.first]))
        lengths = (windows.last - windows.first)[order]
        # In the order drawn, so that a batch has windows of many documents.
        chosen = order[np.cumsum(lengths) - lengths < most]
        spans = list(zip(windows.first[chosen], windows.last[chosen], strict=True))
        rows = np.concatenate([np.arange(first, last) for first, last in spans])
        lengths = np.array([last - first for first, last in spans])
        starts = np.cumsum(lengths) - lengths
        behind = np.append(stream.tokens[1:], -1)
        same = np.append(stream.document[1:] == stream.document[:-1], False)
        return cls(
            rows=rows,
            tokens=stream.tokens[rows],
            targets=np.where(same, behind, -1)[rows],
            document=stream.document[rows],
            place=np.arange(len(rows)) - np.repeat(starts, lengths),
            batches=_batches(starts, lengths, max(1, _TOKENS_A_BATCH // context)),
        )


def _batches(starts: Integers, lengths: Integers, count: int) -> tuple[Integers, ...]:
    """Windows of like length together."""
    order = np.argsort(lengths, kind="stable")
    found = []
    for i in range(0, len(order), count):
        mine = order[i : i + count]
        steps = np.arange(lengths[mine].max())
        grid = starts[mine, None] + steps
        found.append(np.where(steps < lengths[mine, None], grid, -1))
    return tuple(found)
