"""From scaled activations to a support: what the classifier and the regressor share."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from wirework.core import WireworkError
from wirework.core.errors import unknown_choice
from wirework.probing.adaptive import adaptive_path
from wirework.probing.branch_and_bound import Certificate, best_subset
from wirework.probing.checks import check_k
from wirework.probing.greedy import greedy_swap
from wirework.probing.losses import Floats, Loss
from wirework.probing.newton import Fit
from wirework.probing.rankings import best

# Beyond a ranking: what chooses neurons together.
SEARCHES: tuple[str, ...] = ("adaptive", "greedy", "optimal", "dense")

_LEAST_STD = 1e-3
_POSITIVE = "a positive number"
_WHOLE = "a positive whole number"


@dataclass(frozen=True)
class Options:
    """The settings of a probe, checked; as the estimators' parameters of the same names."""

    k: int
    method: str
    gamma: float
    filter_size: int | None
    max_k: int
    gap: float
    time_limit: float
    max_nodes: int


@dataclass(frozen=True)
class Convergence:
    """How a final fit in float64 ended. `gradient`: largest entry, over the sum of the weights."""

    value: float
    gradient: float
    iterations: int
    converged: bool

    @classmethod
    def of(cls, fit: Fit) -> Convergence:
        """Warns (`ConvergenceWarning`) where the fit did not end well."""
        if not fit.converged:
            warnings.warn(
                f"the last fit stopped at a gradient of {fit.gradient:.2g}",
                ConvergenceWarning,
                stacklevel=3,
            )
        return cls(fit.value, fit.gradient, fit.iterations, fit.converged)


def published_scale(X: NDArray[Any]) -> NDArray[Any]:
    """Divisors (d): 10 max(std, 0.001), so that the scaled std is 0.1 (`§1.2`), not centred."""
    return np.asarray(10 * np.maximum(X.std(axis=0), _LEAST_STD), dtype=X.dtype)


def check_options(estimator: Any, methods: tuple[str, ...], n: int, d: int) -> Options:
    """The estimator's options, `gamma` filled in.

    Raises `probe-method-unknown`, `probe-k-invalid`, `probe-option-invalid`.
    """
    p = estimator
    if p.method not in methods:
        raise unknown_choice("probe-method-unknown", "method of probing", p.method, methods)
    gamma = 1 / np.sqrt(n) if p.gamma is None else p.gamma
    for name, value, kind in (
        ("gamma", gamma, _POSITIVE),
        ("refit", 1.0 if p.refit is None else p.refit, _POSITIVE),
        ("filter_size", 1 if p.filter_size is None else p.filter_size, _WHOLE),
        ("max_k", p.max_k, _WHOLE),
        ("max_nodes", p.max_nodes, _WHOLE),
        ("tolerance", p.tolerance, _POSITIVE),
        ("gap", p.gap, "a number that is not negative"),
        ("time_limit", p.time_limit, "a number of seconds, or math.inf"),
    ):
        if not _is(kind, value):
            raise WireworkError(
                "probe-option-invalid", f"{name} cannot be {value!r}", expected=kind, got=str(value)
            )
    limit = d if p.filter_size is None else min(d, p.filter_size)
    if p.method != "dense" or not _is(_WHOLE, p.k):
        check_k(p.k, limit)
    return Options(
        p.k,
        p.method,
        float(gamma),
        p.filter_size,
        p.max_k,
        p.gap,
        p.time_limit,
        p.max_nodes,
    )


def _is(kind: str, value: Any) -> bool:
    if not isinstance(value, Integral if kind == _WHOLE else Real):
        return False
    number = float(value)
    return 0 < number < np.inf if kind in (_WHOLE, _POSITIVE) else number >= 0


def select(
    X: NDArray[Any],
    loss: Loss,
    sweep_loss: Loss,
    rank: Callable[[NDArray[Any], str], Floats],
    filter_by: str,
    options: Options,
) -> tuple[NDArray[np.int64], Certificate | None]:
    """The support (k) and, for `optimal`, its certificate. X (n, d): scaled, float32 or float64.

    `rank(X, method)`: the scores of a ranking; `filter_by`: the one that filters and that
    `adaptive` begins with. `loss`: of `optimal`; `sweep_loss`: of `adaptive`.
    """
    d, method, k = X.shape[1], options.method, options.k
    if method == "dense":
        return np.arange(d), None
    columns: NDArray[np.int64] = np.arange(d)
    if options.filter_size is not None and options.filter_size < d:
        # In the order of X, so that equals are settled by index, whatever the filter is.
        columns = np.sort(best(rank(X, filter_by), options.filter_size))
        X = X[:, columns]
    if method not in SEARCHES:
        return columns[best(rank(X, method), k)], None
    if method == "adaptive":
        # The sweep never looks beyond its largest support.
        scores = rank(X, filter_by)
        wide = best(scores, max(k, options.max_k))
        path = adaptive_path(_float64(X[:, wide]), sweep_loss, scores[wide], k)
        return columns[wide[path[k]]], None
    if method == "greedy":
        return columns[greedy_swap(_float64(X), loss.y, loss.c, k, options.gamma)], None
    found = best_subset(
        _float64(X),
        loss,
        k,
        options.gamma,
        gap=options.gap,
        time_limit=options.time_limit,
        max_nodes=options.max_nodes,
    )
    return columns[found.support], found.certificate


def _float64(X: NDArray[Any]) -> Floats:
    return np.asarray(X, dtype=np.float64)
