"""What the classifier and the regressor share: from data to chosen, weighted neurons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from wirework.probing.branch_and_bound import Certificate
from wirework.probing.checks import check_constant, check_new_data
from wirework.probing.losses import Floats, Loss
from wirework.probing.newton import fit_ridge
from wirework.probing.rankings import best
from wirework.probing.selection import Convergence, Options, published_scale, select


class SparseEstimator(BaseEstimator):
    """A linear function of few neurons; its parameters are those of `SparseProbe`."""

    neurons_: NDArray[np.int64]
    weights_: Floats
    directions_: NDArray[np.int64]
    coef_: Floats
    certificate_: Certificate | None
    convergence_: Convergence

    # Set by the estimators' constructors, which scikit-learn reads by their signatures.
    refit: float | None
    scale: bool
    tolerance: float
    allow_constant: bool

    def _fit_neurons(
        self,
        X: NDArray[Any],
        losses: tuple[Loss, Loss],
        refitted: Loss,
        rank: Callable[[NDArray[Any], str], Floats],
        filter_by: str,
        options: Options,
        unit: float = 1.0,
    ) -> float:
        """Choose neurons of X (n, d), fit their weights, give the intercept.

        `losses`: of `optimal` and of `adaptive`; `refitted`: of the last fit where `refit` is
        given. `unit`: what the fitted target is multiplied by to give the real one.
        """
        if not self.allow_constant:
            check_constant(X)
        d = X.shape[1]
        divisors = published_scale(X) if self.scale else np.ones(d, X.dtype)
        scaled = X / divisors
        neurons, self.certificate_ = select(scaled, *losses, rank, filter_by, options)
        chosen = np.asarray(scaled[:, neurons], dtype=np.float64)
        final, gamma = (losses[0], options.gamma) if self.refit is None else (refitted, self.refit)
        fit = fit_ridge(chosen, final, gamma, tolerance=self.tolerance)
        self.convergence_ = Convergence.of(fit)
        order = best(np.abs(fit.w), len(neurons))
        self.neurons_ = neurons[order]
        self.weights_ = fit.w[order] / divisors[self.neurons_] * unit
        self.directions_ = np.sign(self.weights_).astype(np.int64)
        self.coef_ = np.zeros(d)
        self.coef_[self.neurons_] = self.weights_
        return fit.b * unit

    def _weighted(self, X: ArrayLike) -> Floats:
        """x.w (n), without the intercept."""
        check_is_fitted(self)
        found: Floats = check_new_data(self, X)[:, self.neurons_] @ self.weights_
        return found
