"""A fitted probe as the few numbers that it is."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wirework.core import WireworkError


@dataclass(frozen=True)
class StoredProbe:
    """score = weights · x[indices] + bias, of the activations x of one token at `site`.

    The feature is there where the score exceeds `threshold`; None where the score itself is what
    is predicted (regression). Weights are those of activations as the model gives them: a scale
    that they were fitted under has been multiplied in. `model` and `data`: sha256 of what the
    probe was fitted on. `scores`: held-out figures by name.
    """

    feature: str
    site: str
    indices: tuple[int, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float | None
    model: str
    data: str
    method: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `probe-malformed`."""
        fault = self._fault()
        if fault:
            raise WireworkError(
                "probe-malformed", f"the probe for {self.feature!r} at {self.site!r} is none",
                expected="as many finite weights as indices, which differ and are not negative",
                got=fault,
            )  # fmt: skip

    def _fault(self) -> str:
        if not self.feature or not self.site:
            return "no name of a feature or a site"
        if not self.indices or len(self.indices) != len(self.weights):
            return f"{len(self.indices)} indices, {len(self.weights)} weights"
        if len(set(self.indices)) < self.k or min(self.indices) < 0 or max(self.indices) >= 2**31:
            return f"indices {self.indices}"
        numbers = [*self.weights, self.bias, *self.scores.values()]
        numbers += [] if self.threshold is None else [self.threshold]
        return "" if all(math.isfinite(number) for number in numbers) else "NaN or infinity"

    @property
    def k(self) -> int:
        return len(self.indices)

    @property
    def nodes(self) -> tuple[str, ...]:
        """What it reads, as `3.mlp.neuron:817`."""
        return tuple(f"{self.site}:{index}" for index in self.indices)

    @property
    def id(self) -> str:
        """12 hexadecimal digits of the sha256 of everything but the scores."""
        plain = self.plain()
        del plain["scores"]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "feature": self.feature,
            "site": self.site,
            "indices": list(self.indices),
            "weights": list(self.weights),
            "bias": self.bias,
            "threshold": self.threshold,
            "model": self.model,
            "data": self.data,
            "method": self.method,
            "scores": dict(self.scores),
        }
