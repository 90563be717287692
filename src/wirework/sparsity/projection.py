"""Projection: keep the k largest magnitudes of a matrix, at least j per neuron, zero the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from wirework.core import WireworkError
from wirework.model import ProjectedMatrix
from wirework.model.abstopk import has_triton, keep_factor


def kept_count(numel: int, density: float) -> int:
    """k of a matrix: int(density * numel) (weight_sparse_paper.md §2.4), at least 1."""
    return max(1, int(density * numel))


def check_floor(matrix: ProjectedMatrix, density: float, floor: int) -> None:
    """Raise `density-too-small` where the floor alone needs more than k weights."""
    if matrix.neuron_axis is None or floor == 0:
        return
    neurons = matrix.weight.shape[matrix.neuron_axis]
    per_neuron = min(floor, matrix.weight.numel() // neurons)
    numel = matrix.weight.numel()
    if kept_count(numel, density) < per_neuron * neurons:
        smallest = math.ceil(1e6 * per_neuron * neurons / numel) / 1e6
        raise WireworkError(
            "density-too-small",
            f"{matrix.name} has {neurons} neurons and each must keep {per_neuron} weights",
            expected=f"density >= {smallest:g}",
            got=f"density = {density:g}",
            hint=f"--set sparsity.density={smallest:g}, or --set sparsity.floor=0",
        )


def projection_factor(weight: Tensor, k: int, floor: int, neuron_axis: int | None) -> Tensor:
    """1 for the weights that survive and 0 for the rest, (rows, columns), in the weight's dtype.

    First the `floor` largest of every neuron (a row where `neuron_axis` is 0, a column where it
    is 1), then the largest of all until k are kept. Ties: larger magnitude first, then lower
    index, row by row (design §6). Exactly k survive where k >= floor * neurons.
    """
    if weight.device.type == "cuda":
        factor = torch.ones_like(weight, memory_format=torch.contiguous_format)
        if _zero_on_gpu(factor, weight, k, floor, neuron_axis):
            return factor
    size = weight.detach().abs()
    if neuron_axis is not None and floor > 0:
        by_neuron = size if neuron_axis == 0 else size.T
        forced = keep_factor(by_neuron, min(floor, by_neuron.shape[1])).bool()
        # An infinite magnitude always survives, so the floor is filled before the rest.
        size = size.masked_fill(forced if neuron_axis == 0 else forced.T, math.inf)
    return keep_factor(size.flatten(), min(k, size.numel())).view_as(weight)


@torch.no_grad()
def project(matrix: ProjectedMatrix, density: float, floor: int) -> None:
    """Write zeros into `matrix.weight`, in place, until `density` is reached."""
    if density >= 1:
        return
    k = kept_count(matrix.weight.numel(), density)
    if not _zero_on_gpu(matrix.weight, matrix.weight, k, floor, matrix.neuron_axis):
        factor = projection_factor(matrix.weight, k, floor, matrix.neuron_axis)
        matrix.weight.mul_(factor)


def _zero_on_gpu(
    target: Tensor, weight: Tensor, k: int, floor: int, neuron_axis: int | None
) -> bool:
    """Zeros into `target` where the weight does not survive; False where no kernel can do that."""
    if weight.device.type != "cuda" or k >= weight.numel() or not has_triton():
        return False
    from wirework.sparsity import projection_cuda

    if not projection_cuda.fits(weight, neuron_axis):
        return False
    projection_cuda.zero_rest(target, weight, k, floor, neuron_axis)
    return True
