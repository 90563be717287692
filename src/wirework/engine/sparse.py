"""Compressed sparse rows and the one product that every weight of the engine goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.engine.tiles import LANES, MANY, count_tiles, to_rows, to_tiles
from wirework.engine.tiles import Floats as Floats


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
        return self.pick(chosen)

    def pick(self, chosen: NDArray[np.bool_]) -> SparseMatrix:
        """Same shape, without the stored weights that are not chosen: a boolean mask (nnz)."""
        starts = _starts(self.row_of[chosen], self.shape[0])
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
    """x (N, cols) -> W x + bias, (N, rows), in the precision of `x`: see `multiply_tiles`."""
    return to_rows(multiply_tiles(matrix, to_tiles(x), bias), len(x))


def multiply_tiles(matrix: SparseMatrix, x: Floats, bias: Floats | None = None) -> Floats:
    """Tiles of x (cols channels) -> tiles of W x + bias (rows channels), in the precision of `x`.

    Every output is its bias plus its products in the order of the columns, whatever the number of
    positions is, so equal rows of W give equal numbers and ties between them stay ties.
    """
    assert x.shape[1] == matrix.shape[1], "input width"
    rows = matrix.shape[0]
    out: Floats = np.empty((len(x), rows, LANES), dtype=x.dtype)
    start = np.zeros(rows, dtype=x.dtype) if bias is None else bias.astype(x.dtype, copy=False)
    assert start.shape == (rows,), "bias width"
    values = matrix.values.astype(x.dtype, copy=False)
    kernel = _multiply_many if len(x) > 1 and x.size + out.size >= MANY else _multiply_few
    kernel(matrix.indptr, matrix.indices, values, x, start, out)
    return out


@numba.njit(cache=True, parallel=True)
def _multiply_many(indptr: Any, indices: Any, values: Any, x: Any, start: Any, out: Any) -> None:
    for tile in numba.prange(len(x)):
        _multiply_tile(indptr, indices, values, x[tile], start, out[tile])


@numba.njit(cache=True)
def _multiply_few(indptr: Any, indices: Any, values: Any, x: Any, start: Any, out: Any) -> None:
    for tile in range(len(x)):
        _multiply_tile(indptr, indices, values, x[tile], start, out[tile])


@numba.njit(cache=True)
def _multiply_tile(indptr: Any, indices: Any, values: Any, x: Any, start: Any, out: Any) -> None:
    """Four products at a time, added one after the other: fewer passes over the sums."""
    for row in range(len(out)):
        total = out[row]
        total[:] = start[row]
        place, end = indptr[row], indptr[row + 1]
        while place + 4 <= end:
            w0, x0 = values[place], x[indices[place]]
            w1, x1 = values[place + 1], x[indices[place + 1]]
            w2, x2 = values[place + 2], x[indices[place + 2]]
            w3, x3 = values[place + 3], x[indices[place + 3]]
            for lane in range(LANES):
                one = total[lane] + w0 * x0[lane]
                two = one + w1 * x1[lane]
                total[lane] = (two + w2 * x2[lane]) + w3 * x3[lane]
            place += 4
        for rest in range(place, end):
            w0, x0 = values[rest], x[indices[rest]]
            for lane in range(LANES):
                total[lane] += w0 * x0[lane]


def gather(matrix: SparseMatrix, rows: NDArray[np.integer[Any]], dtype: Any) -> Floats:
    """Rows of W, written out as tiles: rows (N) -> tiles (cols channels). An embedding lookup."""
    tiles: Floats = np.zeros((count_tiles(len(rows)), matrix.shape[1], LANES), dtype=dtype)
    _gather(matrix.indptr, matrix.indices, matrix.values, rows, tiles)
    return tiles


@numba.njit(cache=True)
def _gather(indptr: Any, indices: Any, values: Any, rows: Any, tiles: Any) -> None:
    for n in range(len(rows)):
        for place in range(indptr[rows[n]], indptr[rows[n] + 1]):
            tiles[n // LANES, indices[place], n % LANES] = values[place]
