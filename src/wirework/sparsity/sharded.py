"""Projection of matrices whose rows lie on several processes: that of the whole matrix, exactly.

Every process holds some consecutive rows, process after process, as FSDP2 cuts a matrix: perhaps
not equally many, perhaps none. Nobody holds the whole: what is exchanged are counts, and for the
floor of a neuron whose weights are a column, that column's few largest magnitudes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch import distributed as dist

from wirework.model import ProjectedMatrix
from wirework.model.abstopk import keep_factor
from wirework.sparsity.projection import kept_count

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_DIGIT = 11
"""Bits of the magnitude that one exchange decides: 2,048 counts for each matrix."""

_MAGNITUDE = {
    torch.bfloat16: (torch.int16, 15),
    torch.float32: (torch.int32, 31),
    torch.float64: (torch.int64, 63),
}


@dataclass(frozen=True)
class Shard:
    """This process's rows (rows, columns) of one matrix, and what `projection_factor` is told.

    `k` is at most the number of weights of the whole matrix.
    """

    rows: Tensor
    k: int
    floor: int
    neuron_axis: int | None


def as_sharded(tensor: Tensor) -> DTensor | None:
    """The tensor if its rows lie on several processes."""
    if type(tensor) in (Tensor, nn.Parameter):
        return None  # without the half second that the import takes
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


def local_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, all of it where it is not sharded; no copy."""
    sharded = as_sharded(tensor)
    if sharded is None:
        return tensor
    with torch.no_grad():
        return sharded.to_local()


@torch.no_grad()
def project_sharded(wanted: Sequence[tuple[ProjectedMatrix, float]], floor: int) -> None:
    """`project` for matrices that are `DTensor`s cut by rows: all (matrix, density) together.

    Every process of their mesh calls it with the same list.
    """
    sparse = [(matrix, density) for matrix, density in wanted if density < 1]
    if not sparse:
        return
    shards = []
    for matrix, density in sparse:
        k = kept_count(matrix.weight.numel(), density)
        shards.append(Shard(local_part(matrix.weight), k, floor, matrix.neuron_axis))
    first = as_sharded(sparse[0][0].weight)
    assert first is not None
    factors = sharded_factors(shards, first.device_mesh.get_group())
    torch._foreach_mul_([shard.rows for shard in shards], factors)


@torch.no_grad()
def sharded_factors(shards: Sequence[Shard], group: dist.ProcessGroup) -> list[Tensor]:
    """For every matrix the rows of its `projection_factor` that this process holds.

    Collective over `group`, whose processes hold the rows in the order of their ranks. All
    matrices go through each exchange together: one for the floors, three for the thresholds in
    float32 (six in float64), one for the ties.
    """
    keys = [_magnitudes(shard.rows) for shard in shards]
    for key, forced in zip(keys, _forced(shards, group), strict=True):
        key[forced] = int(_magnitudes(torch.full((1,), math.inf, dtype=shards[0].rows.dtype)))
    bits = _MAGNITUDE[shards[0].rows.dtype][1]
    thresholds, ties_wanted = _thresholds(keys, bits, [shard.k for shard in shards], group)
    # Among equal magnitudes the lower index survives: those of the processes before come first.
    ties = [key == threshold for key, threshold in zip(keys, thresholds, strict=True)]
    before = _counts_before(torch.stack([tie.count_nonzero() for tie in ties]), group)
    factors = []
    for shard, key, tie, threshold, want, taken in zip(
        shards, keys, ties, thresholds, ties_wanted, before, strict=True
    ):
        kept = key > threshold
        kept.view(-1)[tie.flatten().nonzero().flatten()[: max(0, want - taken)]] = True
        factors.append(kept.to(shard.rows.dtype))
    return factors


def _magnitudes(x: Tensor) -> Tensor:
    """Whole numbers that are ordered as the magnitudes of `x` are: their bits, without the sign."""
    kind, bits = _MAGNITUDE[x.dtype]
    bits_of_x: Tensor = x.contiguous().view(kind)
    return bits_of_x.bitwise_and(2**bits - 1)


