"""Batches that are a pure function of (tokens, seed, step): to resume, know the step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError


class Batches:
    """Windows of `context` + 1 tokens, each once per epoch, in a new order every epoch.

    Consecutive windows share one token (the last target is the next first input). Every epoch
    starts at a random offset, so that windows do not always cut the text at the same places.
    """

    def __init__(
        self, tokens: NDArray[np.unsignedinteger[Any]], *, batch: int, context: int, seed: int
    ) -> None:
        """`tokens` (n,) stay on disk if memory-mapped. Raises `split-too-short`."""
        assert batch >= 1 and context >= 1
        if len(tokens) < context + 1:
            raise WireworkError(
                "split-too-short",
                "the text is shorter than one window",
                expected=f"at least context + 1 = {context + 1} tokens",
                got=f"{len(tokens)} tokens",
                hint=f"context={len(tokens) - 1}" if len(tokens) > 2 else "more text",
            )
        self._tokens = tokens
        self._batch = batch
        self._context = context
        self._seed = seed
        # One window fewer than would fit leaves room for every offset below `context`.
        self.windows_per_epoch = max(1, len(tokens) // context - 1)
        last = len(tokens) - 1 - self.windows_per_epoch * context
        self._offsets = min(context, last + 1)
        self._starts = lru_cache(maxsize=2)(self._epoch_starts)

    def __call__(self, step: int) -> NDArray[np.int64]:
        """Batch number `step` >= 0: (batch, context + 1) token ids."""
        assert step >= 0
        first = step * self._batch
        samples = range(first, first + self._batch)
        starts = np.array([self._start(sample) for sample in samples], dtype=np.int64)
        windows = self._tokens[starts[:, None] + np.arange(self._context + 1)]
        return np.asarray(windows, dtype=np.int64)

    def _start(self, sample: int) -> int:
        epoch, position = divmod(sample, self.windows_per_epoch)
        return int(self._starts(epoch)[position])

    def _epoch_starts(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng([self._seed, epoch])
        offset = int(random.integers(self._offsets))
        return offset + self._context * random.permutation(self.windows_per_epoch)
