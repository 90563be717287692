"""Compressed sparse rows and the one product that every weight of the engine goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError

Floats: TypeAlias = NDArray[np.floating[Any]]
"""float32 or float64."""

_BLOCK = 64  # input rows that one pass over the weights serves; measured best of 16 to 128


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """W (rows = outputs, cols = inputs) of y = W x.

    `indptr` int64 (rows + 1); `indices` int32, strictly rising within a row; `values` float32 or
    float64, none of them zero. Raises `matrix-malformed` where these do not fit together, so that
    a matrix that exists is safe to run.
    """

    shape: tuple[int, int]
    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: Floats

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise WireworkError("matrix-malformed", "a sparse matrix is inconsistent", got=fault)

    def _fault(self) -> str:
        rows, cols = self.shape
        arrays = (self.indptr, self.indices, self.values)
        if rows < 0 or cols < 0 or any(array.ndim != 1 for array in arrays):
            return "shapes that no matrix has"
        if self.indptr.dtype != np.int64 or self.indices.dtype != np.int32:
            return f"indptr {self.indptr.dtype}, indices {self.indices.dtype}"
        if self.values.dtype not in (np.float32, np.float64):
            return f"values of type {self.values.dtype}"
        if len(self.indptr) != rows + 1 or self.indptr[0] != 0 or np.any(np.diff(self.indptr) < 0):
            return "row starts that do not rise from 0"
        if self.indptr[-1] != len(self.indices) or len(self.indices) != len(self.values):
            return f"{len(self.values)} values, {len(self.indices)} columns, {self.indptr[-1]} ends"
        if self.nnz == 0:
            return ""
        if self.indices.min() < 0 or self.indices.max() >= cols:
            return f"a column outside 0..{cols - 1}"
        falls = np.flatnonzero(np.diff(self.indices) <= 0) + 1
        if not np.isin(falls, self.indptr).all():
            return "columns that do not rise within a row"
        return "a stored zero" if np.any(self.values == 0) else ""

    @property
    def nnz(self) -> int:
        """Number of nonzero weights."""
        return len(self.values)

    @property
    def row_of(self) -> NDArray[np.int64]:
        """The row of every stored weight, (nnz)."""
        return np.repeat(np.arange(self.shape[0], dtype=np.int64), np.diff(self.indptr))

    @classmethod
    def from_dense(cls, dense: NDArray[Any]) -> SparseMatrix:
        """The nonzeros of a matrix (rows, cols); float64 stays, anything else becomes float32."""
        kind = np.float64 if dense.dtype == np.float64 else np.float32
        rows, cols = np.nonzero(dense)
        shape = (dense.shape[0], dense.shape[1])
        values: Floats = np.asarray(dense[rows, cols], dtype=kind)
        return cls(shape, _starts(rows, shape[0]), cols.astype(np.int32), values)

    def to_dense(self) -> Floats:
        dense: Floats = np.zeros(self.shape, dtype=self.values.dtype)
        dense[self.row_of, self.indices] = self.values
        return dense

    def select(
        self, rows: NDArray[np.bool_] | None = None, cols: NDArray[np.bool_] | None = None
    ) -> SparseMatrix:
        """Same shape, without the weights outside the chosen rows and columns (boolean masks)."""
        row_of = self.row_of
        chosen = np.ones(self.nnz, dtype=np.bool_)
        if rows is not None:
            chosen &= rows[row_of]
        if cols is not None:
            chosen &= cols[self.indices]
        starts = _starts(row_of[chosen], self.shape[0])
        return SparseMatrix(self.shape, starts, self.indices[chosen], self.values[chosen])

    def take_rows(self, rows: NDArray[np.integer[Any]]) -> SparseMatrix:
        """Some rows in the given order, (len(rows), cols)."""
        first, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        places = np.repeat(first - starts[:-1], counts) + np.arange(starts[-1])
        shape = (len(rows), self.shape[1])
        return SparseMatrix(shape, starts, self.indices[places], self.values[places])


def _starts(rows: NDArray[np.integer[Any]], n_rows: int) -> NDArray[np.int64]:
    counts = np.bincount(rows, minlength=n_rows)
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def multiply(matrix: SparseMatrix, x: Floats, bias: Floats | None = None) -> Floats:
    """x (N, cols) -> W x + bias, (N, rows), in the precision of `x`.

    Every output is its bias plus its products in the order of the columns, whatever N is, so
    equal rows of W give equal numbers and ties between them stay ties.
    """
    assert x.shape[1] == matrix.shape[1], "input width"
    rows = matrix.shape[0]
    out = np.empty((len(x), rows), dtype=x.dtype)
    start = np.zeros(rows, dtype=x.dtype) if bias is None else bias.astype(x.dtype)
    assert start.shape == (rows,), "bias width"
    values = matrix.values.astype(x.dtype, copy=False)
    _multiply(matrix.indptr, matrix.indices, values, np.ascontiguousarray(x), start, out)
    return out


@numba.njit(cache=True)
def _multiply(indptr: Any, indices: Any, values: Any, x: Any, start: Any, out: Any) -> None:
    """Blocks of input rows are turned on their side, so that the inner loop runs along them."""
    n_rows, width = x.shape
    n_out = out.shape[1]
    sources = np.zeros((width, _BLOCK), x.dtype)
    totals = np.empty((n_out, _BLOCK), x.dtype)
    for first in range(0, n_rows, _BLOCK):
        count = min(_BLOCK, n_rows - first)
        for j in range(count):
            for i in range(width):
                sources[i, j] = x[first + j, i]
        for row in range(n_out):
            total = totals[row]
            total[:] = start[row]
            for place in range(indptr[row], indptr[row + 1]):
                weight = values[place]
                source = sources[indices[place]]
                for j in range(_BLOCK):
                    total[j] += weight * source[j]
        for j in range(count):
            for row in range(n_out):
                out[first + j, row] = totals[row, j]


def gather(matrix: SparseMatrix, rows: NDArray[np.integer[Any]], dtype: Any) -> Floats:
    """Rows of W, written out: rows (N) -> (N, cols). An embedding lookup."""
    chosen = matrix.take_rows(rows)
    out: Floats = np.zeros(chosen.shape, dtype=dtype)
    out[chosen.row_of, chosen.indices] = chosen.values
    return out
