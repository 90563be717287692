"""Windows over documents: nothing twice, nothing left out, enough seen before every token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.probing.activation_windows import TokenStream, checked_rows, cut_windows

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


def stream_of(lengths: list[int]) -> TokenStream:
    return TokenStream.of([list(range(n)) for n in lengths])


@given(LENGTHS, st.integers(1, 12), st.integers(0, 11), st.booleans())
def test_every_token_comes_from_one_window_and_sees_enough(
    lengths: list[int], context: int, overlap: int, causal: bool
) -> None:
    assume(overlap * (1 if causal else 2) < context)
    stream = stream_of(lengths)
    windows = cut_windows(stream, context, overlap, causal=causal)
    kept = [np.arange(a, b) for a, b in zip(windows.keep, windows.end, strict=True)]
    assert np.array_equal(np.concatenate(kept), np.arange(len(stream.tokens)))
    for first, last, mine in zip(windows.first, windows.last, kept, strict=True):
        assert len(mine) and first <= mine[0] and mine[-1] < last <= first + context
        assert len(set(stream.document[first:last])) == 1
        before = stream.position[mine]
        assert np.all(mine - first >= np.minimum(before, overlap))
        whole = lengths[stream.document[first]]
        after = whole - 1 - stream.position[mine]
        assert causal or np.all(last - 1 - mine >= np.minimum(after, overlap))


def test_a_document_that_fits_is_one_window() -> None:
    windows = cut_windows(stream_of([8, 3, 9]), 8, 2, causal=True)
    assert windows.first.tolist() == [0, 8, 11, 17]
    assert windows.last.tolist() == [8, 11, 19, 20]
    assert windows.keep.tolist() == [0, 8, 11, 19]


def test_flat_tokens_and_documents_are_the_same_data() -> None:
    documents = [[3, 1], [], [4]]
    stream = TokenStream.of(documents)
    assert stream.document.tolist() == [0, 0, 2] and stream.position.tolist() == [0, 1, 0]
    assert TokenStream.of(stream).hash() == stream.hash()
    assert TokenStream.of([[3, 1, 4]]).hash() != stream.hash()
    rows = np.array([[5, 6], [7, 8]])
    assert TokenStream.of(rows).hash() == TokenStream.of(rows.tolist()).hash()


@pytest.mark.parametrize(
    ("tokens", "document", "position"),
    [
        ([1, 2], [0, 0], [0, 2]),
        ([1, 2], [0, 1], [0, 1]),
        ([1, 2], [1, 0], [0, 0]),
        ([1, 2], [0, 0], [1, 2]),
        ([1, -2], [0, 0], [0, 1]),
        ([1, 2], [0, 0], [0]),
        ([], [], []),
    ],
)
def test_tokens_that_are_no_documents_are_refused(
    tokens: list[int], document: list[int], position: list[int]
) -> None:
    with pytest.raises(WireworkError) as caught:
        TokenStream(*(np.array(a, dtype=np.int64) for a in (tokens, document, position)))
    assert caught.value.code == "documents-malformed"


@pytest.mark.parametrize(("overlap", "causal"), [(8, True), (4, False), (-1, True)])
def test_an_overlap_that_leaves_nothing_is_refused(overlap: int, causal: bool) -> None:
    with pytest.raises(WireworkError) as caught:
        cut_windows(stream_of([20]), 8, overlap, causal=causal)
    assert caught.value.code == "overlap-too-large"


def test_rows_are_indices_or_a_mask() -> None:
    mask = np.array([True, False, True])
    assert checked_rows(mask, 3).tolist() == [0, 2]
    assert checked_rows(np.array([2, 0, 2]), 3).tolist() == [2, 0, 2]
    for wrong in (np.array([3]), np.array([-1]), np.array([0.5]), np.zeros(0, int), mask[:2]):
        with pytest.raises(WireworkError) as caught:
            checked_rows(wrong, 3)
        assert caught.value.code == "rows-unknown"
