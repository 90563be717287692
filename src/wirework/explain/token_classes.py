"""Classes of tokens by the characters in them, and several sets of features as one.

Nodes near the embedding tell tokens rather than lexemes: ` ("` opens a bracket and a string.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from wirework.core import WireworkError
from wirework.probing.feature import NOT_ASKED, Feature, FeatureSet, Marks, Text
from wirework.probing.feature_sets import FEATURE_SETS
from wirework.probing.text_features import rule_labeller
from wirework.probing.token_marks import token_labels

_CHARACTERS = {
    "single_quote": "'",
    "double_quote": '"',
    "open_paren": "(",
    "close_paren": ")",
    "open_square": "[",
    "close_square": "]",
    "open_curly": "{",
    "close_curly": "}",
    "colon": ":",
    "comma": ",",
    "dot": ".",
    "equals": "=",
    "hash": "#",
    "percent": "%",
    "backslash": "\\",
    "underscore": "_",
    "newline": "\n",
    "space": " ",
}


def character_features() -> FeatureSet:
    """The set "characters": `has_comma` and the like, whether a token holds a character."""
    features = tuple(
        Feature(
            f"has_{name}", "characters of the token", f"{character!r} anywhere in the token",
            (f"«{character}a»¦b",), ("b",),
            limits="follows from the token alone: a model can look it up in its embedding",
        )
        for name, character in _CHARACTERS.items()
    )  # fmt: skip
    labeller = rule_labeller([partial(_holds, character) for character in _CHARACTERS.values()])
    return FeatureSet("characters", features, labeller, True, "the text of the token")


def _holds(character: str, token: str) -> bool:
    return character in token


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


def shipped_features(name: str) -> FeatureSet | None:
    """The set with the name that labels have, also one that was joined of shipped sets; None where
    there is none."""
    known = {**FEATURE_SETS, "characters": character_features}
    parts = name.split("+")
    if not all(part in known for part in parts):
        return None
    sets = [known[part]() for part in parts]
    return sets[0] if len(sets) == 1 else joined_features(*sets)
