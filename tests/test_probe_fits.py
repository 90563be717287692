"""The fits behind the probes, and adaptive thresholding: equal to their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from wirework.core import WireworkError
from wirework.probing.adaptive import adaptive_path, elastic_net, k_grid
from wirework.probing.losses import (
    LOSSES,
    Floats,
    Logistic,
    Loss,
    Squared,
    balanced_weights,
    make_loss,
)
from wirework.probing.newton import fit_ridge
from wirework.probing.rankings import mean_difference
from wirework.probing.synthetic import planted_neurons


def problem(n: int, d: int, loss: str = "logistic") -> tuple[Floats, Loss]:
    X, y, _ = planted_neurons(n, d, min(d, 4), shift=0.4, seed=2)
    return X / (10 * X.std(axis=0)), make_loss(loss, np.where(y, 1.0, -1.0), balanced_weights(y))


def test_balanced_weights_give_both_classes_half() -> None:
    y = np.arange(10) < 2
    c = balanced_weights(y)
    assert c[y].sum() == pytest.approx(5) and c.sum() == pytest.approx(10)


@pytest.mark.parametrize("d", [3, 40, 600])
def test_a_logistic_fit_is_that_of_scikit_learn(d: int) -> None:
    X, loss = problem(150, d)
    found = fit_ridge(X, loss, 2.0)
    model = LogisticRegression(
        C=2.0, class_weight="balanced", tol=1e-12, solver="newton-cholesky", max_iter=1000
    ).fit(X, loss.y)
    assert found.converged and found.gradient <= 1e-7
    assert np.abs(found.w - model.coef_[0]).max() < (1e-9 if d < 500 else 1e-4)
    assert found.b == pytest.approx(model.intercept_[0], abs=1e-9 if d < 500 else 1e-4)


@pytest.mark.parametrize("loss_name", LOSSES)
def test_a_fit_is_a_stationary_point(loss_name: str) -> None:
    X, loss = problem(150, 20, loss_name)
    found = fit_ridge(X, loss, 0.5)
    z = X @ found.w + found.b
    alpha = loss.slopes(z)[0]
    assert found.converged
    assert np.abs(found.w / 0.5 - alpha @ X).max() < 1e-7
    assert abs(alpha.sum()) < 1e-7
    assert found.value == pytest.approx(loss.value(z) + found.w @ found.w, rel=1e-12)
    # Without a gap between the objective and its bound at the solution.
    alpha = loss.feasible(alpha)
    q = (alpha @ X) ** 2
    assert loss.dual(alpha, 0.25 * q.sum()) == pytest.approx(found.value, rel=1e-9)


@pytest.mark.parametrize("loss_name", LOSSES)
def test_slopes_are_those_of_the_value(loss_name: str) -> None:
    _, loss = problem(60, 5, loss_name)
    z = np.random.default_rng(0).standard_normal(60)
    step = 1e-6 * np.random.default_rng(1).standard_normal(60)
    alpha, curvature = loss.slopes(z)
    assert loss.value(z + step) - loss.value(z - step) == pytest.approx(-2 * alpha @ step, rel=1e-6)
    assert (curvature >= 0).all()


def test_an_unfinished_fit_says_so() -> None:
    X, loss = problem(150, 20)
    assert not fit_ridge(X, loss, 1e4, steps=1).converged


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_elastic_net_meets_its_conditions(share: float) -> None:
    X, loss = problem(400, 60)
    C = 3.0
    w = elastic_net(X, loss, C, share, np.zeros(0))
    b = fit_intercept(X @ w, loss)
    pull = loss.slopes(X @ w + b)[0] @ X - (1 - share) / C * w
    on = w != 0
    assert 0 < on.sum() < 60
    assert np.abs(pull[on] - share / C * np.sign(w[on])).max() < 1e-4
    assert np.abs(pull[~on]).max() <= share / C + 1e-4


def fit_intercept(base: Floats, loss: Loss) -> float:
    b = 0.0
    for _ in range(50):
        alpha, curvature = loss.slopes(base + b)
        b += float(alpha.sum() / curvature.sum())
    return b


def test_the_published_grid() -> None:
    assert k_grid(1024, 256) == (*range(1, 9), 10, 12, 16, 32, 64, 128, 256)
    assert k_grid(100) == (*range(1, 9), 10, 12, 16, 32, 64, 100)
    assert k_grid(3) == (1, 2, 3)


def test_the_sweep_is_nested_and_ends_at_k() -> None:
    X, y, planted = planted_neurons(800, 100, 4, shift=0.4, seed=1)
    X /= 10 * X.std(axis=0)
    loss = Logistic(np.where(y, 1.0, -1.0), balanced_weights(y))
    path = adaptive_path(X, loss, mean_difference(X, y), 1)
    assert sorted(path) == list(k_grid(100))
    for smaller, larger in zip(sorted(path), sorted(path)[1:], strict=False):
        assert len(path[smaller]) == smaller
        assert set(path[smaller]) < set(path[larger])
    assert set(path[4]) == set(planted)
    # From k on it is the same sweep.
    assert adaptive_path(X, loss, mean_difference(X, y), 4)[4].tolist() == path[4].tolist()


def test_a_sweep_for_numbers() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 80)) / 10
    y = X[:, 7] * 30 - X[:, 33] * 20 + rng.standard_normal(500)
    y = (y - y.mean()) / y.std()
    loss = Squared(y, np.ones(500))
    path = adaptive_path(X, loss, np.abs(y @ X), 1)
    assert set(path[2]) == {7, 33} and path[1].tolist() == [7]


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(WireworkError, match="probe-loss-unknown"):
        make_loss("hinge", np.ones(2), np.ones(2))
