"""AbsTopK on the GPU: Triton kernels that read a row once and keep it in registers.

Magnitudes are compared as the integers that their bits spell, as on the CPU
(`engine/abstopk.py`): the k-th largest of a row, its border, is found by bisection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

WIDEST = 1 << 16
"""Longest row that fits into the registers of one program."""


@dataclass(frozen=True)
class Bits:
    """How a float type is read as an integer: `size = word & magnitude`, compared as `compared`.

    `octave`: distance of the integers of x and 2x. `width`: bits of a magnitude.
    """

    word: torch.dtype
    compared: Any
    width: int
    octave: int

    @property
    def magnitude(self) -> int:
        return (1 << self.width) - 1

    @property
    def sign(self) -> int:
        """Place of the sign bit in `compared`."""
        return max(31, self.width)

    @property
    def infinity(self) -> int:
        return self.magnitude // self.octave * self.octave


def bits_of(dtype: torch.dtype) -> Bits:
    """The layout of a float type."""
    if dtype == torch.float64:
        return Bits(torch.int64, tl.int64, 63, 1 << 52)
    if dtype == torch.float32:
        return Bits(torch.int32, tl.int32, 31, 1 << 23)
    return Bits(torch.int16, tl.int32, 15, 1 << 7 if dtype == torch.bfloat16 else 1 << 10)


@triton.jit  # type: ignore[untyped-decorator]
def find_border(
    size: tl.tensor, k: tl.tensor, width: tl.tensor, OCTAVE: tl.constexpr, SIGN: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """(border, reach, beyond), each (rows): at least k magnitudes of a row are >= its border.

    `size` (rows, block) holds `width` magnitudes and -1 elsewhere. `reach` entries are >= the
    border; unless they are k, the border is the k-th largest and `beyond` entries are above it.
    """
    block: tl.constexpr = size.shape[1]
    high = tl.max(size, 1)
    low = tl.zeros_like(high)
    reach = low.to(tl.int32) + width  # entries >= low: at least k
    beyond = low.to(tl.int32)  # entries > high: fewer than k
    # The k-th largest is usually within a few octaves of the largest: try there first.
    middle = tl.maximum(high - 8 * OCTAVE, high - ((high - low) >> 1))
    while tl.max(tl.where(reach == k, 0, high - low)) > 0:
        # Counting by sign bits takes fewer instructions than counting comparisons.
        count = block + tl.sum(((size - middle[:, None]) >> SIGN).to(tl.int32), 1)
        enough = count >= k
        low = tl.where(enough, middle, low)
        reach = tl.where(enough, count, reach)
        high = tl.where(enough, high, middle - 1)
        beyond = tl.where(enough, beyond, count)
        middle = high - ((high - low) >> 1)
    return low, reach, beyond


@triton.jit  # type: ignore[untyped-decorator]
def keep_largest(
    size: tl.tensor, k: tl.tensor, width: tl.tensor, OCTAVE: tl.constexpr, SIGN: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Which k magnitudes survive in every row of `size`, and the border that they reach.

    Of those equal to the border only the first survive, so that they are k (design §6).
    """
    border, reach, beyond = find_border(size, k, width, OCTAVE, SIGN)
    keep = size >= border[:, None]
    if tl.max(reach) > k:
        equal = (size == border[:, None]).to(tl.int32)
        ties = tl.where(reach == k, width, k - beyond)
        keep = keep & ((size > border[:, None]) | (tl.cumsum(equal, 1) <= ties[:, None]))
    return keep, border


