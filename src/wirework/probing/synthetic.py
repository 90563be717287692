"""Activations with planted neurons: what rankings and probes must find again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing.losses import Floats


def planted_neurons(
    n: int,
    d: int,
    k: int,
    *,
    shift: float,
    positive_rate: float = 0.2,
    decoys: int = 0,
    factors: int = 0,
    seed: int = 0,
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """X (n, d), labels y (n) and the k planted neurons, ascending (`sparse_probing.md §1.9`).

    x ~ N(0, 1); the planted neurons are moved by +-`shift` with the label; then GELU in the form
    x / (1 + exp(-1.702 x)). `factors` latent factors move all neurons together and `decoys`
    neurons are noisy copies of planted ones: the "hard" data of §8.
    """
    assert k > 0 and k + decoys <= d and 0 < positive_rate < 1, "k, decoys, positive_rate"
    rng = np.random.default_rng(seed)
    ones = max(1, min(n - 1, round(n * positive_rate)))
    y = rng.permutation(np.arange(n) < ones)
    x = rng.standard_normal((n, d))
    if factors:
        x += rng.standard_normal((n, factors)) @ rng.standard_normal((factors, d)) / factors**0.5
    places = rng.permutation(d)
    planted, copies = np.sort(places[:k]), places[k : k + decoys]
    x[:, planted] += shift * np.where(y, 1.0, -1.0)[:, None]
    of = planted[np.arange(decoys) % k]
    x[:, copies] = 0.7 * x[:, of] + 0.7 * rng.standard_normal((n, decoys))
    return x / (1 + np.exp(-1.702 * x)), y, planted
