"""Features of how a token's text starts and ends: English prefixes and suffixes."""

from __future__ import annotations

from wirework.probing.feature import Feature, FeatureSet
from wirework.probing.text_features import Rule, rule_labeller

PREFIXES = (
    *("re", "dis", "over", "un", "mis", "out", "be", "co", "de", "fore", "inter", "pre", "sub"),
    *("trans", "under", "anti", "auto", "bi", "counter", "ex", "hyper", "in", "kilo", "mal"),
    *("mega", "mini", "mono", "neo", "poly", "pseudo", "semi", "super", "tele", "tri", "ultra"),
    *("vice", "il,ir,im,in", "non"),
)
"""The published ones (sparse_probing.md §2.4), with `under` and `anti` apart, which a missing comma
had made one. A comma parts spellings of one prefix."""

SUFFIXES = (
    *("ise,ize", "ate", "fy", "en", "tion,sion", "er", "ment", "ant,ent", "age", "al"),
    *("ence,ance", "ry", "ism", "ship", "ity", "ness", "cy", "ent", "ive", "ous", "ful", "less"),
    "able",
)


def prefix_suffix_features() -> FeatureSet:
    """`feature_set("prefix-suffix")`: 38 prefixes and 23 suffixes of the token's text.

    A space before a prefix is allowed, capitals count as small letters.
    """
    rules, features = [], []
    limits = "by spelling: `re` is marked in `red` as in `redo`"
    for group in PREFIXES:
        parts = tuple(group.split(","))
        rules.append(_starts(parts))
        features.append(Feature(
            f"starts_with_{group.replace(',', '_')}", "prefix",
            f"starts with {' or '.join(parts)}, a space before it allowed",
            tuple(f"«{part}xy»« {part.title()}xy»¦a{part}" for part in parts),
            (f"x{parts[0]}¦  {parts[0]}",), limits=limits,
        ))  # fmt: skip
    for group in SUFFIXES:
        parts = tuple(group.split(","))
        rules.append(_ends(parts))
        features.append(Feature(
            f"ends_with_{group.replace(',', '_')}", "suffix", f"ends with {' or '.join(parts)}",
            tuple(f"«xy{part}»« {part.upper()}»¦{part}xy" for part in parts),
            (f"{parts[0]}.¦{parts[0]} ",), limits="by spelling: `er` is marked in `her`",
        ))  # fmt: skip
    how = "the spelling of the token"
    return FeatureSet("prefix-suffix", tuple(features), rule_labeller(rules), True, how)


def _starts(parts: tuple[str, ...]) -> Rule:
    return lambda string: string.removeprefix(" ").lower().startswith(parts)


def _ends(parts: tuple[str, ...]) -> Rule:
    return lambda string: string.lower().endswith(parts)