@triton.jit  # type: ignore[untyped-decorator]
def _abs_top_k(
    x: tl.tensor,
    row_stride: tl.tensor,
    y: tl.tensor,
    marks: tl.tensor,
    rows: tl.tensor,
    k: tl.tensor,
    WIDTH: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    OCTAVE: tl.constexpr,
    COMPARED: tl.constexpr,
    SIGN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Into `y` the rows of `x`, zeros where they do not survive, and into `marks` 1 where they do.

    WIDTH entries of a row, followed by nothing up to BLOCK; a program takes ROWS rows.
    """
    row = (tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS))[:, None]
    place = tl.arange(0, BLOCK)[None, :]
    inside = place < WIDTH
    if ROWS > 1:
        inside = inside & (row < rows)
    word = tl.load(x + row * row_stride + place, mask=inside, other=0)
    size = tl.where(inside, word.to(COMPARED) & MAGNITUDE, -1)
    keep, _ = keep_largest(size, k, WIDTH, OCTAVE, SIGN)
    tl.store(y + row * WIDTH + place, tl.where(keep, word, 0), mask=inside)
    tl.store(marks + row * WIDTH + place, keep.to(tl.int8), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _reach(raised: tl.tensor, border: tl.tensor) -> tl.tensor:
    """1 in each half of a word where its magnitude, raised by 2^15, is >= the border."""
    return ((raised - border * 0x10001) >> 15) & 0x10001


@triton.jit  # type: ignore[untyped-decorator]
def _abs_top_k_of_pairs(
    x: tl.tensor,
    row_stride: tl.tensor,
    y: tl.tensor,
    marks: tl.tensor,
    k: tl.tensor,
    PAIRS: tl.constexpr,
    OCTAVE: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The same for 2-byte floats, two of which share a register: half the instructions.

    The first of two is the lower half of a word. Raised magnitudes never borrow from each other,
    and fewer than 2^15 pairs can be counted in the halves of one word.
    """
    row = tl.program_id(0).to(tl.int64)
    pair = tl.arange(0, BLOCK)
    inside = pair < PAIRS
    word = tl.load(x + row * row_stride + pair, mask=inside, other=0)
    size = word & 0x7FFF7FFF
    raised = size | -0x7FFF8000
    high = tl.max(tl.maximum(size & 0xFFFF, size >> 16))
    low = high * 0
    reach = low + 2 * PAIRS
    beyond = low
    middle = tl.maximum(high - 8 * OCTAVE, high - (high >> 1))
    while (high > low) & (reach != k):
        both = tl.sum(_reach(raised, middle))
        count = (both & 0xFFFF) + (both >> 16)
        if count >= k:
            low = middle
            reach = count
        else:
            high = middle - 1
            beyond = count
        middle = high - ((high - low) >> 1)
    keep = _reach(raised, low)
    if reach > k:
        ties = k - beyond
        above = _reach(raised, low + 1)
        equal = keep ^ above
        second = equal >> 16
        number = tl.cumsum((equal & 1) + second, 0)
        late = tl.where(number - second > ties, 0x10001, 0x10000)
        keep = keep & (above | ~tl.where(number > ties, late, 0))
    tl.store(y + row * PAIRS + pair, word & (keep * 0xFFFF), mask=inside)
    tl.store(marks + row * PAIRS + pair, (keep | (keep >> 8)).to(tl.int16), mask=inside)


def abs_top_k_with_marks(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`x` (..., d) with all but the k largest magnitudes of a row zeroed, and who survived (bool).

    1 <= k <= d <= `WIDEST`. Larger magnitude first, then lower index; NaN counts as larger than
    everything.
    """
    width = x.shape[-1]
    rows = x.reshape(-1, width)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    marks = torch.empty(x.shape, dtype=torch.bool, device=x.device)
    if not x.numel():
        return y, marks
    bits = bits_of(x.dtype)
    even = all(n % 2 == 0 for n in (width, rows.stride(0), rows.storage_offset()))
    if x.element_size() == 2 and even and width < WIDEST:
        pairs = width // 2
        _abs_top_k_of_pairs[(len(rows),)](
            rows.view(torch.int32),
            rows.stride(0) // 2,
            y.view(torch.int32),
            marks.view(torch.int16),
            k,
            PAIRS=pairs,
            OCTAVE=bits.octave,
            BLOCK=triton.next_power_of_2(pairs),
            num_warps=warps(pairs),
        )
        return y, marks
    block = triton.next_power_of_2(width)
    together = max(1, 1024 // block)
    _abs_top_k[(triton.cdiv(len(rows), together),)](
        rows.view(bits.word),
        rows.stride(0),
        y.view(bits.word),
        marks.view(torch.int8),
        len(rows),
        k,
        WIDTH=width,
        MAGNITUDE=bits.magnitude,
        OCTAVE=bits.octave,
        COMPARED=bits.compared,
        SIGN=bits.sign,
        ROWS=together,
        BLOCK=block,
        num_warps=warps(together * block),
    )
    return y, marks


def warps(entries: int) -> int:
    """Warps of a program that holds so many numbers: 16 for each thread, as far as that goes."""
    power: int = triton.next_power_of_2(entries)
    return min(32, max(1, power // 512))
