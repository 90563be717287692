"""Many probes laid out for use: for every site one sparse matrix, applied in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.probing.stored_probe import StoredProbe

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _SiteProbes:
    """The probes of one site as compressed rows: `probe` (p) says which column each one fills.

    Unsigned where they point, so that the kernel need not ask for places counted from the end.
    """

    probe: NDArray[np.uint32]
    start: NDArray[np.int64]
    index: NDArray[np.uint32]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


class ProbeBank:
    """Applies probes to activations. Column j of every answer is probe j as it was given."""

    def __init__(self, probes: Sequence[StoredProbe]) -> None:
        """Raises `probes-empty`."""
        if not probes:
            raise WireworkError(
                "probes-empty", "there is no probe to apply",
                expected="at least one probe", got="none",
                hint="a selection that some probe fits",
            )  # fmt: skip
        self.probes = tuple(probes)
        members: dict[str, list[int]] = {}
        for number, probe in enumerate(self.probes):
            members.setdefault(probe.site, []).append(number)
        self._sites = {site: self._lay_out(mine) for site, mine in members.items()}
        # No score exceeds NaN: what predicts a number decides nothing.
        self._thresholds = np.array(
            [np.nan if p.threshold is None else p.threshold for p in self.probes]
        )

    def _lay_out(self, members: list[int]) -> _SiteProbes:
        probes = [self.probes[number] for number in members]
        return _SiteProbes(
            probe=np.array(members, dtype=np.uint32),
            start=np.cumsum([0, *(p.k for p in probes)], dtype=np.int64),
            index=np.array([i for p in probes for i in p.indices], dtype=np.uint32),
            weight=np.array([w for p in probes for w in p.weights], dtype=np.float64),
            bias=np.array([p.bias for p in probes], dtype=np.float64),
        )

    @property
    def sites(self) -> tuple[str, ...]:
        """What must be given: the sites of the probes, each once."""
        return tuple(self._sites)

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        """site -> (..., channels), equal in all but the last axis -> (..., probes), in the number
        format of the activations; summed in float64. Raises `site-absent`, `probe-index`."""
        shape, dtype = self._checked(values)
        n = int(np.prod(shape, dtype=np.int64))
        found = np.empty((n, len(self.probes)), dtype)
        for site, part in self._sites.items():
            rows = np.ascontiguousarray(values[site], dtype).reshape(n, values[site].shape[-1])
            _apply(rows, part.probe, part.start, part.index, part.weight, part.bias, found)
        return found.reshape(*shape, len(self.probes))

    def decisions(self, scores: Floats) -> NDArray[np.bool_]:
        """Whether each score exceeds its probe's threshold; never, for a probe without one."""
        return scores > self._thresholds

    def _checked(self, values: Mapping[str, Floats]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        absent = [site for site in self._sites if site not in values]
        if absent:
            raise WireworkError(
                "site-absent", f"there are no activations of {absent[0]}, which probes read",
                expected=", ".join(self._sites), got=", ".join(values) or "none",
            )  # fmt: skip
        for site, part in self._sites.items():
            width, last = values[site].shape[-1], int(part.index.max())
            if last >= width:
                raise WireworkError(
                    "probe-index", f"a probe reads channel {last} of {site}, which has {width}",
                    expected=f"channels 0 … {width - 1}", got=str(last),
                    hint="the model that the probes were fitted on",
                )  # fmt: skip
        arrays = [values[site] for site in self._sites]
        assert len({array.shape[:-1] for array in arrays}) == 1
        wide = any(array.dtype == np.float64 for array in arrays)
        return arrays[0].shape[:-1], np.dtype(np.float64 if wide else np.float32)


@numba.njit(cache=True)
def _apply(
    rows: Any, probe: Any, start: Any, index: Any, weight: Any, bias: Any, found: Any
) -> None:
    """found[t, probe[p]] = bias[p] + sum of weight * rows[t, index] over the row p."""
    for t in range(rows.shape[0]):
        for p in range(len(probe)):
            total = bias[p]
            for i in range(start[p], start[p + 1]):
                total += weight[i] * rows[t, index[i]]
            found[t, probe[p]] = total
