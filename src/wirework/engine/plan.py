"""A network laid out for one token at a time: a few flat arrays that one kernel call can walk.

Matrices lie by columns, since three quarters of what a column would be multiplied with is zero:
column c of matrix m of layer l is `rows` and `values` from `starts[columns[l, m] + c]` to the next
start. Vectors lie one behind the other in `vectors`, `spans[l, n]` is the part of vector n; an
empty part stands for an absent one. Row n_layer of both tables is the readout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wirework.core import Site
from wirework.core.names import FINAL
from wirework.engine.network import Layer, Network
from wirework.engine.sparse import SparseMatrix
from wirework.engine.tiles import Floats

QKV, ATTN_OUT, HEAD_CONSTANT, MLP_IN, MLP_OUT, _MATRICES = range(6)
UNEMBEDDING = QKV

(
    ATTN_GAIN, ATTN_SHIFT, ATTN_HELD, ATTN_POSITION_GAIN, ATTN_POSITION_SHIFT, QKV_BIAS, Q_HELD,
    K_HELD, V_HELD, SINK, ATTN_OUT_BIAS, ATTN_OUT_HELD, MLP_GAIN, MLP_SHIFT, MLP_HELD,
    MLP_POSITION_GAIN, MLP_POSITION_SHIFT, MLP_IN_BIAS, NEURON_HELD, MLP_OUT_BIAS, MLP_OUT_HELD,
    _VECTORS,
) = range(22)  # fmt: skip
FINAL_GAIN, FINAL_SHIFT, FINAL_HELD, UNEMBEDDING_BIAS = ATTN_GAIN, ATTN_SHIFT, ATTN_HELD, QKV_BIAS

_HELD = (
    (ATTN_HELD, "attn.in"), (Q_HELD, "attn.q"), (K_HELD, "attn.k"), (V_HELD, "attn.v"),
    (ATTN_OUT_HELD, "attn.out"), (MLP_HELD, "mlp.in"), (NEURON_HELD, "mlp.neuron"),
    (MLP_OUT_HELD, "mlp.out"),
)  # fmt: skip

PLACES = (
    "attn.in", "attn.q", "attn.k", "attn.v", "attn.out",
    "mlp.in", "mlp.neuron", "mlp.out", "resid.attn", "resid.mlp",
)  # fmt: skip
AT_ATTN, AT_Q, AT_K, AT_V, AT_ATTN_OUT, AT_MLP, AT_NEURON, AT_MLP_OUT, AT_MID, AT_END = range(10)


_Stacks = list[tuple[int, int, list[SparseMatrix]]]
"""Layer, kind, matrices that lie on top of each other."""


class Plan(NamedTuple):
    """See the head of this module. `keep`: how many entries AbsTopK keeps at each of PLACES, 0
    where it is off. `neurons` of every layer. A vector NAME_HELD has NaN where a channel passes,
    else what it is held at; `before[l, NAME_HELD]`: the gate stands before AbsTopK as well."""

    n_layer: int
    n_head: int
    gelu: bool
    centred: bool
    relu_residual: bool
    added: bool
    ranked: bool
    eps: Any
    keep: NDArray[np.int64]
    neurons: NDArray[np.int64]
    starts: NDArray[np.uint32]
    rows: NDArray[Any]
    values: Floats
    columns: NDArray[np.int64]
    vectors: Floats
    spans: NDArray[np.int64]
    before: NDArray[np.bool_]
    positions: Floats
    embedding_starts: NDArray[np.int64]
    embedding_columns: NDArray[np.int32]
    embedding_values: Floats

    def arrays(self) -> list[NDArray[Any]]:
        """What the plan holds beside the network's own arrays."""
        return [self.starts, self.rows, self.values, self.columns, self.vectors, self.spans,
                self.before]  # fmt: skip


def lay_out(network: Network, dtype: np.dtype[Any]) -> Plan:
    """Lay a network out in float32 or float64."""
    stacks = _stacks(network)
    columns = np.full((len(network.layers) + 1, _MATRICES), -1, np.int64)
    nonzeros = sum(part.nnz for _, _, parts in stacks for part in parts)
    assert nonzeros < 1 << 32, "as many weights as a uint32 counts"
    starts: list[NDArray[np.uint32]] = []
    rows, values = np.empty(nonzeros, _rows_type(stacks)), np.empty(nonzeros, dtype)
    place = done = 0
    for at, kind, parts in stacks:
        columns[at, kind] = done
        ends = _by_columns(parts, rows[place:], values[place:])
        starts.append((place + ends).astype(np.uint32))
        done, place = done + len(ends), place + int(ends[-1])
    vectors, spans = _lay_vectors(network, dtype)
    table_of_positions = network.positions
    if table_of_positions is None:
        table_of_positions = np.zeros((0, 0))
    return Plan(
        n_layer=len(network.layers),
        n_head=network.n_head,
        gelu=network.activation == "gelu",
        centred=network.norm == "layer",
        relu_residual=network.residual == "relu",
        added=network.position == "add",
        ranked=network.position_in_topk,
        eps=dtype.type(network.eps),
        keep=np.array([network.topk.get(name, 0) for name in PLACES], np.int64),
        neurons=np.array([layer.mlp_in.shape[0] for layer in network.layers], np.int64),
        starts=np.concatenate(starts),
        rows=rows,
        values=values,
        columns=columns,
        vectors=vectors,
        spans=spans,
        before=_before(network),
        positions=table_of_positions.astype(dtype, copy=False),
        embedding_starts=network.embedding.indptr,
        embedding_columns=network.embedding.indices,
        embedding_values=network.embedding.values.astype(dtype, copy=False),
    )


