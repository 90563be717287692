"""Projection on the GPU: nothing is sorted, and the GPU is never waited for.

A sample says between which two magnitudes the k-th largest probably lies. One pass over the
matrix finds the floor of every neuron and counts what lies above and between; one collects what
lies between; radix select finds the border among these few; the last pass writes the zeros. A
sample that misleads costs time and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from wirework.model.abstopk_cuda import WIDEST, Bits, bits_of, warps
from wirework.sparsity import projection_kernels as kernels

_SAMPLE = 8192
_TILE = 2048
"""Entries of a row that a program looks at together."""

_PROGRAMS = 1024
"""Programs that share a pass: several for each multiprocessor."""

_DIGIT = 8
"""Bits of the border that one look at the collected magnitudes decides."""


def fits(weight: Tensor, neuron_axis: int | None) -> bool:
    """Whether the kernels take this matrix: a neuron has to fit into the registers of a program."""
    columns = weight.shape[-1]
    width = max(columns, weight.numel() // columns) if neuron_axis == 1 else columns
    return weight.is_contiguous() and width <= WIDEST


def zero_rest(target: Tensor, weight: Tensor, k: int, floor: int, neuron_axis: int | None) -> None:
    """Zeros into `target` where `projection_factor(weight, k, floor, neuron_axis)` is zero.

    `target`: contiguous, of weight's shape and dtype; it may be the weight itself. k < numel.
    """
    matrix = _Matrix.of(weight.detach(), floor, neuron_axis)
    told, constants, grid = matrix.told, matrix.constants, matrix.grid
    bits, device = matrix.bits, weight.device
    widths = [min(_DIGIT, bits.width - done) for done in range(0, bits.width, _DIGIT)]
    # Above the guess, not below it, collected; then how often each value of each digit occurs.
    counts = torch.zeros(3 + (len(widths) << _DIGIT), dtype=torch.int64, device=device)
    # Before each digit its prefix and the rank; at last the border, the survivors, whether cut.
    state = torch.empty(2 * len(widths) + 3, dtype=torch.int64, device=device)
    found = torch.empty(weight.numel(), dtype=matrix.border.dtype, device=device)

    guess = _guess(matrix, k)
    _count(matrix, floor, guess, counts)
    kernels.collect[grid](*told, k, guess, counts, found, state, **constants)
    digits, shift = counts, bits.width
    for number, width in enumerate(widths):
        before, digits = digits, counts[3 + (number << _DIGIT) :]
        shift -= width
        kernels.count_digit[(min(_PROGRAMS, triton.cdiv(weight.numel(), _TILE)),)](
            found, counts, state[2 * max(0, number - 1) :], before, digits,
            FIRST=number == 0, BEFORE=_DIGIT, BITS=width, SHIFT=shift, TILE=_TILE,
        )  # fmt: skip
    last = state[2 * len(widths) - 2 :]
    ties = torch.zeros(matrix.rows * grid[0], dtype=torch.int32, device=device)
    kernels.count_ties[grid](*told, last, digits, ties, BEFORE=widths[-1], **constants)
    kernels.zero_rest[grid](*told, target.view(bits.word), last[2:], ties.cumsum(0), **constants)


@dataclass(frozen=True)
class _Matrix:
    """A matrix, and room for the floor of its neurons: see `kernels.count_beyond`."""

    weight: Tensor
    neuron_axis: int | None
    bits: Bits
    border: Tensor
    cut: Tensor

    @classmethod
    def of(cls, weight: Tensor, floor: int, neuron_axis: int | None) -> _Matrix:
        bits = bits_of(weight.dtype)
        weight = weight.view(bits.word).view(-1, weight.shape[-1])
        axis = neuron_axis if floor else None
        neurons = 0 if axis is None else weight.shape[axis]
        kind = torch.int64 if bits.width > 31 else torch.int32
        border = torch.empty(neurons, dtype=kind, device=weight.device)
        cut = torch.empty(neurons, dtype=torch.int32, device=weight.device)
        return cls(weight, axis, bits, border, cut)

    @property
    def rows(self) -> int:
        return self.weight.shape[0]

    @property
    def tile(self) -> int:
        """Not less than a program has threads."""
        power: int = triton.next_power_of_2(self.weight.shape[1])
        return min(_TILE, max(128, power))

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles of a row, and how many programs share the rows."""
        tiles = triton.cdiv(self.weight.shape[1], self.tile)
        return tiles, min(self.rows, max(1, _PROGRAMS // tiles))

    @property
    def told(self) -> tuple[Tensor | int, ...]:
        """What every pass over the matrix is told."""
        return self.weight, *self.weight.shape, self.border, self.cut

    @property
    def constants(self) -> dict[str, Any]:
        """What every pass over the matrix is compiled for."""
        return {
            "AXIS": self.neuron_axis,
            "MAGNITUDE": self.bits.magnitude,
            "INFINITY": self.bits.infinity,
            "COMPARED": self.bits.compared,
            "TILE": self.tile,
        }


def _guess(matrix: _Matrix, k: int) -> Tensor:
    """Two magnitudes between which the k-th largest is, unless the sample is a strange one."""
    numel = matrix.weight.numel()
    taken = min(_SAMPLE, numel)
    rank = k * taken / numel
    spread = 4 * math.sqrt(rank * (1 - k / numel)) + 2
    guess = torch.empty(2, dtype=torch.int64, device=matrix.weight.device)
    kernels.guess_between[(1,)](
        matrix.weight,
        numel,
        numel // taken | 1,  # odd, or all samples would lie in a few columns
        taken,
        max(1, math.floor(rank - spread)),
        min(taken, math.ceil(rank + spread)),
        guess,
        MAGNITUDE=matrix.bits.magnitude,
        OCTAVE=matrix.bits.octave,
        COMPARED=matrix.bits.compared,
        SIGN=matrix.bits.sign,
        BLOCK=_SAMPLE,
        num_warps=warps(_SAMPLE),
    )
    return guess


def _count(matrix: _Matrix, floor: int, guess: Tensor, counts: Tensor) -> None:
    """The first pass: `kernels.count_beyond`."""
    rows, columns = matrix.weight.shape
    by_column = matrix.neuron_axis == 1
    neurons, width = (columns, rows) if by_column else (rows, columns)
    block = triton.next_power_of_2(width)
    # Columns that are neighbours are read together.
    together = max(1, 1024 // block, min(8, 16384 // block) if by_column else 1)
    kernels.count_beyond[(triton.cdiv(neurons, together),)](
        matrix.weight,
        1 if by_column else columns,
        columns if by_column else 1,
        neurons,
        width,
        min(floor, width),
        matrix.border,
        matrix.cut,
        guess,
        counts,
        FLOOR=matrix.neuron_axis is not None,
        MAGNITUDE=matrix.bits.magnitude,
        INFINITY=matrix.bits.infinity,
        OCTAVE=matrix.bits.octave,
        COMPARED=matrix.bits.compared,
        SIGN=matrix.bits.sign,
        NEURONS=together,
        BLOCK=block,
        num_warps=warps(together * block),
    )
