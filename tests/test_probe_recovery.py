"""Planted neurons are found again, by every method that can; controls stay at chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from wirework.core import WireworkError
from wirework.probing.probe import METHODS, SparseProbe
from wirework.probing.rankings import RANKINGS, ranking, regression_ranking
from wirework.probing.synthetic import planted_neurons


def recovered(method: str, *, seeds: int = 3, shift: float = 0.4) -> float:
    """Share of four planted neurons among the four chosen."""
    shares = []
    for seed in range(seeds):
        X, y, planted = planted_neurons(1000, 120, 4, shift=shift, positive_rate=0.3, seed=seed)
        probe = SparseProbe(k=4, method=method, time_limit=600).fit(X, y)
        shares.append(len(set(probe.neurons_) & set(planted)) / 4)
    return float(np.mean(shares))


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m not in ("mutual_information", "random", "dense")]
)
def test_planted_neurons_are_recovered(method: str) -> None:
    assert recovered(method) == 1.0


def test_mutual_information_recovers_strong_ones_and_random_none() -> None:
    assert recovered("mutual_information", seeds=1, shift=1.0) == 1.0
    assert recovered("random", seeds=10) <= 0.2


@pytest.mark.parametrize("method", ["mean_difference", "adaptive", "greedy", "optimal"])
def test_shuffled_labels_stay_at_chance(method: str) -> None:
    scores = []
    for seed in range(20):
        X, y, _ = planted_neurons(600, 60, 4, shift=0.8, positive_rate=0.3, seed=seed)
        y = np.random.default_rng(seed).permutation(y)
        probe = SparseProbe(k=2, method=method, time_limit=600).fit(X[:400], y[:400])
        scores.append(balanced_accuracy_score(y[400:], probe.predict(X[400:])))
    mean, error = np.mean(scores), np.std(scores, ddof=1) / np.sqrt(20)
    # Student's t, 19 degrees of freedom, 95%.
    assert abs(mean - 0.5) <= 2.093 * error


def test_a_ranking_is_its_definition() -> None:
    X, y, _ = planted_neurons(300, 20, 3, shift=0.5)
    found = ranking(X, y, "mean_difference")
    assert found == pytest.approx(np.abs(X[y].mean(axis=0) - X[~y].mean(axis=0)))
    within = (((X[y] - X[y].mean(axis=0)) ** 2).sum(axis=0)) + (
        ((X[~y] - X[~y].mean(axis=0)) ** 2).sum(axis=0)
    )
    between = (
        y.sum() * (X[y].mean(axis=0) - X.mean(axis=0)) ** 2
        + (~y).sum() * (X[~y].mean(axis=0) - X.mean(axis=0)) ** 2
    )
    assert ranking(X, y, "f_statistic") == pytest.approx(between / (within / 298))
    assert sorted(ranking(X, y, "random", seed=3)) == list(range(20))
    assert ranking(X, y, "random", seed=3).tolist() == ranking(X, y, "random", seed=3).tolist()


@pytest.mark.parametrize("method", [m for m in RANKINGS if m not in ("random",)])
def test_a_neuron_that_is_off_for_the_label_ranks_as_one_that_is_on(method: str) -> None:
    X, y, planted = planted_neurons(800, 12, 1, shift=1.0, seed=4)
    assert ranking(X, y, method).argmax() == planted[0]
    assert ranking(-X, y, method).argmax() == planted[0]


def test_silenced_neurons_follow_by_mean_difference() -> None:
    X, y, _ = planted_neurons(200, 40, 3, shift=0.5)
    scores = ranking(X / 50, y, "l1_logistic")
    silent = scores < 0
    apart = ranking(X / 50, y, "mean_difference")
    assert silent.sum() > 30
    assert (np.argsort(scores[silent]) == np.argsort(apart[silent])).all()


def test_rankings_for_numbers() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30))
    y = X[:, 9] + 0.3 * rng.standard_normal(400)
    for method in ("f_statistic", "mutual_information"):
        assert regression_ranking(X, y, method).argmax() == 9
    assert sorted(regression_ranking(X, y, "random")) == list(range(30))


def test_unknown_rankings_are_named() -> None:
    with pytest.raises(WireworkError, match="mean_difference"):
        ranking(np.eye(4), np.array([0, 1, 0, 1]), "mean_diference")
    with pytest.raises(WireworkError, match="probe-ranking-unknown"):
        regression_ranking(np.eye(4), np.arange(4.0), "mean_difference")


def test_rankings_refuse_what_cannot_be_ranked() -> None:
    X, y, _ = planted_neurons(50, 5, 1, shift=1.0)
    with pytest.raises(WireworkError, match="probe-one-class"):
        ranking(X, np.ones(50), "mean_difference")
    X[3, 2] = np.nan
    with pytest.raises(WireworkError, match="probe-not-finite") as caught:
        ranking(X, y, "f_statistic")
    assert caught.value.got == "neurons 2"
    with pytest.raises(WireworkError, match="probe-not-finite"):
        regression_ranking(X, y.astype(float), "random")
