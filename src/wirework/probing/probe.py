"""The k-sparse probe: a linear classifier on at most k neurons, as a scikit-learn estimator."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if

from wirework.probing.checks import check_classes, check_data
from wirework.probing.estimator import SparseEstimator
from wirework.probing.losses import Floats, Logistic, balanced_weights, make_loss
from wirework.probing.rankings import RANKINGS, ranking
from wirework.probing.selection import SEARCHES, check_options

METHODS: tuple[str, ...] = RANKINGS + SEARCHES


def _is_logistic(probe: SparseProbe) -> bool:
    return probe.refit is not None or probe.loss == "logistic"


class SparseProbe(ClassifierMixin, SparseEstimator):
    """min over w, b: sum_i c_i l(y_i, x_i.w + b) + |w|^2 / (2 gamma), at most k weights not zero.

    `sparse_probing.md §1`. Two classes; the second of `classes_` is the positive one.

    k: neurons.
    method: how they are chosen. One of RANKINGS: the k best of a ranking. `adaptive`: the
        published adaptive thresholding. `greedy`: greedy with swaps on the Gram matrix (squared
        loss, shrinkage gamma). `optimal`: branch and bound, with a certificate. `dense`: all.
    loss: of `optimal`, and of the last fit where `refit` is None: `logistic`, `squared_hinge` or
        `squared`.
    gamma: shrinkage of `greedy` and `optimal` (larger: weaker), in the scale in which the probe
        is fitted. None: the published 1/sqrt(n).
    refit: shrinkage of the logistic fit on the chosen neurons, scikit-learn's C. The published
        value is 1. None: the weights of `loss` at `gamma`, to which the certificate belongs.
    filter_size: only so many neurons of the largest mean difference are searched (published: 50
        for `optimal`, 512 to compare rankings). None: all.
    max_k: where `adaptive` begins.
    scale: divide every neuron by 10 times its standard deviation (at least 0.001), as published.
    balanced: both classes weigh the same, whatever their sizes.
    gap, time_limit (seconds), max_nodes: when `optimal` ends; it always gives the best found.
        What is proved is the objective at `gamma`, not that of `refit` and not a test score.
    tolerance: largest entry of the last fit's gradient, over the sum of the rows' weights.
    min_class_size: fewer rows of a class are refused.
    allow_constant: whether neurons with one value in all rows are allowed; they are not chosen
        before others.
    seed: of `mutual_information`, `l1_logistic`, `linear_svm`, `random`.

    After `fit`: `neurons_` (k), columns of X, the one of most weight (in the fitted scale) first;
    `weights_` (k), for the unscaled X; `directions_` (k): 1 where the neuron is on for the
    positive class, -1 where it is off; `coef_` (1, d), `intercept_` (1); `certificate_` (None but
    for `optimal`); `convergence_` of the last fit; `classes_`, `n_features_in_`.

    `fit` raises `probe-data-invalid`, `probe-not-finite`, `probe-constant-columns`,
    `probe-labels-invalid`, `probe-one-class`, `probe-too-few`, `probe-method-unknown`,
    `probe-loss-unknown`, `probe-k-invalid`, `probe-option-invalid`.
    """

    classes_: NDArray[Any]
    intercept_: Floats

    def __init__(
        self,
        k: int = 1,
        method: str = "adaptive",
        *,
        loss: str = "logistic",
        gamma: float | None = None,
        refit: float | None = 1.0,
        filter_size: int | None = None,
        max_k: int = 256,
        scale: bool = True,
        balanced: bool = True,
        gap: float = 1e-4,
        time_limit: float = 60.0,
        max_nodes: int = 100_000,
        tolerance: float = 1e-8,
        min_class_size: int = 2,
        allow_constant: bool = False,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.method = method
        self.loss = loss
        self.gamma = gamma
        self.refit = refit
        self.filter_size = filter_size
        self.max_k = max_k
        self.scale = scale
        self.balanced = balanced
        self.gap = gap
        self.time_limit = time_limit
        self.max_nodes = max_nodes
        self.tolerance = tolerance
        self.min_class_size = min_class_size
        self.allow_constant = allow_constant
        self.seed = seed

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        # Few neurons need not tell the classes apart.
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """X (n, d): activations, float64 or float32. y (n): labels of two classes."""
        data, labels = check_data(self, X, y)
        self.classes_, positive = check_classes(labels, self.min_class_size)
        options = check_options(self, METHODS, *data.shape)
        c = balanced_weights(positive) if self.balanced else np.ones(len(positive))
        y_signed = np.where(positive, 1.0, -1.0)
        loss, logistic = make_loss(self.loss, y_signed, c), Logistic(y_signed, c)

        def rank(X: NDArray[Any], method: str) -> Floats:
            return ranking(X, positive, method, seed=self.seed)

        intercept = self._fit_neurons(
            data, (loss, logistic), logistic, rank, "mean_difference", options
        )
        self.coef_, self.intercept_ = self.coef_[None], np.array([intercept])
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """x.w + b (n): not negative where the positive class is likelier."""
        scores: Floats = self._weighted(X) + self.intercept_[0]
        return scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The classes (n)."""
        likelier = self.decision_function(X) >= 0
        return np.asarray(self.classes_[likelier.astype(np.int64)])

    @available_if(_is_logistic)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities (n, 2) of the classes as the fit weighs them: balanced, not base rates.

        Only where the last fit is logistic.
        """
        ones = expit(self.decision_function(X))
        return np.column_stack([1 - ones, ones])
