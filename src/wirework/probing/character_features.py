"""Classes of tokens by the characters in them.

Neurons near the embedding tell tokens rather than lexemes: ` ("` opens a bracket and a string.
"""

from __future__ import annotations

from functools import partial

from wirework.probing.feature import Feature, FeatureSet
from wirework.probing.text_features import rule_labeller

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
    """`feature_set("characters")`: `has_comma` and the like, whether a token holds a character."""
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
