"""Made activations where it is known what every neuron stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wirework.probing.feature import Feature
from wirework.probing.labelled import LabelledTokens
from wirework.probing.scan import InMemory

DOCUMENTS, EACH, WIDTH = 40, 60, 48
TRUE, MANY_SENSED, CONFOUNDED, EARLY, OF_TOKEN = 7, 9, 11, 13, 15
SPREAD = range(20, 40)
NAMES = ("asked", "unrelated", "companion", "cause", "early", "at_token", "spread")


def made(seed: int = 0) -> tuple[InMemory, LabelledTokens]:
    """Features, and the neurons of the site `one` that fire on them:

    `asked`: neuron TRUE, and MANY_SENSED, which also fires on `unrelated`. `cause`: CONFOUNDED;
    `companion` mostly comes with `cause` and has no neuron. `early`: mostly in the first eight
    tokens of a document, where EARLY fires. `at_token`: on half of the tokens 3, and seldom on
    others; OF_TOKEN fires on tokens 3. `spread`: weakly in each of SPREAD.
    """
    random = np.random.default_rng(seed)
    n = DOCUMENTS * EACH
    tokens = random.integers(0, 8, n)
    position = np.tile(np.arange(EACH), DOCUMENTS)
    chance = random.random((n, 7))
    asked, unrelated, cause, spread = (chance[:, i] < 0.2 for i in range(4))
    companion = chance[:, 4] < np.where(cause, 0.8, 0.05)
    early = chance[:, 5] < np.where(position < 8, 0.8, 0.04)
    at_token = chance[:, 6] < np.where(tokens == 3, 0.5, 0.01)
    X = random.standard_normal((n, WIDTH)).astype(np.float32)
    X[:, TRUE] += 4 * asked
    X[:, MANY_SENSED] += 4 * (asked | unrelated)
    X[:, CONFOUNDED] += 4 * cause
    X[:, EARLY] += 4 * (position < 8)
    X[:, OF_TOKEN] += 4 * (tokens == 3)
    X[:, SPREAD] += 1.5 * spread[:, None]
    labels = np.stack([asked, unrelated, companion, cause, early, at_token, spread], 1)
    labelled = LabelledTokens(
        tokens=tokens,
        document=np.repeat(np.arange(DOCUMENTS), EACH),
        position=position,
        labels=labels.astype(np.int8),
        features=tuple(Feature(name, "made", "made by hand") for name in NAMES),
        documents=tuple(f"{i}.py" for i in range(DOCUMENTS)),
        feature_set="made",
    )
    return InMemory({"one": X, "dense": rotated(X)}), labelled


def rotated(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same vectors in a basis where no feature has a neuron."""
    basis, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((WIDTH, WIDTH)))
    found: NDArray[np.float32] = (X @ basis).astype(np.float32)
    return found
