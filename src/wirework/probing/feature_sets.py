"""Feature sets by name, alone or several as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from wirework.core.errors import WireworkError, unknown_choice
from wirework.probing.character_features import character_features
from wirework.probing.feature import NOT_ASKED, FeatureSet, Marks, Text
from wirework.probing.latex_features import latex_features
from wirework.probing.oversight_features import oversight_features
from wirework.probing.position_features import position_features
from wirework.probing.prefix_suffix import prefix_suffix_features
from wirework.probing.python_features import python_features
from wirework.probing.text_features import text_features
from wirework.probing.token_marks import token_labels
from wirework.probing.word_features import python_words, text_words

FEATURE_SETS: Mapping[str, Callable[[], FeatureSet]] = {
    "python": python_features,
    "python-words": python_words,
    "words": text_words,
    "text": text_features,
    "characters": character_features,
    "position": position_features,
    "prefix-suffix": prefix_suffix_features,
    "latex": latex_features,
    "oversight": oversight_features,
}


def feature_set(name: str) -> FeatureSet:
    """One of `FEATURE_SETS`, or several as `joined_features` joins them: `python+characters`.

    Raises `feature-set-unknown`, `labels-differ`.
    """
    parts = name.split("+")
    for part in parts:
        if part not in FEATURE_SETS:
            raise unknown_choice("feature-set-unknown", "feature set", part, FEATURE_SETS)
    sets = [FEATURE_SETS[part]() for part in parts]
    return sets[0] if len(sets) == 1 else joined_features(*sets)


def is_feature_set(name: str) -> bool:
    """Whether `feature_set` knows the name; labels may come from other sets."""
    return set(name.split("+")) <= set(FEATURE_SETS)


def joined_features(*sets: FeatureSet) -> FeatureSet:
    """Several sets as one, asked token by token, named such as `python+characters`.

    What one of the sets cannot label the joined one cannot. A token whose characters disagree
    about a feature has it where more than half of them have it. Raises `labels-differ` where two
    sets have a feature of one name.
    """
    features = tuple(feature for one in sets for feature in one.features)
    names = Counter(feature.name for feature in features)
    if twice := sorted(name for name, count in names.items() if count > 1):
        raise WireworkError(
            "labels-differ", "sets with a feature of one name cannot be joined",
            expected="other names in every set", got=", ".join(twice[:4]),
        )  # fmt: skip

    def labeller(text: Text) -> Marks:
        columns = []
        for one in sets:
            marks = one.labeller(text)
            columns.append(marks.values if one.by_token else token_labels(marks, text))
        rest = np.full(len(features), NOT_ASKED, np.int8)
        return Marks(text.starts, text.ends, np.hstack(columns), rest)

    how = "; ".join(f"{one.name}: {one.how}" for one in sets)
    return FeatureSet("+".join(one.name for one in sets), features, labeller, True, how)
