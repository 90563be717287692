"""Made activations for a scan: many neurons of many kinds that know a little of many features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing import Feature, LabelledTokens

_FACTORS = 8
_BLOCK = 500
_EACH = 50
"""Tokens of a document."""

_READERS = 0.5
"""Share of the neurons that read any feature; a reader reads three at most."""


def made_activations(
    tokens: int, neurons: int, features: int, seed: int
) -> tuple[NDArray[np.float32], LabelledTokens]:
    """X (tokens, neurons) and labels of so many features, in documents of 50 tokens.

    Nothing is planted to be found easily. Features have base rates of 5 to 40%, lie unevenly over
    the documents and overlap, as 8 latent factors move both them and the neurons. Some
    features are strong, others weak: what neurons read of them is scaled by 0.3 to 2, and each of
    the many readers of a feature reads it more or less, on or off for it, mixed with two others
    at most. A third of the neurons is GELU, a third ReLU with a low bias (on for few tokens), a
    third linear (residual stream); their sizes differ by orders of magnitude.
    """
    random = np.random.default_rng(seed)
    document = np.arange(tokens) // _EACH
    factors = random.standard_normal((tokens, _FACTORS))
    labels = _labels(random, document, factors, features)
    strong = np.exp(random.uniform(np.log(0.3), np.log(2), features))
    X = np.empty((tokens, neurons), np.float32)
    for first in range(0, neurons, _BLOCK):
        part = slice(first, min(first + _BLOCK, neurons))
        X[:, part] = _neurons(random, part.stop - first, factors, strong * labels)
    known = tuple(Feature(f"feature {i}", "made", "made at random") for i in range(features))
    names = tuple(f"document {i}" for i in range(document[-1] + 1))
    zeros = np.zeros(tokens, np.int64)
    position = np.arange(tokens) % _EACH
    return X, LabelledTokens(zeros, document, position, labels, known, names, "made")


def _labels(
    random: np.random.Generator,
    document: NDArray[np.int64],
    factors: NDArray[np.float64],
    features: int,
) -> NDArray[np.int8]:
    """(tokens, features): the tokens with the highest scores have a feature."""
    shared = factors @ random.standard_normal((_FACTORS, features)) / _FACTORS**0.5
    lively = random.standard_normal((document[-1] + 1, features))[document]
    scores = 0.5 * shared + 0.5 * lively + random.standard_normal(shared.shape)
    rates = np.exp(random.uniform(np.log(0.05), np.log(0.4), features))
    least = [np.quantile(column, 1 - rate) for column, rate in zip(scores.T, rates, strict=True)]
    return np.asarray(scores > least, np.int8)


def _neurons(
    random: np.random.Generator,
    count: int,
    factors: NDArray[np.float64],
    signals: NDArray[np.float64],
) -> NDArray[np.float32]:
    tokens, features = signals.shape
    reads = np.zeros((features, count))
    for neuron in np.flatnonzero(random.random(count) < _READERS):
        read = random.choice(features, min(features, random.integers(1, 4)), replace=False)
        reads[read, neuron] = random.exponential(1.0, len(read)) * random.choice([-1, 1], len(read))
    loadings = random.standard_normal((_FACTORS, count)) * random.uniform(0, 0.6, count)
    x = random.standard_normal((tokens, count), np.float32)
    x += (factors @ loadings + signals @ reads).astype(np.float32)
    kind = random.integers(3, size=count)
    # In place of a third each: GELU as x / (1 + exp(-1.702 x)), ReLU behind a bias, linear.
    smooth, sparse = kind == 0, kind == 1
    x[:, smooth] /= 1 + np.exp(-1.702 * x[:, smooth])
    x[:, sparse] = np.maximum(x[:, sparse] - random.uniform(0.5, 2, sparse.sum()), 0)
    return np.asarray(x * np.exp(random.normal(0, 2, count)), np.float32)
