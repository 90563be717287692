"""What a sweep of discoveries may be told, and how it is executed."""

from __future__ import annotations

import math
import os
from itertools import product
from typing import Literal, NamedTuple

from pydantic import Field

from wirework.ablation import AblationConfig
from wirework.core import Config
from wirework.discovery.config import DiscoveryConfig

Setting = bool | int | float | str


class Candidate(NamedTuple):
    """What is tuned for every task: the published search tunes them too (§4.6)."""

    coefficient: float
    lr: float


class Rung(NamedTuple):
    """A round of short trials: of how many steps, and of how many candidates."""

    steps: int
    candidates: int


class SweepConfig(Config):
    """Many discoveries: every task × variant × (coefficient, rate) × seed.

    `tasks`: names or files; none stands for all of the catalog that the model has learned and
    that are not local. `coefficients` and `lrs` are candidates, of which the one with the fewest
    edges counts; no `lrs` means that of `discovery`. `ablations` (names as `AblationConfig.of_name`
    takes them) and `vary` (settings of `discovery` with their values) make variants, which are
    compared and not tuned. `halving`: the candidates compete in rungs of short trials at the
    first seed, without clean-up and edge gates; the first takes `first_rung` of the steps, each
    next one twice as many, and the better half of the candidates goes on; only what is left is
    searched in full, at every seed.
    """

    tasks: tuple[str, ...] = ()
    coefficients: tuple[float, ...] = Field((1e-3, 2e-3, 4e-3, 8e-3), min_length=1)
    lrs: tuple[float, ...] = ()
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    ablations: tuple[str, ...] = ()
    vary: dict[str, tuple[Setting, ...]] = Field({})
    halving: bool = False
    first_rung: float = Field(1 / 8, gt=0, lt=1)
    unlearned_ok: bool = False
    discovery: DiscoveryConfig = DiscoveryConfig()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        rates = self.lrs or (self.discovery.lr,)
        return tuple(Candidate(*pair) for pair in product(self.coefficients, rates))

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rounds before the full searches, shortest first; none without `halving`."""
        found: list[Rung] = []
        count, share = len(self.candidates), self.first_rung
        while self.halving and count > 1 and share < 1:
            found.append(Rung(max(1, round(share * self.discovery.steps)), count))
            count, share = better_half(count), 2 * share
        return tuple(found)

    def variants(self) -> dict[str, DiscoveryConfig]:
        """Every combination of `ablations` and `vary` under its name (`zero edges=true`); one
        without a name where nothing varies.

        Raises what `AblationConfig.of_name` and `Config.override` raise.
        """
        found = {}
        for name in self.ablations or ("",):
            # Where coefficients compete, a search that fails is another one's chance.
            several = len(self.coefficients) > 1
            base = self.discovery.replace(retries=0) if several else self.discovery
            if name:
                base = base.replace(ablation=AblationConfig.of_name(name).plain())
            for values in product(*self.vary.values()):
                settings = [f"{k}={_text(v)}" for k, v in zip(self.vary, values, strict=True)]
                found[" ".join([name] * bool(name) + settings)] = base.override(settings)
        return found


def better_half(count: int) -> int:
    """How many of `count` candidates go on."""
    return math.ceil(count / 2)


def _text(value: Setting) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class SweepExecution(Config):
    """How a sweep is computed: nothing of it is asked of a circuit, though rounding may differ.

    `threads` of every run. `jobs`: runs at a time; by default as many as there are cores for, on
    Ray as many as the cluster takes. `cluster`: `ray` sends the runs to a Ray cluster (the one of
    RAY_ADDRESS, else one on this machine); the model and the folder must be seen from all of it.
    """

    jobs: int | None = Field(None, ge=1)
    threads: int = Field(1, ge=1)
    cluster: Literal["local", "ray"] = "local"

    def processes(self) -> int:
        """Runs at a time on this machine."""
        return self.jobs or max(1, _cores() // self.threads)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