def plan_bytes(network: Network, dtype: np.dtype[Any]) -> int:
    """What a plan takes in memory beside the network, without laying it out."""
    stacks = _stacks(network)
    nonzeros = sum(part.nnz for _, _, parts in stacks for part in parts)
    starts = sum(parts[0].shape[1] + 1 for _, _, parts in stacks)
    entries = _entries(network)
    numbers = sum(len(v) for entry in entries for v in entry.values() if v is not None)
    tables = len(entries) * (8 * (_MATRICES + 2 * _VECTORS) + _VECTORS)
    return (
        nonzeros * (_rows_type(stacks).itemsize + dtype.itemsize)
        + 4 * starts + numbers * dtype.itemsize + tables
    )  # fmt: skip


def _rows_type(stacks: _Stacks) -> np.dtype[Any]:
    highest = max(sum(part.shape[0] for part in parts) for _, _, parts in stacks)
    return np.dtype(np.uint16 if highest <= 1 << 16 else np.uint32)


def _stacks(network: Network) -> _Stacks:
    table = [_matrices(layer) for layer in network.layers]
    table.append({UNEMBEDDING: [network.unembedding]})
    return [(at, kind, parts) for at, entry in enumerate(table) for kind, parts in entry.items()]


def _matrices(layer: Layer) -> dict[int, list[SparseMatrix]]:
    found = {
        QKV: [layer.q, layer.k, layer.v],
        ATTN_OUT: [layer.attn_out],
        MLP_IN: [layer.mlp_in],
        MLP_OUT: [layer.mlp_out],
    }
    if layer.head_constant is not None:
        found[HEAD_CONSTANT] = [SparseMatrix.from_dense(layer.head_constant)]
    return found


def _by_columns(parts: list[SparseMatrix], rows: NDArray[Any], values: Floats) -> NDArray[np.int64]:
    """Write the weights column by column, rows rising; returns the columns' starts and the end."""
    n_cols = parts[0].shape[1]
    tops = np.cumsum([0] + [part.shape[0] for part in parts])
    column_of = np.concatenate([part.indices for part in parts])
    order = np.argsort(column_of, kind="stable")
    row_of = np.concatenate([part.row_of + top for part, top in zip(parts, tops, strict=False)])
    count = len(order)
    rows[:count] = row_of[order]
    values[:count] = np.concatenate([part.values for part in parts])[order]
    counts = np.bincount(column_of, minlength=n_cols)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def _lay_vectors(network: Network, dtype: np.dtype[Any]) -> tuple[Floats, NDArray[np.int64]]:
    entries = _entries(network)
    spans = np.zeros((len(entries), _VECTORS, 2), np.int64)
    laid: list[Floats] = [np.zeros(0, dtype)]
    done = 0
    for at, entry in enumerate(entries):
        for name, vector in entry.items():
            if vector is not None:
                spans[at, name] = done, done + len(vector)
                laid.append(vector.astype(dtype))
                done += len(vector)
    return np.concatenate(laid), spans


def _entries(network: Network) -> list[dict[int, Floats | None]]:
    """The vectors of every layer by name, those of the readout last."""
    entries = [dict(_vectors(network, index)) for index in range(len(network.layers))]
    readout = {
        FINAL_GAIN: network.final_gain,
        FINAL_SHIFT: network.final_norm_bias,
        FINAL_HELD: _held(network, Site(None, FINAL)),
        UNEMBEDDING_BIAS: network.unembedding_bias,
    }
    return [*entries, readout]


def _vectors(network: Network, index: int) -> Iterator[tuple[int, Floats | None]]:
    layer = network.layers[index]
    yield ATTN_GAIN, layer.attn_gain
    yield ATTN_SHIFT, layer.attn_norm_bias
    yield ATTN_POSITION_GAIN, layer.position_gain_attn
    yield ATTN_POSITION_SHIFT, layer.position_norm_bias_attn
    yield QKV_BIAS, _stacked(layer)
    yield SINK, layer.sink
    yield ATTN_OUT_BIAS, layer.attn_out_bias
    yield MLP_GAIN, layer.mlp_gain
    yield MLP_SHIFT, layer.mlp_norm_bias
    yield MLP_POSITION_GAIN, layer.position_gain_mlp
    yield MLP_POSITION_SHIFT, layer.position_norm_bias_mlp
    yield MLP_IN_BIAS, layer.mlp_in_bias
    yield MLP_OUT_BIAS, layer.mlp_out_bias
    for name, kind in _HELD:
        yield name, _held(network, Site(index, kind))


def _stacked(layer: Layer) -> Floats | None:
    biases = (layer.q_bias, layer.k_bias, layer.v_bias)
    if all(bias is None for bias in biases):
        return None
    width = layer.q.shape[0]
    return np.concatenate([np.zeros(width) if bias is None else bias for bias in biases])


def _before(network: Network) -> NDArray[np.bool_]:
    found = np.zeros((len(network.layers) + 1, _VECTORS), np.bool_)
    for index in range(len(network.layers)):
        for name, kind in _HELD:
            gate = network.gates.get(Site(index, kind))
            found[index, name] = gate is not None and gate.before
    return found


def _held(network: Network, site: Site) -> Floats | None:
    gate = network.gates.get(site)
    return None if gate is None else np.where(gate.keep, np.nan, gate.constant)
