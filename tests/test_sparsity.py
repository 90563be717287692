"""Projection, schedules and the optimizer step."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from wirework.core import WireworkError
from wirework.model import ModelConfig, Transformer
from wirework.sparsity import (
    SparseAdamW,
    SparsityConfig,
    density_at,
    kept_count,
    learning_rate_at,
    projection_factor,
)
from wirework.sparsity.optimizer import global_rms

MATRICES = arrays(
    np.float64, array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.integers(-3, 3).map(float),
)  # fmt: skip
TINY = ModelConfig(
    vocab_size=50, context=8, n_layer=1, d_model=16, n_head=2, d_head=8, d_mlp=32, afrac=0.5
)


def survivors_by_definition(
    weight: np.ndarray[Any, Any], k: int, floor: int, axis: int | None
) -> set[int]:
    """Design §6 and weight_sparse_paper.md §2.4, spelled out with Python's own sort."""
    rows, columns = weight.shape
    place = {(r, c): r * columns + c for r in range(rows) for c in range(columns)}

    def ranked(cells: list[tuple[int, int]]) -> list[tuple[int, int]]:
        return sorted(cells, key=lambda rc: (-abs(weight[rc]), place[rc]))

    kept: list[tuple[int, int]] = []
    if axis is not None:
        for neuron in range(weight.shape[axis]):
            cells = [rc for rc in place if rc[axis] == neuron]
            kept += ranked(cells)[:floor]
    rest = [rc for rc in ranked(list(place)) if rc not in kept]
    return {place[rc] for rc in (kept + rest)[:k]}


@given(
    weight=MATRICES,
    share=st.floats(0.3, 1),
    floor=st.integers(0, 3),
    axis=st.sampled_from([None, 0, 1]),
)
def test_projection_keeps_exactly_what_the_rule_says(
    weight: np.ndarray[Any, Any], share: float, floor: int, axis: int | None
) -> None:
    k = kept_count(weight.size, share)
    if axis is not None:
        across = weight.size // weight.shape[axis]
        k = max(k, weight.shape[axis] * min(floor, across))
    factor = projection_factor(torch.from_numpy(weight), k, floor, axis)
    assert int(factor.sum()) == k
    assert set(np.flatnonzero(factor.numpy())) == survivors_by_definition(weight, k, floor, axis)


def test_floor_that_does_not_fit_names_the_smallest_density_that_works() -> None:
    with pytest.raises(WireworkError, match="density-too-small") as caught:
        SparseAdamW(Transformer(TINY), SparsityConfig(density=0.01), 10)
    hint = caught.value.hint.partition("density=")[2].partition(",")[0]
    SparseAdamW(Transformer(TINY), SparsityConfig(density=float(hint)), 10)


@settings(max_examples=10)
@given(density=st.floats(0.25, 0.9), seed=st.integers(0, 100))
def test_every_step_ends_with_exactly_k_weights_and_every_neuron_its_floor(
    density: float, seed: int
) -> None:
    model = Transformer(TINY, seed=seed)
    config = SparsityConfig(
        lr=1e-2, epsilon=1e-8, density=density, embedding_density=density, anneal_stop=0.5
    )
    optimizer = SparseAdamW(model, config, steps=8)
    draw = torch.Generator().manual_seed(seed)
    for step in range(8):
        tokens = torch.randint(0, 50, (2, 8), generator=draw)
        model(tokens).square().mean().backward()
        optimizer.step(step)
        for matrix in optimizer.matrices:
            share = optimizer.density(step, optimizer.config.final_density(matrix))
            k = kept_count(matrix.weight.numel(), share)
            assert int(matrix.weight.count_nonzero()) == k, matrix.name
            if matrix.neuron_axis is not None:
                by_neuron = matrix.weight.count_nonzero(1 - matrix.neuron_axis)
                assert int(by_neuron.min()) >= 4, matrix.name


def test_density_one_projects_nothing() -> None:
    model = Transformer(TINY)
    optimizer = SparseAdamW(model, SparsityConfig(density=1, embedding_density=1), 4)
    model(torch.zeros(1, 4, dtype=torch.long)).sum().backward()
    optimizer.step(3)
    assert all(m.weight.count_nonzero() == m.weight.numel() for m in optimizer.matrices)


@pytest.mark.parametrize("kind", ["linear", "power", "exponential"])
def test_density_falls_from_one_to_its_target(kind: Any) -> None:
    values = [density_at(i, 1000, 0.02, kind=kind, start=0.01, stop=0.5) for i in range(1001)]
    assert values[0] == 1
    assert all(a >= b for a, b in itertools.pairwise(values))
    assert values[499] > 0.02
    assert values[500:] == [0.02] * 501


def test_linear_density_is_a_straight_line() -> None:
    assert density_at(255, 1000, 0.5, kind="linear", start=0.01, stop=0.5) == pytest.approx(0.75)


def test_learning_rate_warms_up_and_decays_linearly() -> None:
    rates = [learning_rate_at(i, 1000, 2.0, warmup=0.1) for i in range(1000)]
    assert rates[0] == 0
    assert rates[50] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(2.0)
    assert rates[550] == pytest.approx(1.0)
    assert rates[999] < 0.01


def test_coupled_rate_rises_as_one_over_the_root_of_the_density() -> None:
    config = SparsityConfig(density=0.25, embedding_density=0.25, warmup=0)
    optimizer = SparseAdamW(Transformer(TINY), config, 100)
    plain = SparsityConfig(density=0.25, embedding_density=0.25, warmup=0, coupled_lr=False)
    uncoupled = SparseAdamW(Transformer(TINY), plain, 100)
    for step in (0, 20, 40, 60):
        factor = math.sqrt(0.25 / optimizer.density(step, 0.25))
        assert optimizer.learning_rate(step) == pytest.approx(
            factor * uncoupled.learning_rate(step)
        )


def test_gradients_are_normalised_to_rms_one() -> None:
    tensors = [torch.full((3, 4), 2.0), torch.zeros(4)]
    assert global_rms(tensors) == pytest.approx(math.sqrt(48 / 16))
    optimizer = SparseAdamW(Transformer(TINY), SparsityConfig(density=0.5), 4)
    for parameter in optimizer.parameters:
        parameter.grad = torch.full_like(parameter, 7.0)
    optimizer._scale_gradients()
    assert global_rms([p.grad for p in optimizer.parameters if p.grad is not None]) == (
        pytest.approx(1, abs=1e-4)
    )


def test_pruned_weights_can_come_back() -> None:
    model = Transformer(TINY)
    config = SparsityConfig(
        lr=0.5, density=0.3, embedding_density=0.3, anneal_stop=0.01, warmup=0, coupled_lr=False
    )
    optimizer = SparseAdamW(model, config, 4)
    weight = next(m.weight for m in model.projected() if m.name.endswith("mlp.read.weight"))
    seen = []
    for step in range(1, 4):
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(step))
        (weight * noise).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
        seen.append(weight.detach() != 0)
    assert bool((~seen[0] & seen[-1]).any())
