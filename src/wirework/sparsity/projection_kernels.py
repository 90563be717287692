"""Triton kernels of the projection; `projection_cuda.py` says how they follow each other.

Magnitudes are the integers that the bits of |x| spell, as in `model/abstopk_cuda.py`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from wirework.model.abstopk_cuda import find_border, keep_largest


@triton.jit(do_not_specialize=["fewer", "more"])  # type: ignore[untyped-decorator]
def guess_between(
    weight: tl.tensor,
    numel: tl.tensor,
    stride: tl.tensor,
    taken: tl.tensor,
    fewer: tl.tensor,
    more: tl.tensor,
    guess: tl.tensor,
    MAGNITUDE: tl.constexpr,
    OCTAVE: tl.constexpr,
    COMPARED: tl.constexpr,
    SIGN: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Into `guess` (2): the magnitudes of rank `more` and rank `fewer` of `taken` samples."""
    number = tl.arange(0, BLOCK)[None, :]
    at = number.to(tl.int64) * stride % numel
    word = tl.load(weight + at, mask=number < taken, other=0)
    size = tl.where(number < taken, word.to(COMPARED) & MAGNITUDE, -1)
    low, _, _ = find_border(size, more, taken, OCTAVE, SIGN)
    high, _, _ = find_border(size, fewer, taken, OCTAVE, SIGN)
    tl.store(guess + tl.arange(0, 1), low)
    tl.store(guess + 1 + tl.arange(0, 1), high)


