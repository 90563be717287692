"""What every measurement may be told, and the report that it gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wirework.bench.machine import notes_on
from wirework.core import Config, Measure, Report, RunRecord, WireworkError

LEAST_PAIRS = 5
HEAD = 16
"""Channels of one head (weight_sparse_paper.md §2.5)."""

FLOOR = 4
"""Weights that every neuron keeps (§2.4)."""


class BenchConfig(Config):
    """The shape of the model, and how often everything is timed.

    `pairs`: turns that count. `density` of the matrices of the layers; None: `usual_density`, or
    as much as leaves every neuron its floor where the model is too narrow for that.
    """

    usual_density: ClassVar[float]

    pairs: int = LEAST_PAIRS
    seed: int = 0
    d_model: int = Field(256, ge=HEAD, multiple_of=HEAD)
    layers: int = Field(4, ge=1)
    vocab_size: int = Field(2048, ge=257)
    density: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pairs < LEAST_PAIRS:
            raise WireworkError(
                "pairs-too-few",
                "a ratio of few pairs says little about the machine's mood",
                expected=f"at least {LEAST_PAIRS} pairs",
                got=str(self.pairs),
                hint=f"--pairs {LEAST_PAIRS}",
            )
        smallest = math.ceil(1e6 * FLOOR / self.d_model) / 1e6
        if self.share * self.d_model < FLOOR:
            raise WireworkError(
                "density-too-small",
                f"each neuron must keep {FLOOR} of its {self.d_model} weights",
                expected=f"density >= {smallest:g}",
                got=f"density = {self.share:g}",
                hint=f"--density {smallest:g}",
            )
        return self

    @property
    def share(self) -> float:
        """The density in use."""
        if self.density is not None:
            return self.density
        smallest = math.ceil(1e6 * FLOOR / self.d_model) / 1e6
        return self.usual_density if self.usual_density * self.d_model >= FLOOR else smallest

    @property
    def as_asked(self) -> bool:
        """Whether this is the shape that the bars are meant for: nothing of it was changed."""
        return type(self)(pairs=self.pairs, seed=self.seed) == self

    def bar(self, value: float) -> float | None:
        return value if self.as_asked else None

    def report(
        self,
        kind: Literal["train", "decode", "load"],
        measures: Mapping[str, Measure],
        *,
        dtype: str,
        machine: dict[str, Any],
        details: dict[str, Any],
    ) -> Report:
        """`details` holds what belongs to this machine, absolute times above all."""
        passed = all(measure.passed is not False for measure in measures.values())
        asked = any(measure.bar is not None for measure in measures.values())
        record = RunRecord.collect(
            seed=self.seed, dtype=dtype, threads=machine["threads"],
            config=self.plain(), config_hash=self.hash(),
        )  # fmt: skip
        provenance = {
            **record.to_json(),
            "notes": notes_on(machine),
            "details": {"machine": machine, **details},
        }
        verdict = ("bars met" if passed else "bars missed") if asked else None
        return Report(f"bench-{kind}", measures, verdict, provenance)
