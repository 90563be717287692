"""Weights on disk: what is packed comes back, and takes as little room as it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.model import Checkpoint, ModelConfig, Transformer
from wirework.model.packing import halve, pack, pack_bigram, unpack, unpack_bigram, widen

Array = np.ndarray[Any, Any]
NUMBERS = st.one_of(st.just(0.0), st.just(0.0), st.floats(width=32, allow_nan=False))


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=NUMBERS))
def test_sparse_matrices_come_back_bit_for_bit(matrix: Array) -> None:
    back = unpack(pack(matrix), "m")
    assert np.array_equal(back, matrix)
    assert np.array_equal(back[matrix != 0].view(np.uint32), matrix[matrix != 0].view(np.uint32))


def test_gaps_of_any_length_come_back() -> None:
    for gap in (1, 127, 128, 16383, 16384, 3_000_000):
        matrix = np.zeros((2, 2_000_000), dtype=np.float32)
        matrix.reshape(-1)[[gap - 1, gap, 3_999_999]] = 1.5
        assert np.array_equal(unpack(pack(matrix), "m"), matrix)


@pytest.mark.parametrize(("density", "most"), [(1 / 16, 5.1), (1 / 512, 6), (1 / 2048, 6)])
def test_bytes_per_nonzero(density: float, most: float) -> None:
    draw = np.random.default_rng(0)
    matrix = draw.standard_normal((2048, 1024), dtype=np.float32)
    matrix *= draw.random(matrix.shape) < density
    count = np.count_nonzero(matrix)
    assert sum(part.nbytes for part in pack(matrix).values()) / count < most
    halves = torch.from_numpy(matrix).bfloat16().float().numpy()
    assert sum(part.nbytes for part in pack(halves).values()) / count < most - 2


def test_halving_never_loses_a_bit() -> None:
    whole = np.asarray([1.0, -0.5, 3e38, 0.0], dtype=np.float32)
    kept = torch.from_numpy(whole).bfloat16().float().numpy()
    assert halve(kept).dtype == np.uint16
    back = widen(halve(kept))
    assert back is not None
    assert np.array_equal(back, kept)
    assert halve(np.asarray([1 / 3], dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("fault", ["values", "gaps", "shape", "open"])
def test_damaged_parts_are_refused(fault: str) -> None:
    matrix = np.zeros((6, 300), dtype=np.float32)
    matrix[2, 7] = matrix[5, 290] = 2.5
    parts = pack(matrix)
    if fault == "values":
        parts["values"] = parts["values"][:1]
    elif fault == "gaps":
        parts["gaps"] = np.zeros(2, dtype=np.uint8)
    elif fault == "shape":
        parts["shape"] = np.asarray([6, 3], dtype=np.int64)
    else:
        parts["gaps"][-1] |= 128
    with pytest.raises(WireworkError, match="checkpoint-damaged"):
        unpack(parts, "m")


def _counted(size: int) -> Array:
    """Log-probabilities of smoothed counts, as training starts from them."""
    draw = np.random.default_rng(1)
    share = 1 / np.arange(1, size + 1)
    counts = draw.poisson(50 * share * draw.permuted(np.tile(share, (size, 1)), axis=1) * size)
    unigram = (counts.sum(0) + 1) / (counts.sum() + size)
    table: Array = np.log((counts + 4 * unigram) / (counts.sum(1, keepdims=True) + 4))
    return table.astype(np.float32)


def test_a_counted_bigram_table_takes_a_byte_for_what_stands_out() -> None:
    table = _counted(128)
    parts = pack_bigram(table)
    back = unpack_bigram(parts, "bigram")
    share = np.exp(table)
    loss = -(share * back).sum(1) + np.log(np.exp(back).sum(1))
    assert (loss + (share * table).sum(1)).mean() < 0.02  # nats of divergence
    assert sum(part.nbytes for part in parts.values()) < table.nbytes / 3


def test_a_rounded_checkpoint_is_kept_exactly(tmp_path: Path) -> None:
    config = ModelConfig(
        vocab_size=260, context=8, n_layer=1, d_model=16, n_head=2, d_head=4, d_mlp=32
    )
    model = Transformer(config)
    with torch.no_grad():
        for matrix in model.projected():
            # Zeros of either sign, as an optimizer leaves them: the file keeps none.
            matrix.weight[torch.rand(matrix.weight.shape) < 0.8] *= 0
        assert any(bool((-1 / matrix.weight).isposinf().any()) for matrix in model.projected())
    tokenizer = Tokenizer.train(["a b c " * 50], 260)
    first = Checkpoint(model, tokenizer, {}, 3)
    stored = first.save(tmp_path / "small", dtype="bfloat16")
    loaded = Checkpoint.load(tmp_path / "small")
    assert loaded.hash() == stored.hash() != first.hash()
    assert first.save(tmp_path / "exact").hash() == first.hash()
    assert Checkpoint.load(tmp_path / "exact").hash() == first.hash()
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "exact")]
    assert sizes[0] < sizes[1] / 2
