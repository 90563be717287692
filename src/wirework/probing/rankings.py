"""One score per neuron: how much a label moves it (`sparse_probing.md §1.3`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_selection import f_regression, mutual_info_classif, mutual_info_regression
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from wirework.core.errors import unknown_choice
from wirework.probing.checks import check_classes, check_finite
from wirework.probing.losses import Floats

RANKINGS: tuple[str, ...] = (
    "mean_difference",
    "f_statistic",
    "mutual_information",
    "l1_logistic",
    "linear_svm",
    "random",
)
REGRESSION_RANKINGS: tuple[str, ...] = ("f_statistic", "mutual_information", "random")


def ranking(X: NDArray[Any], y: NDArray[Any], method: str, *, seed: int = 0) -> Floats:
    """Scores (d) of the neurons of X (n, d) for labels y (n), bool or {0, 1}; higher = better.

    `mean_difference`: |mean over positives - mean over negatives|, so the scale of X counts.
    `f_statistic`: variance between the classes over variance within. `mutual_information`: by
    nearest neighbours; slow, use it on few neurons. `l1_logistic`: |weight|, C = 0.1, balanced,
    by liblinear on centred X. `linear_svm`: |weight|, hinge loss, C = 1. Neurons whose weight is
    zero come after the others, by their mean difference. `random`: a permutation.
    The best threshold is not asked for: a neuron that is off for the label scores as one that is
    on. Raises `probe-ranking-unknown`, `probe-not-finite`, `probe-labels-invalid`,
    `probe-one-class`.
    """
    check_finite(X)
    y = check_classes(np.asarray(y), 1)[1]
    if method == "mean_difference":
        return mean_difference(X, y)
    if method == "f_statistic":
        return f_statistic(X, y)
    if method == "mutual_information":
        return np.asarray(mutual_info_classif(X, y, random_state=seed), dtype=np.float64)
    if method == "l1_logistic":
        model = LogisticRegression(
            C=0.1, l1_ratio=1, solver="liblinear", class_weight="balanced", random_state=seed
        )
        return _by_weight(model, X, y)
    if method == "linear_svm":
        return _by_weight(LinearSVC(loss="hinge", max_iter=20_000, random_state=seed), X, y)
    if method == "random":
        return _random(X.shape[1], seed)
    raise unknown_choice("probe-ranking-unknown", "ranking", method, RANKINGS)


def regression_ranking(X: NDArray[Any], y: Floats, method: str, *, seed: int = 0) -> Floats:
    """Scores (d) of neurons for a target y (n) that is a number; higher = better.

    `method`: one of REGRESSION_RANKINGS. Raises `probe-ranking-unknown`, `probe-not-finite`.
    """
    check_finite(X)
    if method == "f_statistic":
        scores = f_regression(X, y, force_finite=True)[0]
        return np.asarray(scores, dtype=np.float64)
    if method == "mutual_information":
        return np.asarray(mutual_info_regression(X, y, random_state=seed), dtype=np.float64)
    if method == "random":
        return _random(X.shape[1], seed)
    raise unknown_choice("probe-ranking-unknown", "ranking", method, REGRESSION_RANKINGS)


def mean_difference(X: NDArray[Any], y: NDArray[np.bool_]) -> Floats:
    """|mean over positives - mean over negatives| (d), in one product."""
    share = np.where(y, 1 / y.sum(), -1 / (~y).sum())
    # In the dtype of X, which may be large: a copy of it would cost more than digits are worth.
    return np.asarray(np.abs(share.astype(X.dtype) @ X), dtype=np.float64)


def f_statistic(X: NDArray[Any], y: NDArray[np.bool_]) -> Floats:
    """One-way ANOVA of two groups (d); 0 for a constant column, infinite where both groups are."""
    n, ones = len(y), int(y.sum())
    spread = np.asarray(X.var(axis=0), dtype=np.float64)
    # The variance of equal numbers is rounding.
    rounding = np.abs(X.mean(axis=0)) * (4 * np.finfo(X.dtype).eps)
    spread[spread <= rounding**2] = 0
    between = mean_difference(X, y) ** 2 * (ones * (n - ones) / n)
    within = np.maximum(n * spread - between, 0) / max(n - 2, 1)
    ratio = np.divide(between, within, out=np.full(X.shape[1], np.inf), where=within > 0)
    return np.where(spread > 0, ratio, 0.0)


def best(scores: Floats, count: int) -> NDArray[np.int64]:
    """Indices of the `count` best scores, best first; of equals the lower index."""
    return np.argsort(-scores, kind="stable")[:count].astype(np.int64)


def _by_weight(model: Any, X: NDArray[Any], y: NDArray[np.bool_]) -> Floats:
    weights = np.abs(model.fit(X - X.mean(axis=0), y).coef_[0]).astype(np.float64)
    apart = mean_difference(X, y)
    return np.asarray(np.where(weights > 0, weights, apart / (1 + apart.max(initial=0)) - 1))


def _random(d: int, seed: int) -> Floats:
    return np.random.default_rng(seed).permutation(d).astype(np.float64)
