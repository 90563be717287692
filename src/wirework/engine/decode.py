"""Streams of tokens, one token at a time: what `generate` runs on."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.engine.cache import Cache
from wirework.engine.forward import extend
from wirework.engine.network import Network
from wirework.engine.plan import lay_out
from wirework.engine.sparse import multiply
from wirework.engine.step import Work, make_work, step
from wirework.engine.tiles import LANES, Floats

CHUNK = 2 * LANES
"""Positions of a prompt that run together: enough for two threads, few enough for the memory."""


class Decoder:
    """Logits of streams of tokens, in float32 or float64: the same numbers as `forward` gives,
    to the last bit. Weights and buffers are laid out once."""

    def __init__(self, network: Network, *, dtype: DTypeLike = np.float32) -> None:
        self.network = network
        self.dtype = np.dtype(dtype)
        assert self.dtype in (np.float32, np.float64), "float32 or float64"
        self.plan = lay_out(network, self.dtype)

    def open(self, tokens: NDArray[np.integer[Any]], length: int) -> tuple[Stream, Floats]:
        """A stream that begins with tokens (T) and has room for `length`; its logits (O) after
        them."""
        assert 0 < len(tokens) <= length, "room for the prompt"
        cache = Cache.allocate(self.network, length, self.dtype)
        for first in range(0, len(tokens), CHUNK):
            final = extend(self.network, cache, tokens[first : first + CHUNK])
        logits = multiply(self.network.unembedding, final, self.network.unembedding_bias)[0]
        work = make_work(self.network, cache.keys.shape[2], self.dtype)
        return Stream(self, cache, work), self.with_bigram(logits, int(tokens[-1]))

    def with_bigram(self, logits: Floats, token: int) -> Floats:
        if self.network.bigram is not None:
            logits += self.network.bigram[token]
        return logits


class Stream:
    """One stream of a `Decoder`: its cache and buffers."""

    def __init__(self, decoder: Decoder, cache: Cache, work: Work) -> None:
        self._decoder = decoder
        self._cache = cache
        self._work = work

    @property
    def length(self) -> int:
        """Tokens so far."""
        return self._cache.length

    def push(self, token: int) -> Floats:
        """Take one more token; returns the logits (O) after it."""
        cache, decoder = self._cache, self._decoder
        assert cache.length < cache.keys.shape[2], "the stream is full"
        logits = np.empty(decoder.network.unembedding.shape[0], decoder.dtype)
        step(decoder.plan, cache.keys, cache.values, cache.length, token, self._work, logits)
        cache.length += 1
        return decoder.with_bigram(logits, token)


def push_all(streams: list[Stream], tokens: list[int], threads: Executor | None) -> list[Floats]:
    """One token to each of many streams, side by side on several threads."""
    if threads is None:
        return [stream.push(token) for stream, token in zip(streams, tokens, strict=True)]
    return list(threads.map(Stream.push, streams, tokens))
