"""Sparse matrices: round trips, products, and the shapes that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.engine import SparseMatrix
from wirework.engine.sparse import gather, multiply
from wirework.engine.tiles import to_rows

SMALL = st.sampled_from([0.0, 0.0, 0.0, -2.0, -0.5, 0.25, 1.0, 3.0])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
MATRICES = hnp.arrays(np.float64, SHAPES, elements=SMALL)


@given(MATRICES)
def test_dense_and_back(dense: NDArray[np.float64]) -> None:
    matrix = SparseMatrix.from_dense(dense)
    np.testing.assert_array_equal(matrix.to_dense(), dense)
    assert matrix.nnz == np.count_nonzero(dense)
    assert matrix.values.dtype == np.float64
    assert SparseMatrix.from_dense(dense.astype(np.float32)).values.dtype == np.float32


@given(MATRICES, st.integers(0, 130), st.sampled_from([np.float32, np.float64]), st.booleans())
def test_a_product_is_that_of_the_dense_matrix(
    dense: NDArray[np.float64], count: int, kind: Any, biased: bool
) -> None:
    random = np.random.default_rng(count)
    # Quarters: every sum is exact, in whatever order.
    x = (random.integers(-8, 8, (count, dense.shape[1])) / 4).astype(kind)
    bias = random.integers(-8, 8, len(dense)) / 4 if biased else None
    found = multiply(SparseMatrix.from_dense(dense), x, bias)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, x @ dense.T + (0 if bias is None else bias))


@given(MATRICES, st.data())
def test_selecting_keeps_the_shape_and_taking_rows_does_not(
    dense: NDArray[np.float64], data: st.DataObject
) -> None:
    matrix = SparseMatrix.from_dense(dense)
    rows = data.draw(hnp.arrays(np.bool_, len(dense)))
    cols = data.draw(hnp.arrays(np.bool_, dense.shape[1]))
    kept = matrix.select(rows, cols)
    np.testing.assert_array_equal(kept.to_dense(), dense * rows[:, None] * cols)
    chosen = data.draw(hnp.arrays(np.int64, 4, elements=st.integers(0, len(dense) - 1)))
    np.testing.assert_array_equal(matrix.take_rows(chosen).to_dense(), dense[chosen])
    np.testing.assert_array_equal(to_rows(gather(matrix, chosen, np.float32), 4), dense[chosen])


@given(st.integers(0, 2**32 - 1))
def test_equal_rows_give_equal_numbers(seed: int) -> None:
    """So that a tie between two channels stays a tie, however many prompts run together."""
    random = np.random.default_rng(seed)
    dense = random.normal(size=(6, 9)) * (random.random((6, 9)) < 0.7)
    dense[4], dense[5] = dense[1], -dense[2]
    x = random.normal(size=(70, 9))
    y = multiply(SparseMatrix.from_dense(dense), x)
    np.testing.assert_array_equal(y[:, 4], y[:, 1])
    np.testing.assert_array_equal(y[:, 5], -y[:, 2])
    np.testing.assert_array_equal(y[66:67], multiply(SparseMatrix.from_dense(dense), x[66:67]))


GOOD: dict[str, Any] = {
    "shape": (2, 3),
    "indptr": np.array([0, 2, 3]),
    "indices": np.array([0, 2, 1], dtype=np.int32),
    "values": np.array([1, 2, 3], dtype=np.float32),
}


@pytest.mark.parametrize(
    "change",
    [
        {"shape": (3, 3)},
        {"shape": (2, 2)},
        {"shape": (-1, 3)},
        {"indptr": np.array([0, 2, 4])},
        {"indptr": np.array([1, 2, 3])},
        {"indptr": np.array([0, 4, 3])},
        {"indptr": np.array([0, 2, 3], dtype=np.int32)},
        {"indptr": np.array([[0, 2, 3]])},
        {"indices": np.array([0, -1, 1], dtype=np.int32)},
        {"indices": np.array([0, 3, 1], dtype=np.int32)},
        {"indices": np.array([2, 0, 1], dtype=np.int32)},
        {"indices": np.array([2, 2, 1], dtype=np.int32)},
        {"indices": np.array([0, 2, 1])},
        {"values": np.array([1, 2], dtype=np.float32)},
        {"values": np.array([1, 2, 0], dtype=np.float32)},
        {"values": np.array([1, 2, 3])},
    ],
)
def test_an_inconsistent_matrix_cannot_be_made(change: dict[str, Any]) -> None:
    assert SparseMatrix(**GOOD).nnz == 3
    with pytest.raises(WireworkError) as caught:
        SparseMatrix(**{**GOOD, **change})
    assert caught.value.code == "matrix-malformed"
