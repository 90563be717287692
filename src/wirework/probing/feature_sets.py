"""Feature sets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from wirework.core.errors import unknown_choice
from wirework.probing.feature import FeatureSet
from wirework.probing.latex_features import latex_features
from wirework.probing.oversight_features import oversight_features
from wirework.probing.position_features import position_features
from wirework.probing.prefix_suffix import prefix_suffix_features
from wirework.probing.python_features import python_features
from wirework.probing.text_features import text_features
from wirework.probing.word_features import python_words, text_words

FEATURE_SETS: Mapping[str, Callable[[], FeatureSet]] = {
    "python": python_features,
    "python-words": python_words,
    "words": text_words,
    "text": text_features,
    "position": position_features,
    "prefix-suffix": prefix_suffix_features,
    "latex": latex_features,
    "oversight": oversight_features,
}


def feature_set(name: str) -> FeatureSet:
    """One of `FEATURE_SETS`. Raises `feature-set-unknown`."""
    if name not in FEATURE_SETS:
        raise unknown_choice("feature-set-unknown", "feature set", name, FEATURE_SETS)
    return FEATURE_SETS[name]()
