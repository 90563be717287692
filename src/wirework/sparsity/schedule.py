"""What changes from step to step: the learning rate and how many weights may be nonzero."""

from __future__ import annotations

import math
from typing import Literal

Anneal = Literal["linear", "power", "exponential"]


def progress_between(step: int, steps: int, start: float, stop: float) -> float:
    """How far `step` is from `start * steps` to `stop * steps`, in [0, 1]."""
    if stop <= start:
        return 1.0
    return min(1.0, max(0.0, (step / steps - start) / (stop - start)))


def density_at(
    step: int,
    steps: int,
    final: float,
    *,
    kind: Anneal,
    start: float,
    stop: float,
    exponent: float = 1.0,
) -> float:
    """Share of weights that may be nonzero after this step: 1 before `start`, `final` from `stop`.

    `linear` in the share, or of power `exponent`; `power`: log-log linear in the step;
    `exponential`: final ** progress (weight_sparse_paper.md §2.2, §2.4, §10.2). With
    `stop <= start` it is `final` throughout.
    """
    progress = progress_between(step, steps, start, stop)
    if progress <= 0:
        return 1.0
    if progress >= 1:
        return final
    if kind == "linear":
        return final + (1 - final) * math.pow(1 - progress, exponent)
    if kind == "exponential":
        return float(final**progress)
    first, last = max(1.0, start * steps), max(2.0, stop * steps)
    along = math.log(max(step, first) / first) / math.log(last / first)
    return float(final**along)


def linked_density(block: float, block_final: float, final: float) -> float:
    """Density of an embedding that is as far on its way from 1 to `final` as the blocks are.

    The published code interpolates so (§2.4); under the linear anneal it is what `density_at`
    gives for `final` itself.
    """
    if block_final >= 1:
        return final
    return final + (1 - final) * (block - block_final) / (1 - block_final)


def learning_rate_at(step: int, steps: int, peak: float, *, warmup: float) -> float:
    """Linear warm-up over `warmup * steps`, then linear decay to 0 (§2.3, line 1)."""
    ramp = int(warmup * steps)
    if step < ramp:
        return peak * step / ramp
    return peak * (1 - (step - ramp) / max(1, steps - ramp))


def coupling(density: float, final: float) -> float:
    """Factor of the learning rate: sqrt(final / density), 1 once the target is reached (§2.3)."""
    return math.sqrt(final / density)
