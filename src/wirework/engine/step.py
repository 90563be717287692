"""One token through a network laid out by `plan`, one kernel call: the same numbers as `forward`.

Cost follows the nonzero weights of active channels. Every output is its bias plus its products in
the order of the columns, as in `multiply`; products with zeros are left out, which changes nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.engine import plan as p
from wirework.engine.abstopk_tiles import keep_row
from wirework.engine.attention import attend_one
from wirework.engine.network import Network
from wirework.engine.pointwise import gelu_row, list_active, norm_row
from wirework.engine.tiles import Floats


class Work(NamedTuple):
    """Buffers of one stream. `r` residual, `x` what is read (with positions), `heads` q, k and v,
    `mixed` and `share` what attention gives, `neurons`, `delta` what is written, `more` of it by
    constant values; `active` channels; `score`, `turned` of keys by head."""

    r: Floats
    x: Floats
    heads: Floats
    mixed: Floats
    share: Floats
    neurons: Floats
    delta: Floats
    more: Floats
    score: Floats
    turned: Floats
    active: NDArray[np.uint32]


def work_shapes(network: Network, capacity: int) -> tuple[list[tuple[int, ...]], int]:
    """Shapes of the buffers of numbers, in the order of `Work` without `active`; length of that."""
    d, flat, heads = network.d_model, network.n_head * network.d_head, network.n_head
    read = max((layer.q.shape[1] for layer in network.layers), default=d)
    neurons = max((layer.mlp_in.shape[0] for layer in network.layers), default=0)
    widest = max(read, flat, neurons, heads) + 1
    sizes = (d, read, 3 * flat, flat, heads, neurons, d, d)
    return [*((size,) for size in sizes), (heads, capacity), (capacity, heads)], widest


def make_work(network: Network, capacity: int, dtype: np.dtype[Any]) -> Work:
    floats, indices = work_shapes(network, capacity)
    buffers: list[Any] = [np.empty(shape, dtype) for shape in floats]
    buffers.append(np.empty(indices, np.uint32))
    return Work(*buffers)


@numba.njit(cache=True, nogil=True)
def step(
    plan: p.Plan, keys: Any, values: Any, position: int, token: int, work: Work, logits: Any
) -> None:
    """The token stands at `position`; its keys and values go into the cache. Fills `logits`
    (outputs), still without the bigram row."""
    r, delta = work.r, work.delta
    r[:] = 0
    for place in range(plan.embedding_starts[token], plan.embedding_starts[token + 1]):
        r[plan.embedding_columns[place]] = plan.embedding_values[place]
    if plan.added:
        _sum(r, plan.positions[position])
    for layer in range(plan.n_layer):
        _attention(plan, layer, keys[layer], values[layer], position, work)
        _add(plan, r, delta, p.AT_MID)
        _mlp(plan, layer, position, work)
        _add(plan, r, delta, p.AT_END)
    last, x = plan.n_layer, work.x[: len(r)]
    gain, shift = _vector(plan, last, p.FINAL_GAIN), _vector(plan, last, p.FINAL_SHIFT)
    norm_row(r, gain, shift, plan.eps, plan.centred, x)
    _hold(x, _vector(plan, last, p.FINAL_HELD))
    _start(logits, _vector(plan, last, p.UNEMBEDDING_BIAS))
    _multiply(plan, plan.columns[last, p.UNEMBEDDING], x, work, logits)


@numba.njit(cache=True, nogil=True)
def _attention(plan: p.Plan, layer: int, keys: Any, values: Any, position: int, work: Work) -> None:
    """Leaves what attention adds to the residual in `work.delta`."""
    _read(plan, layer, p.ATTN_GAIN, p.AT_ATTN, position, work)
    heads = work.heads
    _start(heads, _vector(plan, layer, p.QKV_BIAS))
    _multiply(plan, plan.columns[layer, p.QKV], work.x, work, heads)
    flat = len(work.mixed)
    q, k, v = heads[:flat], heads[flat : 2 * flat], heads[2 * flat :]
    _settle(plan, layer, q, p.AT_Q, p.Q_HELD)
    _settle(plan, layer, k, p.AT_K, p.K_HELD)
    _settle(plan, layer, v, p.AT_V, p.V_HELD)
    sink = _vector(plan, layer, p.SINK)
    attend_one(q, k, v, keys, values, position, sink, work.score, work.turned, work.active,
               work.mixed, work.share)  # fmt: skip
    delta = work.delta
    _start(delta, _vector(plan, layer, p.ATTN_OUT_BIAS))
    _multiply(plan, plan.columns[layer, p.ATTN_OUT], work.mixed, work, delta)
    constant = plan.columns[layer, p.HEAD_CONSTANT]
    if constant >= 0:
        work.more[:] = 0
        _multiply(plan, constant, work.share, work, work.more)
        _sum(delta, work.more)
    _settle(plan, layer, delta, p.AT_ATTN_OUT, p.ATTN_OUT_HELD)


@numba.njit(cache=True, nogil=True)
def _mlp(plan: p.Plan, layer: int, position: int, work: Work) -> None:
    """Leaves what the MLP adds to the residual in `work.delta`."""
    _read(plan, layer, p.MLP_GAIN, p.AT_MLP, position, work)
    neurons, delta = work.neurons[: plan.neurons[layer]], work.delta
    _start(neurons, _vector(plan, layer, p.MLP_IN_BIAS))
    _multiply(plan, plan.columns[layer, p.MLP_IN], work.x, work, neurons)
    if plan.gelu:
        gelu_row(neurons)
    else:
        _relu(neurons)
    _settle(plan, layer, neurons, p.AT_NEURON, p.NEURON_HELD)
    _start(delta, _vector(plan, layer, p.MLP_OUT_BIAS))
    _multiply(plan, plan.columns[layer, p.MLP_OUT], neurons, work, delta)
    _settle(plan, layer, delta, p.AT_MLP_OUT, p.MLP_OUT_HELD)


@numba.njit(cache=True, nogil=True)
def _read(plan: p.Plan, layer: int, gain: int, place: int, position: int, work: Work) -> None:
    """Norm, AbsTopK and gate of the residual, then the normed position, into `work.x`. The
    vectors of a reading place lie in one order, from its gain on."""
    r, d = work.r, len(work.r)
    x = work.x[:d]
    norm_row(r, _vector(plan, layer, gain), _vector(plan, layer, gain + 1), plan.eps,
             plan.centred, x)  # fmt: skip
    if len(work.x) > d:
        norm_row(plan.positions[position], _vector(plan, layer, gain + 3),
                 _vector(plan, layer, gain + 4), plan.eps, plan.centred, work.x[d:])  # fmt: skip
    held = _vector(plan, layer, gain + 2)
    if plan.keep[place] > 0:
        if plan.before[layer, gain + 2]:
            _hold(x, held)
        keep_row(work.x if plan.ranked else x, plan.keep[place])
    _hold(x, held)


@numba.njit(cache=True, nogil=True)
def _vector(plan: p.Plan, layer: int, name: int) -> Any:
    return plan.vectors[plan.spans[layer, name, 0] : plan.spans[layer, name, 1]]


@numba.njit(cache=True, nogil=True)
def _start(out: Any, bias: Any) -> None:
    for i in range(len(out)):
        out[i] = bias[i] if len(bias) > 0 else 0


@numba.njit(cache=True, nogil=True)
def _multiply(plan: p.Plan, first: int, x: Any, work: Work, out: Any) -> None:
    """out += W x, column by column of the active channels."""
    active = work.active
    for at in range(list_active(x, active)):
        column, factor = first + active[at], x[active[at]]
        for place in range(plan.starts[column], plan.starts[column + 1]):
            out[plan.rows[place]] += plan.values[place] * factor


@numba.njit(cache=True, nogil=True)
def _settle(plan: p.Plan, layer: int, x: Any, place: int, name: int) -> None:
    """AbsTopK, then the gate, which may stand before it as well."""
    held = _vector(plan, layer, name)
    if plan.keep[place] > 0:
        if plan.before[layer, name]:
            _hold(x, held)
        keep_row(x, plan.keep[place])
    _hold(x, held)


@numba.njit(cache=True, nogil=True)
def _hold(x: Any, held: Any) -> None:
    for i in range(len(held)):
        if not np.isnan(held[i]):
            x[i] = held[i]


@numba.njit(cache=True, nogil=True)
def _sum(x: Any, more: Any) -> None:
    for i in range(len(x)):
        x[i] += more[i]


@numba.njit(cache=True, nogil=True)
def _relu(x: Any) -> None:
    for i in range(len(x)):
        x[i] = max(x[i], x.dtype.type(0))


@numba.njit(cache=True, nogil=True)
def _add(plan: p.Plan, r: Any, delta: Any, place: int) -> None:
    _sum(r, delta)
    if plan.relu_residual:
        _relu(r)
    if plan.keep[place] > 0:
        keep_row(r, plan.keep[place])
