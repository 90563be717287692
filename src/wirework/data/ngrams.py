"""Counts of what follows the last few tokens: is a task solved without any model?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError


class NGramModel:
    """Next-token counts after the last `order` - 1 tokens; `order` 2 is the bigram model.

    Every n-gram is one integer whose leading digit is the *nearest* context token, so that the
    n-grams behind any shorter context lie side by side in the one sorted array.
    """

    def __init__(self, tokens: NDArray[np.integer[Any]], order: int, vocab_size: int) -> None:
        """`tokens` (n,) in [0, vocab_size). Raises `ngram-too-wide` beyond 63 bits."""
        assert order >= 1
        self.order = order
        self.vocab_size = vocab_size
        # One more digit than there are tokens: it stands for what was before the text.
        self._base = vocab_size + 1
        if self._base**order >= 2**63:
            raise WireworkError(
                "ngram-too-wide",
                f"{order}-grams of {vocab_size} tokens do not fit into 63 bits",
                expected=f"order <= {int(63 / np.log2(self._base))}",
                got=str(order),
            )
        text = np.asarray(tokens, dtype=np.int64)
        assert len(text) == 0 or (text.min() >= 0 and text.max() < vocab_size)
        padded = np.concatenate([np.full(order - 1, vocab_size, dtype=np.int64), text])
        keys = np.zeros(len(text), dtype=np.int64)
        for back in range(1, order):
            keys = keys * self._base + padded[order - 1 - back : len(padded) - back]
        keys = keys * self._base + text
        self._keys, self._counts = np.unique(keys, return_counts=True)
        self._unigrams = np.bincount(text, minlength=vocab_size).astype(np.int64)

    def next_counts(self, context: Sequence[int]) -> NDArray[np.int64]:
        """Counts (vocab_size,) after the longest known end of `context`, at most `order` - 1 long.

        An unseen context is shortened from the left; with nothing left these are plain counts.
        """
        for length in range(min(self.order - 1, len(context)), 0, -1):
            counts = self._counts_after(context, length)
            if counts.any():
                return counts
        return self._unigrams.copy()

    def log_probabilities(self, contexts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        """Log-probabilities (len(contexts), vocab_size), none of them -inf.

        Witten-Bell smoothing: a context met `n` times with `t` different successors trusts its
        own counts with weight n / (n + t) and the next shorter context with the rest.
        """
        rows = np.empty((len(contexts), self.vocab_size))
        uniform = np.full(self.vocab_size, 1 / self.vocab_size)
        shortest = _blend(self._unigrams, uniform)
        for row, context in zip(rows, contexts, strict=True):
            row[:] = shortest
            for length in range(1, min(self.order - 1, len(context)) + 1):
                row[:] = _blend(self._counts_after(context, length), row)
        return np.log(rows)

    def _counts_after(self, context: Sequence[int], length: int) -> NDArray[np.int64]:
        prefix = 0
        for back in range(1, length + 1):
            token = int(context[-back])
            assert 0 <= token < self.vocab_size
            prefix = prefix * self._base + token
        span = self._base ** (self.order - length)
        low, high = np.searchsorted(self._keys, [prefix * span, (prefix + 1) * span])
        followers = self._keys[low:high] % self._base
        counts = np.bincount(followers, self._counts[low:high], minlength=self.vocab_size)
        return counts.astype(np.int64)


def _blend(counts: NDArray[np.int64], shorter: NDArray[np.float64]) -> NDArray[np.float64]:
    seen, kinds = int(counts.sum()), int(np.count_nonzero(counts))
    return shorter if seen == 0 else (counts + kinds * shorter) / (seen + kinds)
