"""N-gram counts against counting by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.data import NGramModel

VOCAB = 4
ids = st.integers(0, VOCAB - 1)


def _by_hand(tokens: Sequence[int], context: Sequence[int], order: int) -> list[int]:
    for length in range(min(order - 1, len(context)), -1, -1):
        end = list(context[len(context) - length :])
        counts = [0] * VOCAB
        for i in range(length, len(tokens)):
            if list(tokens[i - length : i]) == end:
                counts[tokens[i]] += 1
        if any(counts):
            return counts
    return [0] * VOCAB


@given(st.lists(ids, max_size=60), st.lists(ids, max_size=6), st.integers(1, 5))
def test_counts_are_those_of_the_longest_known_context(
    tokens: list[int], context: list[int], order: int
) -> None:
    model = NGramModel(np.array(tokens, dtype=np.uint16), order, VOCAB)
    assert model.next_counts(context).tolist() == _by_hand(tokens, context, order)


@given(st.lists(ids, max_size=40), st.lists(st.lists(ids, max_size=5), max_size=4))
def test_probabilities_sum_to_one_and_none_is_zero(
    tokens: list[int], contexts: list[list[int]]
) -> None:
    found = NGramModel(np.array(tokens, dtype=np.int64), 4, VOCAB).log_probabilities(contexts)
    assert found.shape == (len(contexts), VOCAB)
    assert np.isfinite(found).all()
    assert np.allclose(np.exp(found).sum(axis=1), 1)


def test_smoothing_by_hand() -> None:
    # After 1: 2 twice and 3 once (n = 3, t = 2). All: 1 x3, 2 x2, 3 x1 (n = 6, t = 3).
    model = NGramModel(np.array([1, 2, 1, 2, 1, 3]), 2, VOCAB)
    plain = [(count + 3 / 4) / 9 for count in (0, 3, 2, 1)]
    after = [(count + 2 * p) / 5 for count, p in zip((0, 0, 2, 1), plain, strict=True)]
    assert np.allclose(np.exp(model.log_probabilities([[0, 1]])), [after])
    assert np.allclose(np.exp(model.log_probabilities([[0]])), [plain])


def test_counts_belong_to_the_caller() -> None:
    model = NGramModel(np.array([1, 2]), 2, VOCAB)
    model.next_counts([])[:] = 9
    assert model.next_counts([]).tolist() == [0, 1, 1, 0]


def test_too_long_for_one_integer() -> None:
    with pytest.raises(WireworkError) as caught:
        NGramModel(np.array([1, 2]), 6, 2048)
    assert caught.value.code == "ngram-too-wide"
    assert caught.value.expected == "order <= 5"
    NGramModel(np.array([1, 2]), 5, 2048)
