"""Reference means: the average activation of every node over a stream of tokens."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.core import Site
from wirework.core.names import sites
from wirework.model.taps import Taps
from wirework.model.transformer import Transformer

Means = dict[Site, NDArray[np.float32]]


@torch.no_grad()
def reference_means(model: Transformer, batches: Iterable[Tensor]) -> Means:
    """Mean over all positions of all batches (each (B, T) tokens), site -> (channels,).

    Summed in float64. Over pretraining text these are the constants that a cut node takes
    (weight_sparse_paper.md §4.1).
    """
    places = sites(model.config.n_layer)
    totals = {site: torch.zeros(model.config.width(site.kind)).double() for site in places}
    count = 0
    for tokens in batches:
        taps = Taps(record=places)
        model.read_out(tokens, taps)
        for site, value in taps.values.items():
            totals[site] += value.double().sum((0, 1)).cpu()
        count += tokens.numel()
    assert count, "reference means need at least one token"
    return {site: (total / count).float().numpy() for site, total in totals.items()}
