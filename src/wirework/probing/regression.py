"""The k-sparse probe for a target that is a number, such as a position."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from wirework.core import WireworkError
from wirework.probing.checks import check_data
from wirework.probing.estimator import SparseEstimator
from wirework.probing.losses import Floats, Squared
from wirework.probing.rankings import REGRESSION_RANKINGS, regression_ranking
from wirework.probing.selection import SEARCHES, check_options

REGRESSION_METHODS: tuple[str, ...] = REGRESSION_RANKINGS + SEARCHES


class SparseProbeRegressor(RegressorMixin, SparseEstimator):
    """min over w, b: sum_i (y_i - x_i.w - b)^2 / 2 + |w|^2 / (2 gamma), at most k weights not zero.

    `sparse_probing.md §1.1`, §1.6. The target is brought to mean 0 and standard deviation 1 for
    the fit (the certificate's values are in that scale), so its unit changes nothing.
    `method`: one of REGRESSION_METHODS; the filter and `adaptive` begin with the F statistic.
    `adaptive` uses the elastic nets of the classifier's sweep with squared loss (the published
    regression sweep keeps one elastic net for all sizes). `refit`: gamma of the last fit, by
    default weak; None: `gamma`. The other parameters and attributes are those of `SparseProbe`;
    `coef_` is (d).

    `fit` raises the errors of `SparseProbe.fit`, `probe-target-constant` for the labels' ones.
    """

    intercept_: float

    def __init__(
        self,
        k: int = 1,
        method: str = "adaptive",
        *,
        gamma: float | None = None,
        refit: float | None = 100.0,
        filter_size: int | None = None,
        max_k: int = 256,
        scale: bool = True,
        gap: float = 1e-4,
        time_limit: float = 60.0,
        max_nodes: int = 100_000,
        tolerance: float = 1e-8,
        allow_constant: bool = False,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.method = method
        self.gamma = gamma
        self.refit = refit
        self.filter_size = filter_size
        self.max_k = max_k
        self.scale = scale
        self.gap = gap
        self.time_limit = time_limit
        self.max_nodes = max_nodes
        self.tolerance = tolerance
        self.allow_constant = allow_constant
        self.seed = seed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """X (n, d): activations, float64 or float32. y (n): numbers."""
        data, raw = check_data(self, X, y, y_numeric=True)
        target = np.asarray(raw, dtype=np.float64)
        options = check_options(self, REGRESSION_METHODS, *data.shape)
        mean, spread = float(target.mean()), float(target.std())
        if spread == 0:
            raise WireworkError(
                "probe-target-constant",
                f"all {len(target)} targets are the same number",
                expected="targets that vary",
                got=str(target[0]),
            )
        target = (target - mean) / spread
        loss = Squared(target, np.ones(len(target)))

        def rank(X: NDArray[Any], method: str) -> Floats:
            return regression_ranking(X, target, method, seed=self.seed)

        intercept = self._fit_neurons(
            data, (loss, loss), loss, rank, "f_statistic", options, spread
        )
        self.intercept_ = intercept + mean
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """x.w + b (n)."""
        found: Floats = self._weighted(X) + self.intercept_
        return found
