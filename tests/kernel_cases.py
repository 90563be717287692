"""What the GPU's kernels must do; test_kernels_cuda.py runs it where Triton's interpreter is on.

The interpreter is switched on by an environment variable when Triton is imported, so these tests
have a process of their own. Where there is a GPU they run on it as well, compiled.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from wirework.model.abstopk import keep_factor_plain
from wirework.model.abstopk_cuda import WIDEST, abs_top_k_with_marks
from wirework.sparsity import projection_cuda, projection_factor

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
DTYPES = st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64])
KINDS = st.sampled_from(["smooth", "ties", "mostly zero", "zero", "wide range", "strange"])


def draw(shape: tuple[int, ...], kind: str, dtype: torch.dtype, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=random, dtype=torch.float64)
    if kind == "ties":
        x = (2 * x).round() / 2
    elif kind == "mostly zero":
        x = torch.where(x > 1, x, 0)
    elif kind == "zero":
        x = torch.zeros_like(x)
    elif kind == "wide range":
        x *= 10.0 ** torch.randint(-6, 5, (*shape[:-1], 1), generator=random)
    elif kind == "strange":
        x[..., ::3] = torch.inf
        x[..., ::5] = -torch.nan
        x[..., 1::4] = -0.0
    return x.to(dtype)


def assert_survivors(x: Tensor, k: int) -> None:
    y, marks = abs_top_k_with_marks(x.to(DEVICE), k)
    expected = keep_factor_plain(x, k).bool()
    assert torch.equal(marks.cpu(), expected)
    # As bits: NaN equals NaN, and zero is not minus zero.
    words = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    zeroed = torch.where(expected, x, torch.zeros((), dtype=x.dtype))
    assert torch.equal(y.cpu().view(words), zeroed.view(words))


@settings(max_examples=25)
@given(
    rows=st.integers(1, 9),
    width=st.integers(1, 300),
    share=st.floats(0, 1),
    kind=KINDS,
    dtype=DTYPES,
    seed=st.integers(0, 9),
)
def test_exactly_the_k_largest_survive(
    rows: int, width: int, share: float, kind: str, dtype: torch.dtype, seed: int
) -> None:
    x = draw((rows, width), kind, dtype, seed)
    assert_survivors(x, max(1, round(share * width)))


@pytest.mark.parametrize("kind", ["smooth", "ties", "mostly zero"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    "width", [2048, *(pytest.param(wide, marks=pytest.mark.long) for wide in (10_000, 32_768))]
)
def test_wide_rows(width: int, dtype: torch.dtype, kind: str) -> None:
    assert_survivors(draw((2, width), kind, dtype, 0), width // 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_widest_rows_of_equals(dtype: torch.dtype) -> None:
    for width in (WIDEST - 2, WIDEST):
        assert_survivors(torch.ones(1, width, dtype=dtype), 5)


def test_rows_that_do_not_lie_side_by_side() -> None:
    x = draw((2, 3, 96), "ties", torch.bfloat16, 0)
    for part in x.chunk(3, -1):
        assert_survivors(part, 8)
    assert_survivors(x.transpose(0, 1), 24)
    assert_survivors(x.transpose(1, 2), 2)


def test_the_largest_pattern_of_bits() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        x = torch.full((2, 40), -1, dtype=torch.int16).view(dtype)
        assert_survivors(x, 7)


def test_no_rows() -> None:
    y, marks = abs_top_k_with_marks(torch.zeros(0, 5, device=DEVICE), 2)
    assert y.shape == marks.shape == (0, 5)


@pytest.mark.long
def test_the_operator_is_sound_for_autograd_and_the_compiler() -> None:
    x = draw((5, 40), "ties", torch.float32, 0).to(DEVICE).requires_grad_()
    torch.library.opcheck(torch.ops.wirework.abs_top_k.default, (x, 10))


def test_gradients_pass_where_an_entry_survived() -> None:
    x = draw((5, 40), "mostly zero", torch.float32, 0)
    there = x.to(DEVICE).requires_grad_()
    slope = draw((5, 40), "smooth", torch.float32, 1)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def kept(x: Tensor) -> Tensor:
        y: Tensor = torch.ops.wirework.abs_top_k(x * 2, 10)[0]
        return y

    kept(there).backward(slope.to(DEVICE))  # type: ignore[no-untyped-call]
    assert there.grad is not None
    assert torch.equal(there.grad.cpu(), slope * 2 * keep_factor_plain(x, 10))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that a small matrix has several tiles and is larger than its sample."""
    with monkeypatch.context() as patch:
        patch.setattr(projection_cuda, "_TILE", 128)
        patch.setattr(projection_cuda, "_PROGRAMS", 3)
        patch.setattr(projection_cuda, "_SAMPLE", 128)
        yield


def assert_projection(weight: Tensor, k: int, floor: int, axis: int | None) -> None:
    factor = torch.ones_like(weight, device=DEVICE)
    there = weight.to(DEVICE)
    projection_cuda.zero_rest(factor, there, k, floor, axis)
    expected = projection_factor(weight, k, floor, axis)
    assert torch.equal(factor.cpu(), expected)
    projection_cuda.zero_rest(there, there, k, floor, axis)
    assert torch.equal(there.cpu(), torch.where(expected.bool(), weight, 0))


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=8)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 300),
    share=st.floats(0, 1),
    floor=st.integers(0, 4),
    axis=st.sampled_from([None, 0, 1]),
    kind=KINDS.filter(lambda kind: kind != "strange"),
    dtype=DTYPES,
    seed=st.integers(0, 9),
)
def test_projection_equals_the_definition(
    rows: int, columns: int, share: float, floor: int, axis: int | None, kind: str,
    dtype: torch.dtype, seed: int,
) -> None:  # fmt: skip
    if rows * columns > 1:
        weight = draw((rows, columns), kind, dtype, seed)
        k = min(weight.numel() - 1, max(1, round(share * weight.numel())))
        assert_projection(weight, k, floor, axis)


@pytest.mark.long
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("kind", ["smooth", "mostly zero", "wide range"])
def test_projection_of_larger_matrices(kind: str, axis: int | None) -> None:
    rows, columns = (150, 40) if axis == 1 else (6, 3000)
    weight = draw((rows, columns), kind, torch.float32, 0)
    assert_projection(weight, 1000, 4, axis)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.0), (9.0, 9.0), (0.5, 0.6), (0.0, 9.0)])
def test_a_sample_that_misleads_changes_nothing(
    low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    guess = torch.tensor([low, high]).view(torch.int32).long().to(DEVICE)
    monkeypatch.setattr(projection_cuda, "_guess", lambda matrix, k: guess)
    for k in (10, 390):
        assert_projection(draw((4, 100), "ties", torch.float32, 0), k, 2, 0)


def test_projection_of_a_vector() -> None:
    assert_projection(draw((77,), "ties", torch.float32, 0), 20, 0, None)
