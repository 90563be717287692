"""Classes of tokens, and sets of features joined."""

from __future__ import annotations

import numpy as np
import pytest

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.explain.token_classes import (
    character_features,
    joined_features,
    shipped_features,
)
from wirework.probing.feature import YES, check_examples
from wirework.probing.feature_sets import feature_set
from wirework.probing.label_tokens import label_tokens

CODE = "def f(a):\n    return g('b', [a, 1.5])  # c\n"


def test_characters_are_what_their_examples_say() -> None:
    assert check_examples(character_features()) == []


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


def test_names_of_labels_lead_to_their_sets() -> None:
    for name in ("python", "characters", "python+characters"):
        found = shipped_features(name)
        assert found is not None
        assert found.name == name
    assert shipped_features("python+mine") is None
    with pytest.raises(WireworkError, match="labels-differ"):
        shipped_features("python+python")
