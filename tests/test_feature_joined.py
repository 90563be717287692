"""Sets of features joined, and their names."""

from __future__ import annotations

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.probing.character_features import character_features
from wirework.probing.data_cards import data_cards
from wirework.probing.feature import YES
from wirework.probing.feature_sets import feature_set, is_feature_set, joined_features
from wirework.probing.label_tokens import label_tokens

CODE = "def f(a):\n    return g('b', [a, 1.5])  # c\n"


def test_a_joined_set_labels_as_its_sets_do() -> None:
    tokenizer = Tokenizer.train([CODE * 20], 300)
    sets = feature_set("python"), character_features(), feature_set("position")
    joined = joined_features(*sets)
    assert joined.name == "python+characters+position"
    assert joined.by_token
    found = label_tokens({"a.py": CODE}, tokenizer, joined)
    apart = [label_tokens({"a.py": CODE}, tokenizer, one).labels for one in sets]
    assert np.array_equal(found.labels, np.hstack(apart))
    texts = [tokenizer.token_text(int(token)) for token in found.tokens]
    has = found.column("has_single_quote") == YES
    assert has.tolist() == ["'" in text for text in texts]

    few = joined.only(["is_comma", "has_comma"])
    assert np.array_equal(
        label_tokens({"a.py": CODE}, tokenizer, few).labels, found.only(few.names).labels
    )


def test_a_joined_set_refuses_what_one_of_its_sets_refuses() -> None:
    joined = joined_features(character_features(), feature_set("python"))
    with pytest.raises(WireworkError, match="text-not-python"):
        joined.label("x = = 1")


def test_joined_names_lead_to_joined_sets() -> None:
    for name in ("python", "characters", "python+characters"):
        assert is_feature_set(name)
        assert feature_set(name).name == name
    assert not is_feature_set("python+mine")
    with pytest.raises(WireworkError, match="feature-set-unknown") as error:
        feature_set("python+mine")
    assert error.value.got == "mine"
    with pytest.raises(WireworkError, match="labels-differ"):
        feature_set("python+python")


def test_cards_of_a_joined_set_have_the_rates_of_its_sets() -> None:
    cards = {card["name"]: card["base_rate"] for card in data_cards(feature_set("python+text"))}
    alone = {card["name"]: card["base_rate"] for card in data_cards(feature_set("python"))}
    assert cards["is_comma"] == alone["is_comma"] is not None
    assert cards["contains_digit"] is None
