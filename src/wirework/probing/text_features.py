"""Features of a token's own text (sparse_probing.md §2.4): digits, capitals, blanks, symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from wirework.probing.feature import NOT_ASKED, Feature, FeatureSet, Marks, Text

Rule = Callable[[str], bool]
"""Whether a token with this text has the feature; the text is never empty."""


def text_features() -> FeatureSet:
    """`feature_set("text")`: the eleven published ones, then five that were defined beside them."""
    rules = _rules()
    features = tuple(
        Feature(
            name, "text of the token", definition, (positive,), (negative,),
            limits="follows from the token alone: a model can look it up in its embedding",
        )
        for name, definition, positive, negative in _FEATURES
    )  # fmt: skip
    labeller = rule_labeller([rules[feature.name] for feature in features])
    return FeatureSet("text", features, labeller, True, "the text of the token")


def rule_labeller(rules: list[Rule]) -> Callable[[Text], Marks]:
    """A labeller that asks every rule of every token's text."""

    def labeller(text: Text) -> Marks:
        # Few tokens are distinct.
        known: dict[str, list[bool]] = {}
        rows = []
        for start, end in zip(text.starts.tolist(), text.ends.tolist(), strict=True):
            piece = text.text[start:end]
            if piece not in known:
                known[piece] = [bool(piece) and rule(piece) for rule in rules]
            rows.append(known[piece])
        values = np.array(rows, np.int8).reshape(-1, len(rules))
        rest = np.full(len(rules), NOT_ASKED, np.int8)
        return Marks(text.starts, text.ends, values, rest)

    return labeller


def _rules() -> Mapping[str, Rule]:
    all_digits = re.compile(r"\s?\d+")
    all_capitals = re.compile(r"\s*[A-Z]+")
    symbols = re.compile(r"\W+")
    return {
        "contains_digit": lambda s: any(c.isdecimal() for c in s),
        "all_digits": lambda s: all_digits.fullmatch(s) is not None,
        "contains_capital": lambda s: any("A" <= c <= "Z" for c in s),
        "leading_capital": lambda s: s.removeprefix(" ")[:1].isupper(),
        "all_capitals": lambda s: s.strip() not in ("I", "A") and bool(all_capitals.fullmatch(s)),
        "contains_whitespace": lambda s: any(c.isspace() for c in s),
        "has_leading_space": lambda s: s[0] == " ",
        "no_leading_space_and_loweralpha": lambda s: s.isalpha() and s.islower(),
        "contains_all_whitespace": str.isspace,
        "is_not_alphanumeric": lambda s: symbols.fullmatch(s) is not None,
        "is_not_ascii": lambda s: not s.isascii(),
        "starts_with_space_and_vowel": lambda s: s[0] == " " and s[1:2].lower() in tuple("aeiou"),
        "contains_monetary_sign": lambda s: any(c in "$€£¥฿₹" for c in s),
        "contains_honorific": lambda s: (
            re.search(r"\b(Mr|Ms|Mrs|Dr|Prof|Hon|Rev)\b", s) is not None
        ),
        "contains_left_bracket": lambda s: any(c in "[({<" for c in s),
        "contains_right_bracket": lambda s: any(c in "])}>" for c in s),
    }


_FEATURES = (
    ("contains_digit", "a decimal digit anywhere in it", "«a1»¦ b", "one¦ ²"),
    ("all_digits", "digits only, one blank before them allowed", "« 42»«7»¦a1", " 4.2¦ x"),
    ("contains_capital", "one of A-Z anywhere in it", "«aB»¦b", "éa¦É"),
    ("leading_capital", "its first letter, a space before it allowed, is a capital",
     "«Ab»« Éa»¦aB", " aB¦1A"),
    ("all_capitals", "capitals A-Z only, blanks before them allowed, and not `I` or `A`",
     "«AB»« X»¦ I¦A", "Ab¦A1"),
    ("contains_whitespace", "white space anywhere in it", "« a»«b\n»¦c", "a¦."),
    ("has_leading_space", "its first character is a space", "« a»¦b", "\na¦b "),
    ("no_leading_space_and_loweralpha", "letters only, all of them small", "«ab»¦ cd", "a1¦Ab¦ ab"),
    ("contains_all_whitespace", "nothing but white space", "« \n»¦ a", " a¦b"),
    ("is_not_alphanumeric", "neither letters nor digits nor underscores",
     "«):\n»« »¦a.", "_¦a)¦1"),
    ("is_not_ascii", "a character outside of ASCII", "«é»¦e", "e¦~"),
    ("starts_with_space_and_vowel", "a space and then one of a e i o u", "« And»¦and", " big¦ 1a"),
    ("contains_monetary_sign", "one of $ € £ ¥ ฿ ₹", "«$»« 5€»¦%", "USD¦ #"),
    ("contains_honorific", "one of Mr Ms Mrs Dr Prof Hon Rev as a word", "« Dr»«Mr.»¦x", " mr¦a"),
    ("contains_left_bracket", "one of [ ( { <", "«f(»¦)", ")¦>"),
    ("contains_right_bracket", "one of ] ) } >", "«):»¦(", "(¦<"),
)  # fmt: skip
