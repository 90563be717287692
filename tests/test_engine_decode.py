"""One token at a time gives the numbers of `forward`, to the last bit, whatever the network is."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from networks import (
    CONTEXT,
    PLACES,
    VOCAB,
    Switches,
    dense_forward,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from wirework.circuit import extract
from wirework.engine import Decoder, Network, SparseMatrix, forward, memory
from wirework.engine.abstopk import keep_largest
from wirework.engine.abstopk_tiles import keep_row, zero_rest
from wirework.engine.cache import Cache
from wirework.engine.forward import extend
from wirework.engine.scalars import exp
from wirework.engine.tiles import Floats, to_rows, to_tiles

RICH = Switches(5, 2, "concat", True, True, True, "gelu", PLACES, False, "layer", True, "relu")
PLAIN = replace(RICH, position="none", topk=PLACES[:8], norm="rms", norm_bias=False)


def decoded(network: Network, tokens: NDArray[Any], begin: int, dtype: Any) -> NDArray[Any]:
    """Logits at positions `begin` - 1 ... of one row of tokens, one token at a time."""
    stream, logits = Decoder(network, dtype=dtype).open(tokens[:begin], len(tokens))
    return np.stack([logits, *(stream.push(int(token)) for token in tokens[begin:])])


@settings(max_examples=60)
@given(switches(), st.integers(1, CONTEXT), st.booleans(), st.booleans())
def test_decoding_is_forward(want: Switches, begin: int, gated: bool, narrow: bool) -> None:
    network, row = random_network(want), random_tokens(want)[0]
    if gated:
        network = replace(network, gates=random_gates(network, want.seed))
    dtype = np.float32 if narrow else np.float64
    whole = forward(network, row[np.newaxis], dtype=dtype).logits[0]
    np.testing.assert_array_equal(decoded(network, row, begin, dtype), whole[begin - 1 :])


@settings(max_examples=25)
@given(switches(), st.integers(0, 2**32 - 1))
def test_a_lone_circuit_decodes(want: Switches, seed: int) -> None:
    network, row = random_network(want), random_tokens(want)[0]
    alone = extract(network, random_gates(network, seed), np.array([7, 2, 4]))
    whole = forward(alone, row[np.newaxis], dtype=np.float64).logits[0]
    np.testing.assert_array_equal(decoded(alone, row, 2, np.float64), whole[1:])


def wide_network(ties: bool = False) -> Network:
    """More channels than one vector instruction takes, and weights that are many to a row."""
    random = np.random.default_rng(4)
    want = replace(PLAIN, ties=ties)
    small = random_network(want)
    d, heads, width, neurons = 50, 6, 5, 130

    def matrix(rows: int, cols: int) -> SparseMatrix:
        dense = random.normal(size=(rows, cols)) * (random.random((rows, cols)) < 0.2)
        if ties:
            dense[1::2] = -dense[: 2 * (rows // 2) : 2]
        return SparseMatrix.from_dense(dense)

    flat = heads * width
    layers = tuple(
        replace(
            layer,
            attn_gain=np.ones(d), mlp_gain=np.ones(d),
            q=matrix(flat, d), k=matrix(flat, d), v=matrix(flat, d), attn_out=matrix(d, flat),
            mlp_in=matrix(neurons, d), mlp_out=matrix(d, neurons),
            q_bias=None, k_bias=None, v_bias=random.normal(size=flat) if not ties else None,
            attn_out_bias=None, mlp_in_bias=None, mlp_out_bias=None,
            sink=random.normal(size=heads),
        )
        for layer in small.layers
    )  # fmt: skip
    topk = {place: {"mlp.neuron": 33, "attn.q": 7, "attn.k": 7}.get(place, 13) for place in PLACES}
    return replace(
        small, n_head=heads, d_head=width, layers=layers, topk=topk, final_gain=np.ones(d),
        embedding=matrix(VOCAB, d), unembedding=matrix(VOCAB, d),
    )  # fmt: skip


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_streams_over_many_chunks(ties: bool, dtype: Any) -> None:
    """300 tokens: several tiles and chunks; a prompt of any length begins the stream."""
    network = wide_network(ties)
    row = np.random.default_rng(0).integers(VOCAB, size=300)
    whole = forward(network, row[np.newaxis], dtype=dtype).logits[0]
    for begin in (1, 64, 129, 260):
        np.testing.assert_array_equal(decoded(network, row, begin, dtype), whole[begin - 1 :])
    if dtype is np.float64:
        exact, _ = dense_forward(network, row[np.newaxis])
        np.testing.assert_allclose(whole, exact[0], rtol=0, atol=1e-9)


def test_a_network_without_layers_decodes() -> None:
    network, row = replace(random_network(PLAIN), layers=()), random_tokens(PLAIN)[0]
    whole = forward(network, row[np.newaxis]).logits[0]
    np.testing.assert_array_equal(decoded(network, row, 2, np.float32), whole[1:])


def test_many_prompts_on_several_threads_are_the_prompts_alone() -> None:
    network = wide_network()
    rows = np.random.default_rng(1).integers(VOCAB, size=(40, 70))
    together = forward(network, rows, dtype=np.float64, attention=True)
    for index in (0, 17, 39):
        alone = forward(network, rows[index : index + 1], dtype=np.float64, attention=True)
        np.testing.assert_array_equal(together.logits[index], alone.logits[0])
        np.testing.assert_array_equal(together.attention[1][index], alone.attention[1][0])


def test_a_cache_is_continued_where_it_ended() -> None:
    network, row = random_network(RICH), random_tokens(RICH)[0]
    kind = np.dtype(np.float64)
    whole, pieces = (Cache.allocate(network, CONTEXT, kind) for _ in range(2))
    final = extend(network, whole, row)
    for first, last in ((0, 1), (1, 4), (4, CONTEXT)):
        piece = extend(network, pieces, row[first:last])
    np.testing.assert_array_equal(piece, final)
    np.testing.assert_array_equal(pieces.keys, whole.keys)
    np.testing.assert_array_equal(pieces.values, whole.values)
    assert pieces.length == whole.length == CONTEXT


LEVELS = st.integers(1, 12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 40), LEVELS, st.booleans())
def test_every_abstopk_keeps_the_same(
    seed: int, rows: int, width: int, levels: int, narrow: bool
) -> None:
    """Few levels, so that ties and zeros abound; against a stable sort."""
    random = np.random.default_rng(seed)
    kind = np.float32 if narrow else np.float64
    x: Floats = (random.integers(-levels, levels + 1, (rows, width)) / 3).astype(kind)
    k = int(random.integers(1, width + 1))
    order = np.argsort(-np.abs(x), axis=1, kind="stable")[:, :k]
    wanted = np.zeros(x.shape, dtype=np.bool_)
    np.put_along_axis(wanted, order, True, axis=1)
    np.testing.assert_array_equal(keep_largest(x, k), wanted)
    tiles = to_tiles(x)
    zero_rest(tiles, k)
    np.testing.assert_array_equal(to_rows(tiles, rows), x * wanted)
    first = x[0].copy()
    keep_row(first, k)
    np.testing.assert_array_equal(first, x[0] * wanted[0])


@pytest.mark.parametrize(
    "values",
    [
        np.array([1e-300, 1e300, -1e-300, 5e-324, 0.0, -1e10]),
        np.array([np.inf, 1.0, -np.inf, 2.0, np.inf, 0.0]),
        np.array([np.nan, 1.0, 3.0, -np.inf, 2.0, 0.5]),
        np.arange(1000.0) ** 9,
        np.exp(-np.arange(700.0)),
    ],
)
def test_abstopk_over_every_magnitude(values: NDArray[np.float64]) -> None:
    for k in range(1, len(values), max(1, len(values) // 7)):
        size = np.where(np.isnan(values), np.inf, np.abs(values))
        # NaN stands above infinity.
        order = np.lexsort((np.arange(len(values)), -size, ~np.isnan(values)))[:k]
        np.testing.assert_array_equal(np.flatnonzero(keep_largest(values, k)), np.sort(order))


def test_float32_exp_is_exact_to_rounding() -> None:
    """Through the softmax: one key, its weight against a sink of logit zero."""
    import numba

    @numba.njit
    def exps(x: Any, out: Any) -> None:
        for i in range(len(x)):
            out[i] = exp(x[i])

    for kind, least, error in ((np.float32, -87, 2e-7), (np.float64, -708, 4e-16)):
        x = np.linspace(least, 0, 200_001).astype(kind)
        out = np.empty_like(x)
        exps(x, out)
        np.testing.assert_allclose(out, np.exp(x.astype(np.longdouble)), rtol=error)
        exps(np.array([-np.inf, least - 1, 0], dtype=kind), out[:3])
        np.testing.assert_array_equal(out[:3], [0, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_is_what_is_really_taken(dtype: Any) -> None:
    network = wide_network()
    length, batch = 400, 3
    row = np.random.default_rng(0).integers(VOCAB, size=390)
    told = memory(network, length=length, batch=batch, dtype=dtype)
    assert Decoder(network, dtype=dtype).open(row[:5], length)
    tracemalloc.start()
    try:
        decoder = Decoder(network, dtype=dtype)
        assert sum(a.nbytes for a in decoder.plan.arrays()) == told.plan
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        streams = [decoder.open(row, length)[0] for _ in range(batch)]
        for stream in streams:
            stream.push(3)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert 0.8 * (told.cache + told.work) < peak < 1.1 * (told.cache + told.work)
    assert told.total == told.network + told.plan + told.cache + told.work
