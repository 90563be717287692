"""Interchange: activations of the one run put into the other; do the answers stay?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import Keep, calibrated
from wirework.core import Measure, Site
from wirework.validation.both_runs import BothRuns
from wirework.validation.findings import Findings
from wirework.validation.intervals import interval_of_share

RATES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the kept nodes that are swapped."""


def interchange_findings(runs: BothRuns, draws: int, *, seed: int) -> Findings:
    """`interchange`, `interchange:circuit`: share of prompts whose answer stays (§10.2).

    Kept nodes get, at every token, the activation that they have in the other run: pruned ones in
    the whole model (`interchange`), unpruned ones in the circuit (`interchange:circuit`). At each
    of `RATES` that share of the kept nodes is drawn, `draws` times, or all of one layer together;
    a measure is the lowest point over all rates. `details["interchange"]` has the curves, its
    intervals those of shares with the draws of one prompt counted as one.
    """
    ways = {"model": _Way(runs, circuit=False), "circuit": _Way(runs, circuit=True)}
    curves: dict[str, Any] = {}
    for name, way in ways.items():
        curves[name] = _curve(way, draws, seed) | {"layers": _by_layer(way)}
    notes = {
        "model": "Share of prompts whose answer stays when kept nodes of the whole model get the "
        "activations that they have in the circuit",
        "circuit": "Share of prompts whose answer stays when nodes of the circuit get the "
        "activations that they have in the whole model",
    }
    found = {
        "interchange": _lowest(curves["model"], runs, notes["model"]),
        "interchange:circuit": _lowest(curves["circuit"], runs, notes["circuit"]),
    }
    return Findings(found, {"interchange": curves})


def interchange_runs(layers: int, draws: int) -> int:
    """Forward passes over the prompts: in either way before anything is swapped, at the rates
    (nothing and everything can be swapped in one way only), by layer."""
    return 2 * (1 + (len(RATES) - 2) * draws + 2 + layers + 1)


class _Way:
    """One direction of the interchange."""

    def __init__(self, runs: BothRuns, *, circuit: bool) -> None:
        self.runs = runs
        self.circuit = circuit
        self.before = self.answers({s: np.zeros_like(m) for s, m in runs.subject.keep.items()})

    def stays(self, swapped: Keep) -> NDArray[np.bool_]:
        """Whether each prompt's answer stays, (2N)."""
        return np.asarray(self.answers(swapped) == self.before)

    def answers(self, swapped: Keep) -> NDArray[np.bool_]:
        """Whether each prompt is answered right, which says what it is answered."""
        values: Tensor
        if self.circuit:
            values = self.runs.circuit_with(swapped, self.runs.whole.values)
            calibration = self.runs.subject.circuit.calibration
            values = calibrated(values, self.runs.prompts.side, calibration)
        else:
            values = self.runs.model_with(swapped)
        return np.asarray((values > 0).numpy())


def _curve(way: _Way, draws: int, seed: int) -> dict[str, list[float]]:
    keep = way.runs.subject.keep
    shares, ends = [], []
    for rate in RATES:
        # All or nothing can be drawn in one way only.
        times = draws if 0 < rate < 1 else 1
        drawn = [_drawn(keep, rate, np.random.default_rng([seed, 2, d])) for d in range(times)]
        stays = np.mean([way.stays(swapped) for swapped in drawn], axis=0)
        shares.append(float(stays.mean()))
        ends.append(interval_of_share(way.runs.prompts, stays))
    low, high = ([end[side] for end in ends] for side in (0, 1))
    return {"rate": list(RATES), "share": shares, "low": low, "high": high}


def _by_layer(way: _Way) -> dict[str, list[Any]]:
    """All kept nodes of one layer swapped together; `final` stands by itself."""
    keep = way.runs.subject.keep
    places = sorted({site.layer for site in way.runs.kept if site.layer is not None})
    groups: list[int | None] = [*places, *([None] if Site(None, "final") in way.runs.kept else [])]
    shares = []
    for layer in groups:
        swapped = {
            site: kept if site.layer == layer else np.zeros_like(kept)
            for site, kept in keep.items()
        }
        shares.append(float(way.stays(swapped).mean()))
    return {"layer": ["final" if layer is None else layer for layer in groups], "share": shares}


def _drawn(keep: Keep, rate: float, random: np.random.Generator) -> dict[Site, NDArray[np.bool_]]:
    """A share of all kept nodes, rounded to a whole number of them."""
    order = sorted(keep)
    flat = np.concatenate([keep[site] for site in order])
    places = np.flatnonzero(flat)
    chosen = np.zeros_like(flat)
    chosen[random.permutation(places)[: round(rate * len(places))]] = True
    ends = np.cumsum([len(keep[site]) for site in order])[:-1]
    return dict(zip(order, np.split(chosen, ends), strict=True))


def _lowest(curve: dict[str, list[float]], runs: BothRuns, note: str) -> Measure:
    at = int(np.argmin(curve["share"]))
    where = f"{note}; the lowest of {len(RATES)} rates, at {curve['rate'][at]:.0%} of the nodes"
    n = len(runs.prompts.last)
    ends = curve["low"][at], curve["high"][at]
    return Measure(curve["share"][at], *ends, n, better="higher", note=where)
