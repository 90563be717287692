"""Some channels of a source of activations: what the nodes of a circuit need, and no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.probing.activation_source import Batch, Source, absent_site


class ChannelSource:
    """`source` with only these `channels` (site -> indices) of these sites, in this order."""

    def __init__(self, source: Source, channels: Mapping[str, Sequence[int]]) -> None:
        """Raises `site-absent`."""
        self._source = source
        for site in channels:
            source.width(site)
        names = [site for site in source.sites() if site in channels]
        self._channels = {site: list(channels[site]) for site in names}
        self.context = source.context
        self.vocab_size = source.vocab_size
        self.tokenizer = source.tokenizer
        self.causal = source.causal

    def sites(self) -> tuple[str, ...]:
        return tuple(self._channels)

    def width(self, site: str) -> int:
        if site not in self._channels:
            raise absent_site(site, self.sites())
        return len(self._channels[site])

    def hash(self) -> str:
        """Of the source and of which channels are taken."""
        told = json.dumps([self._source.hash(), self._channels])
        return hashlib.sha256(told.encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        return {**self._source.describe(), "channels": self._channels}

    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        for site in sites:
            self.width(site)
        found = self._source.run(tokens, sites)
        return {site: found[site][..., self._channels[site]] for site in sites}
