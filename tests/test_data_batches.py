"""Batches: every window once per epoch, and nothing but the step decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.data import Batches


def _tokens(n: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    return np.arange(n, dtype=np.uint16)


def _windows(batches: Batches, epoch: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """All windows of an epoch, for batches of one."""
    first = epoch * batches.windows_per_epoch
    rows = [batches(first + i)[0] for i in range(batches.windows_per_epoch)]
    return np.stack(rows)


@given(st.integers(1, 12), st.integers(0, 60), st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_holds_every_window_once(context: int, more: int, seed: int, epoch: int) -> None:
    tokens = _tokens(context + 1 + more)
    batches = Batches(tokens, batch=1, context=context, seed=seed)
    windows = _windows(batches, epoch)
    # Tokens are their own positions: each row is an unbroken stretch, starts are a stride apart.
    assert (np.diff(windows, axis=1) == 1).all()
    starts = np.sort(windows[:, 0])
    assert (np.diff(starts) == context).all()
    assert 0 <= starts[0] < context
    assert windows.max() < len(tokens)
    # Less than two windows are left out, whatever the offset.
    assert len(tokens) - 1 - len(windows) * context < 2 * context


@given(st.integers(1, 7), st.integers(0, 40))
def test_a_batch_is_a_function_of_the_step(batch: int, step: int) -> None:
    tokens = _tokens(100)
    straight = Batches(tokens, batch=batch, context=8, seed=1)
    for earlier in range(step):
        straight(earlier)
    resumed = Batches(tokens, batch=batch, context=8, seed=1)
    assert (straight(step) == resumed(step)).all()
    singles = Batches(tokens, batch=1, context=8, seed=1)
    expected = [singles(step * batch + i)[0] for i in range(batch)]
    assert (resumed(step) == expected).all()


def test_shape_and_type_from_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("shard") / "train.bin"
    path.write_bytes(_tokens(1000).astype("<u4").tobytes())
    batches = Batches(np.memmap(path, "<u4", "r"), batch=4, context=16, seed=0)
    found = batches(3)
    assert found.shape == (4, 17)
    assert found.dtype == np.int64
    assert batches.windows_per_epoch == 1000 // 16 - 1


def test_order_and_offset_change_with_epoch_and_seed() -> None:
    batches = Batches(_tokens(2000), batch=1, context=16, seed=0)
    other = Batches(_tokens(2000), batch=1, context=16, seed=1)
    first, second = _windows(batches, 0), _windows(batches, 1)
    assert not (first == second).all()
    assert not (first == _windows(other, 0)).all()
    offsets = {int(_windows(batches, epoch)[:, 0].min()) for epoch in range(20)}
    assert len(offsets) > 5


def test_a_split_shorter_than_a_window_is_refused() -> None:
    Batches(_tokens(9), batch=1, context=8, seed=0)
    for n in (0, 8):
        with pytest.raises(WireworkError) as caught:
            Batches(_tokens(n), batch=1, context=8, seed=0)
        assert caught.value.code == "split-too-short"
