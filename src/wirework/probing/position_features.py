"""Position: five targets for regression, and yes-or-no features of where a token stands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wirework.core.errors import WireworkError
from wirework.probing.feature import NOT_ASKED, Feature, FeatureSet, Integers, Marks, Text

TARGETS = ("absolute", "absolute_scaled", "centred", "centred_scaled", "logarithm")


def position_targets(position: Integers, context: int) -> dict[str, NDArray[np.float64]]:
    """The published targets (sparse_probing.md §2.4) of positions (N) in documents.

    Documents are read in windows of `context` tokens, so that the place in the window,
    p = position % context, is what a model can know: p; p / s; p - m; (p - m) / s; log2(p + 1),
    with mean m and standard deviation s of 0 … context - 1. Raises `context-malformed`.
    """
    _require(context)
    place = (np.asarray(position) % context).astype(np.float64)
    whole = np.arange(context)
    centred = place - whole.mean()
    values = (place, place / whole.std(), centred, centred / whole.std(), np.log2(place + 1))
    return dict(zip(TARGETS, values, strict=True))


def position_features(context: int | None = None) -> FeatureSet:
    """`feature_set("position")`: where a token stands in its document or, with `context`, window.

    Raises `context-malformed`.
    """
    if context is not None:
        _require(context)
    unit = "document" if context is None else f"window of {context} tokens"
    rules: dict[str, Callable[[Integers, int], NDArray[np.bool_]]] = {
        "is_first_token": lambda place, size: place == 0,
        "is_second_token": lambda place, size: place == 1,
        "within_first_4": lambda place, size: place < 4,
        "within_first_16": lambda place, size: place < 16,
        "within_first_64": lambda place, size: place < 64,
        "in_first_half": lambda place, size: 2 * place < size,
        "in_last_quarter": lambda place, size: 4 * place >= 3 * size,
        "is_even_position": lambda place, size: place % 2 == 0,
    }
    features = tuple(
        Feature(
            name, "position", f"{_DEFINITIONS[name]}, of its {unit}",
            (_POSITIVE[name],) if context is None else (),
            (_NEGATIVE[name],) if context is None else (),
        )
        for name in rules
    )  # fmt: skip

    def labeller(text: Text) -> Marks:
        size = len(text.starts) if context is None else context
        place = np.arange(len(text.starts)) % max(size, 1)
        values = np.stack([rule(place, size) for rule in rules.values()], axis=1).astype(np.int8)
        return Marks(text.starts, text.ends, values, np.full(len(rules), NOT_ASKED, np.int8))

    return FeatureSet("position", features, labeller, True, "counted tokens")


_DEFINITIONS = {
    "is_first_token": "the first token",
    "is_second_token": "the second token",
    "within_first_4": "one of the first 4 tokens",
    "within_first_16": "one of the first 16 tokens",
    "within_first_64": "one of the first 64 tokens",
    "in_first_half": "in the first half",
    "in_last_quarter": "in the last quarter",
    "is_even_position": "an even place, counted from 0",
}

_POSITIVE = {
    "is_first_token": "«a»b¦c",
    "is_second_token": "a«b»c¦d",
    "within_first_4": "«a¦b¦c¦d»e¦f",
    "within_first_16": "«" + "a¦" * 15 + "a»b",
    "within_first_64": "«" + "a¦" * 63 + "a»b",
    "in_first_half": "«a¦b»c¦d",
    "in_last_quarter": "a¦b¦c«d»",
    "is_even_position": "«a»b«c»d",
}
# A first token cannot be in none of the first ones: there, no token is the only example.
_NEGATIVE = dict.fromkeys(_POSITIVE, "") | {"is_second_token": "a", "in_last_quarter": "a"}


def _require(context: int) -> None:
    if context < 2:
        raise WireworkError(
            "context-malformed", "positions are counted in windows of at least two tokens",
            expected="context >= 2", got=str(context),
        )  # fmt: skip