def _thresholds(
    keys: list[Tensor], bits: int, ks: list[int], group: dist.ProcessGroup
) -> tuple[list[int], list[int]]:
    """The k-th largest key of every matrix, and how many keys equal to it are among its k largest.

    Digit by digit from the top: count how many of the keys that share the digits found so far go
    on with which digit, add the counts of all processes, and walk down to the k-th.
    """
    wanted = list(ks)
    found = [0] * len(keys)
    candidates = [key.flatten() for key in keys]
    while bits:
        width = min(_DIGIT, bits)
        bits -= width
        digits = [(key >> bits) & (2**width - 1) for key in candidates]
        counts = torch.stack([torch.bincount(digit, minlength=2**width) for digit in digits])
        dist.all_reduce(counts, group=group)
        from_above = counts.flip(1).cumsum(1).cpu()
        for index, want in enumerate(wanted):
            place = int(torch.searchsorted(from_above[index], want))
            digit = 2**width - 1 - place
            wanted[index] = want - (int(from_above[index, place - 1]) if place else 0)
            found[index] = (found[index] << width) | digit
            candidates[index] = candidates[index][digits[index] == digit]
    return found, wanted


def _counts_before(counts: Tensor, group: dist.ProcessGroup) -> list[int]:
    """Sums of `counts` over the processes before this one."""
    return [int(c) for c in _gather(counts, group)[: dist.get_rank(group)].sum(0)]


def _gather(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """`x` of every process, in the order of their ranks: (processes, *shape of x)."""
    everyone = [torch.empty_like(x) for _ in range(dist.get_world_size(group))]
    dist.all_gather(everyone, x, group=group)
    return torch.stack(everyone)


def _forced(shards: Sequence[Shard], group: dist.ProcessGroup) -> list[Tensor]:
    """Which of this process's weights are among the `floor` largest of their neuron."""
    masks = [torch.zeros(s.rows.shape, dtype=torch.bool, device=s.rows.device) for s in shards]
    split = []
    for shard, mask in zip(shards, masks, strict=True):
        if shard.floor and shard.neuron_axis == 0 and shard.rows.numel():
            # A neuron is a row, and every row lies on one process.
            kept = keep_factor(shard.rows.abs(), min(shard.floor, shard.rows.shape[1]))
            mask.copy_(kept)
        elif shard.floor and shard.neuron_axis == 1:
            split.append((shard, mask))
    if not split:
        return masks
    ranked = [_largest_of_columns(shard) for shard, _ in split]
    everyone = _gather(torch.cat([magnitudes.flatten() for magnitudes, _ in ranked]), group)
    start = 0
    for (_, mask), (magnitudes, rows) in zip(split, ranked, strict=True):
        columns, floor = magnitudes.shape
        theirs = everyone[:, start : start + columns * floor].view(-1, columns, floor)
        start += columns * floor
        # Processes stand in the order of their rows, so a stable sort keeps the tie rule.
        order = theirs.transpose(0, 1).flatten(1).sort(dim=-1, descending=True, stable=True).indices
        mine = (order[:, :floor] // floor == dist.get_rank(group)).sum(1)
        chosen = (torch.arange(floor, device=mine.device) < mine[:, None]) & (magnitudes >= 0)
        column = torch.arange(columns, device=mine.device)[:, None].expand_as(rows)
        mask[rows[chosen], column[chosen]] = True
    return masks


def _largest_of_columns(shard: Shard) -> tuple[Tensor, Tensor]:
    """Of every column the `floor` largest magnitudes among these rows, as keys, and their rows.

    Both (columns, floor), largest first, ties by row; -1 where there are fewer rows.
    """
    rows, columns = shard.rows.shape
    count = min(shard.floor, rows)
    magnitudes = _magnitudes(shard.rows)
    place = torch.zeros((columns, 0), dtype=torch.long, device=shard.rows.device)
    if count:
        marks = keep_factor(shard.rows.abs().T.contiguous(), count)
        place = marks.nonzero()[:, 1].view(columns, count)
    found = magnitudes.T.gather(1, place)
    order = found.sort(dim=-1, descending=True, stable=True).indices
    missing = (0, shard.floor - count)
    return (
        torch.nn.functional.pad(found.gather(1, order), missing, value=-1),
        torch.nn.functional.pad(place.gather(1, order), missing, value=-1),
    )
