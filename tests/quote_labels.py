"""What planted models compute about quotes, as features of tokens."""

from __future__ import annotations

import numpy as np

from wirework.probing.feature import NOT_ASKED, Feature, FeatureSet, Marks, Text

QUOTES = ("ends_in_double", "ends_in_quote", "has_single", "opens", "opened_by_double", "is_word")


def quote_features(*names: str) -> FeatureSet:
    """What the planted model computes about quotes, token by token; all of it without `names`."""

    def labeller(text: Text) -> Marks:
        rows, opened = [], ""
        for start, end in zip(text.starts.tolist(), text.ends.tolist(), strict=True):
            token = text.text[start:end]
            opens = token in (' "', " '") and not opened
            opened = token[1] if opens else opened
            quote = token.endswith(('"', "'"))
            rows.append(
                [token.endswith('"'), quote, "'" in token, opens, opened == '"', token.isalpha()]
            )
        values = np.array(rows, np.int8).reshape(-1, len(QUOTES))
        return Marks(text.starts, text.ends, values, np.full(len(QUOTES), NOT_ASKED, np.int8))

    features = tuple(Feature(name, "quotes", name) for name in QUOTES)
    whole = FeatureSet("quotes", features, labeller, by_token=True)
    return whole.only(names) if names else whole