@triton.jit  # type: ignore[untyped-decorator]
def count_beyond(
    weight: tl.tensor,
    neuron_stride: tl.tensor,
    place_stride: tl.tensor,
    neurons: tl.tensor,
    width: tl.tensor,
    floor: tl.tensor,
    border: tl.tensor,
    cut: tl.tensor,
    guess: tl.tensor,
    counts: tl.tensor,
    FLOOR: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    INFINITY: tl.constexpr,
    OCTAVE: tl.constexpr,
    COMPARED: tl.constexpr,
    SIGN: tl.constexpr,
    NEURONS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """The floor of every neuron: its weights above `border` and those equal to it at a place up to
    `cut`. Into `counts[:2]`: how many weights are above the guess, and how many not below it."""
    neuron = tl.program_id(0) * NEURONS + tl.arange(0, NEURONS)
    place = tl.arange(0, BLOCK)[None, :]
    inside = (neuron < neurons)[:, None] & (place < width)
    at = neuron.to(tl.int64)[:, None] * neuron_stride + place.to(tl.int64) * place_stride
    word = tl.load(weight + at, mask=inside, other=0)
    size = tl.where(inside, word.to(COMPARED) & MAGNITUDE, -1)
    if FLOOR:
        keep, least = keep_largest(size, floor, width, OCTAVE, SIGN)
        last = tl.max(tl.where(keep & (size == least[:, None]), place, -1), 1)
        tl.store(border + neuron, least, mask=neuron < neurons)
        tl.store(cut + neuron, last, mask=neuron < neurons)
        size = tl.where(keep, INFINITY, size)
    above = tl.sum((size > tl.load(guess + 1).to(COMPARED)).to(tl.int32))
    reach = tl.sum((size >= tl.load(guess).to(COMPARED)).to(tl.int32))
    tl.atomic_add(counts, above.to(tl.int64), sem="relaxed")
    tl.atomic_add(counts + 1, reach.to(tl.int64), sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def _load_sizes(
    weight: tl.tensor,
    row: tl.tensor,
    column: tl.tensor,
    columns: tl.tensor,
    border: tl.tensor,
    cut: tl.tensor,
    AXIS: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    INFINITY: tl.constexpr,
    COMPARED: tl.constexpr,
) -> tl.tensor:
    """Magnitudes of one row at some columns, -1 outside. An infinite magnitude always survives, so
    the floor of the neurons (rows where AXIS is 0, columns where it is 1) counts as infinite."""
    inside = column < columns
    word = tl.load(weight + tl.cast(row, tl.int64) * columns + column, mask=inside, other=0)
    size = tl.where(inside, word.to(COMPARED) & MAGNITUDE, -1)
    if AXIS == 0:
        least = tl.load(border + row)
        forced = (size > least) | ((size == least) & (column <= tl.load(cut + row)))
        size = tl.where(forced, INFINITY, size)
    if AXIS == 1:
        least = tl.load(border + column, mask=inside, other=MAGNITUDE)
        last = tl.load(cut + column, mask=inside, other=-1)
        size = tl.where((size > least) | ((size == least) & (row <= last)), INFINITY, size)
    return size


@triton.jit(do_not_specialize=["k"])  # type: ignore[untyped-decorator]
def collect(
    weight: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    border: tl.tensor,
    cut: tl.tensor,
    k: tl.tensor,
    guess: tl.tensor,
    counts: tl.tensor,
    found: tl.tensor,
    state: tl.tensor,
    AXIS: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    INFINITY: tl.constexpr,
    COMPARED: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """Into `found`: the `counts[2]` magnitudes, in any order, among which the k-th largest is.
    Into `state[:2]`: no digits yet, and its rank among them."""
    low, high = tl.load(guess).to(COMPARED), tl.load(guess + 1).to(COMPARED)
    above, reach = tl.load(counts), tl.load(counts + 1)
    if above >= k:
        low, high, above = high + 1, high * 0 + MAGNITUDE, above * 0
    elif reach < k:
        low, high, above = low * 0, low - 1, reach
    first = (tl.program_id(0) == 0) & (tl.program_id(1) == 0)
    tl.store(state, above * 0, mask=first)
    tl.store(state + 1, k - above, mask=first)
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    for row in range(tl.program_id(1), rows, tl.num_programs(1)):
        size = _load_sizes(
            weight, row, column, columns, border, cut, AXIS, MAGNITUDE, INFINITY, COMPARED
        )
        mine = (size >= low) & (size <= high)
        place = tl.cumsum(mine.to(tl.int32), 0) - 1
        number = tl.sum(mine.to(tl.int32))
        if number > 0:
            start = tl.atomic_add(counts + 2, number.to(tl.int64), sem="relaxed")
            tl.store(found + start + place, size, mask=mine)


@triton.jit  # type: ignore[untyped-decorator]
def _decide(
    digits: tl.tensor, prefix: tl.tensor, rank: tl.tensor, BITS: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor]:
    """From the counts of a digit's values: the digit of the k-th largest, appended to `prefix`,
    its rank among those that share it, and how many these are."""
    digit = tl.arange(0, 1 << BITS)
    count = tl.load(digits + digit)
    reach = tl.sum(count) - tl.cumsum(count, 0) + count
    chosen = tl.sum((reach >= rank).to(tl.int32)) - 1
    beyond = tl.max(tl.where(digit > chosen, reach, 0))
    equal = tl.sum(tl.where(digit == chosen, count, 0))
    return (prefix << BITS) | chosen, rank - beyond, equal


@triton.jit  # type: ignore[untyped-decorator]
def count_digit(
    found: tl.tensor,
    counts: tl.tensor,
    state: tl.tensor,
    before: tl.tensor,
    digits: tl.tensor,
    FIRST: tl.constexpr,
    BEFORE: tl.constexpr,
    BITS: tl.constexpr,
    SHIFT: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """Into `digits`: how often each value of the next BITS bits occurs among the magnitudes whose
    earlier bits are those of the k-th largest. `before`: the same of the BEFORE bits before."""
    prefix, rank = tl.load(state), tl.load(state + 1)
    if not FIRST:
        prefix, rank, _ = _decide(before, prefix, rank, BEFORE)
        if tl.program_id(0) == 0:
            tl.store(state + 2, prefix)
            tl.store(state + 3, rank)
    prefix = prefix.to(found.dtype.element_ty)
    total = tl.load(counts + 2)
    count = tl.zeros([1 << BITS], tl.int32)
    for tile in range(tl.program_id(0), tl.cdiv(total, TILE), tl.num_programs(0)):
        at = tile * TILE + tl.arange(0, TILE)
        size = tl.load(found + at, mask=at < total, other=-1)
        digit = ((size >> SHIFT) & ((1 << BITS) - 1)).to(tl.int32)
        count += tl.histogram(digit, 1 << BITS, mask=(size >> (SHIFT + BITS)) == prefix)
    tl.atomic_add(
        digits + tl.arange(0, 1 << BITS), count.to(tl.int64), mask=count > 0, sem="relaxed"
    )


@triton.jit  # type: ignore[untyped-decorator]
def count_ties(
    weight: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    border: tl.tensor,
    cut: tl.tensor,
    state: tl.tensor,
    before: tl.tensor,
    ties: tl.tensor,
    AXIS: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    INFINITY: tl.constexpr,
    COMPARED: tl.constexpr,
    TILE: tl.constexpr,
    BEFORE: tl.constexpr,
) -> None:
    """Into `state[2:5]`: the k-th largest magnitude of all, how many equal to it survive, and
    whether these are not all; only then into `ties`, how many of them each tile holds."""
    last, rank, equal = _decide(before, tl.load(state), tl.load(state + 1), BEFORE)
    first = (tl.program_id(0) == 0) & (tl.program_id(1) == 0)
    tl.store(state + 2, last, mask=first)
    tl.store(state + 3, rank, mask=first)
    tl.store(state + 4, (equal > rank).to(tl.int64), mask=first)
    last = last.to(COMPARED)
    if equal > rank:
        column = tl.program_id(0) * TILE + tl.arange(0, TILE)
        for row in range(tl.program_id(1), rows, tl.num_programs(1)):
            size = _load_sizes(
                weight, row, column, columns, border, cut, AXIS, MAGNITUDE, INFINITY, COMPARED
            )
            tile = row * tl.num_programs(0) + tl.program_id(0)
            tl.store(ties + tile, tl.sum((size == last).to(tl.int32)))


@triton.jit  # type: ignore[untyped-decorator]
def zero_rest(
    weight: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    border: tl.tensor,
    cut: tl.tensor,
    target: tl.tensor,
    state: tl.tensor,
    ties: tl.tensor,
    AXIS: tl.constexpr,
    MAGNITUDE: tl.constexpr,
    INFINITY: tl.constexpr,
    COMPARED: tl.constexpr,
    TILE: tl.constexpr,
) -> None:
    """Zeros into `target` where `weight` does not survive; `ties` are summed up over the tiles."""
    last = tl.load(state).to(COMPARED)
    survive, cutting = tl.load(state + 1), tl.load(state + 2)
    column = tl.program_id(0) * TILE + tl.arange(0, TILE)
    for row in range(tl.program_id(1), rows, tl.num_programs(1)):
        size = _load_sizes(
            weight, row, column, columns, border, cut, AXIS, MAGNITUDE, INFINITY, COMPARED
        )
        lost = size < last
        if cutting != 0:
            equal = (size == last).to(tl.int32)
            tile = row * tl.num_programs(0) + tl.program_id(0)
            number = tl.load(ties + tile) - tl.sum(equal) + tl.cumsum(equal, 0)
            lost = lost | ((size == last) & (number > survive))
        at = tl.cast(row, tl.int64) * columns + column
        tl.store(target + at, 0, mask=lost & (column < columns))
