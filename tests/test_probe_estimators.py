"""Sparse probes as scikit-learn estimators: its own checks, the published scale, mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from wirework.core import WireworkError
from wirework.probing.probe import METHODS, SparseProbe
from wirework.probing.regression import REGRESSION_METHODS, SparseProbeRegressor
from wirework.probing.selection import published_scale
from wirework.probing.synthetic import planted_neurons


@parametrize_with_checks(
    [
        SparseProbe(),
        SparseProbe(method="optimal"),
        SparseProbe(method="greedy", refit=None, loss="squared_hinge"),
        SparseProbe(method="dense"),
        SparseProbeRegressor(),
        SparseProbeRegressor(method="optimal", refit=None),
    ]
)  # type: ignore[untyped-decorator]
def test_scikit_learn_accepts_the_probes(estimator: Any, check: Any) -> None:
    check(estimator)


def planted(n: int = 400, d: int = 30, k: int = 3, shift: float = 0.6, seed: int = 0) -> Any:
    return planted_neurons(n, d, k, shift=shift, seed=seed)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_fits_and_says_what_it_used(method: str) -> None:
    X, y, _ = planted()
    probe = SparseProbe(k=3, method=method).fit(X, y)
    chosen = 30 if method == "dense" else 3
    assert len(set(probe.neurons_)) == chosen and len(probe.weights_) == chosen
    assert np.flatnonzero(probe.coef_[0]).tolist() == sorted(probe.neurons_)
    assert probe.decision_function(X) == pytest.approx(X @ probe.coef_[0] + probe.intercept_[0])
    assert (probe.predict(X) == (probe.decision_function(X) >= 0)).all()
    assert probe.predict_proba(X).sum(axis=1) == pytest.approx(np.ones(400))
    assert probe.convergence_.converged and probe.convergence_.gradient <= 1e-8
    assert (probe.certificate_ is None) == (method != "optimal")


@pytest.mark.parametrize("method", REGRESSION_METHODS)
def test_every_method_fits_a_number(method: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 20))
    y = 500 + 40 * X[:, 3] - 60 * X[:, 11] + rng.standard_normal(300)
    probe = SparseProbeRegressor(k=2, method=method).fit(X, y)
    if method not in ("random", "mutual_information"):
        assert set(probe.neurons_[:2]) == {3, 11}
        assert probe.directions_[:2].tolist() == [-1, 1]
        assert probe.score(X, y) > 0.98
    assert probe.predict(X) == pytest.approx(X @ probe.coef_ + probe.intercept_)


def test_the_unit_of_a_target_changes_nothing() -> None:
    X, _, _ = planted()
    y = X[:, 3] + 0.2 * X[:, 5]
    small = SparseProbeRegressor(k=2, method="optimal").fit(X, y)
    large = SparseProbeRegressor(k=2, method="optimal").fit(X, 1000 * y + 7)
    assert small.neurons_.tolist() == large.neurons_.tolist()
    assert 1000 * small.predict(X) + 7 == pytest.approx(large.predict(X))


def test_the_published_probe_is_logistic_regression_on_scaled_neurons() -> None:
    X, y, _ = planted()
    probe = SparseProbe(k=3, method="mean_difference").fit(X, y)
    scaled = X / (10 * X.std(axis=0))
    apart = np.abs(scaled[y].mean(axis=0) - scaled[~y].mean(axis=0))
    best = np.argsort(-apart)[:3]
    assert set(probe.neurons_) == set(best)
    model = LogisticRegression(class_weight="balanced", tol=1e-12).fit(scaled[:, best], y)
    expected = model.decision_function(scaled[:, best])
    assert probe.decision_function(X) == pytest.approx(expected, abs=1e-5)


def test_the_scale_has_a_floor() -> None:
    X = np.array([[0.0, 0.0], [2.0, 1e-6]])
    assert published_scale(X).tolist() == [10.0, 0.01]


def test_a_neuron_that_is_off_for_the_label_is_found_with_its_direction() -> None:
    X, y, planted_here = planted(k=1, shift=1.0)
    X[:, planted_here] *= -1
    for method in ("mean_difference", "adaptive", "greedy", "optimal"):
        probe = SparseProbe(method=method).fit(X, y)
        assert probe.neurons_.tolist() == planted_here.tolist()
        assert probe.directions_.tolist() == [-1]
        assert probe.score(X, y) > 0.8


def test_a_certificate_belongs_to_the_weights_that_are_not_refitted() -> None:
    X, y, _ = planted()
    for loss in ("logistic", "squared_hinge", "squared"):
        probe = SparseProbe(k=2, method="optimal", loss=loss, refit=None).fit(X, y)
        certificate = probe.certificate_
        assert certificate is not None
        assert certificate.status == "optimal" and certificate.gap <= 1e-4
        assert certificate.loss == loss and certificate.gamma == pytest.approx(1 / 20)
        assert certificate.filter_size == 30 and certificate.k == 2
        assert certificate.value == pytest.approx(probe.convergence_.value, rel=1e-9)
        assert hasattr(probe, "predict_proba") == (loss == "logistic")
        assert certificate.to_json()["lower_bound"] == certificate.lower_bound


def test_a_filter_limits_what_is_searched() -> None:
    X, y, _ = planted()
    apart = np.abs((X[y].mean(axis=0) - X[~y].mean(axis=0)) / X.std(axis=0))
    allowed = set(np.argsort(-apart)[:5])
    for method in ("optimal", "greedy", "adaptive", "random", "f_statistic"):
        probe = SparseProbe(k=2, method=method, filter_size=5).fit(X, y)
        assert set(probe.neurons_) <= allowed
        if probe.certificate_ is not None:
            assert probe.certificate_.filter_size == 5


def test_out_of_time_a_probe_is_fitted_all_the_same() -> None:
    X, y, _ = planted(d=200, shift=0.1)
    probe = SparseProbe(k=8, method="optimal", gamma=5.0, time_limit=0.0).fit(X, y)
    assert probe.certificate_ is not None and probe.certificate_.status == "time_limit"
    assert len(probe.neurons_) == 8


def test_float32_activations_give_nearly_the_same_probe() -> None:
    X, y, _ = planted()
    for method in ("adaptive", "optimal"):
        double = SparseProbe(k=3, method=method).fit(X, y)
        single = SparseProbe(k=3, method=method).fit(X.astype(np.float32), y)
        assert set(double.neurons_) == set(single.neurons_)
        assert double.coef_ == pytest.approx(single.coef_, abs=1e-4)


@pytest.mark.parametrize(
    ("code", "options", "change"),
    [
        ("probe-one-class", {}, "one class"),
        ("probe-too-few", {"min_class_size": 500}, ""),
        ("probe-labels-invalid", {}, "three classes"),
        ("probe-not-finite", {}, "nan"),
        ("probe-constant-columns", {}, "constant"),
        ("probe-data-invalid", {}, "short"),
        ("probe-k-invalid", {"k": 31}, ""),
        ("probe-k-invalid", {"k": 0}, ""),
        ("probe-k-invalid", {"k": 6, "filter_size": 5}, ""),
        ("probe-method-unknown", {"method": "optimum"}, ""),
        ("probe-loss-unknown", {"loss": "hinge"}, ""),
        ("probe-option-invalid", {"gamma": 0.0}, ""),
        ("probe-option-invalid", {"gap": -0.1}, ""),
        ("probe-option-invalid", {"max_k": 2.5}, ""),
        ("probe-option-invalid", {"filter_size": 0}, ""),
        ("probe-option-invalid", {"time_limit": "1"}, ""),
        ("probe-k-invalid", {"k": 1.5}, ""),
        ("probe-option-invalid", {"refit": float("nan")}, ""),
    ],
)
def test_mistakes_have_codes(code: str, options: dict[str, Any], change: str) -> None:
    X, y, _ = planted()
    labels: Any = y.astype(int)
    if change == "one class":
        labels[:] = 1
    elif change == "three classes":
        labels[:9] = 2
    elif change == "short":
        labels = labels[:-1]
    elif change == "nan":
        X[3, 17] = np.nan
    elif change == "constant":
        X[:, 17] = 0.5
    with pytest.raises(WireworkError) as caught:
        SparseProbe(**{"method": "optimal", **options}).fit(X, labels)
    assert caught.value.code == code
    if change in ("nan", "constant"):
        assert "17" in caught.value.got


def test_allowed_constant_neurons_are_not_chosen() -> None:
    X, y, _ = planted()
    X[:, 17] = 0.5
    for method in METHODS:
        if method not in ("random", "dense"):
            probe = SparseProbe(k=5, method=method, allow_constant=True).fit(X, y)
            assert 17 not in probe.neurons_


def test_a_constant_target_is_a_mistake() -> None:
    X, _, _ = planted()
    with pytest.raises(WireworkError, match="probe-target-constant"):
        SparseProbeRegressor().fit(X, np.full(400, 3.0))


def test_a_probe_is_copied_with_its_options() -> None:
    probe = clone(SparseProbe(k=4, method="optimal", gamma=0.5))
    assert (probe.k, probe.method, probe.gamma) == (4, "optimal", 0.5)
