"""The optimal probe: equal to brute force, its bounds true bounds, its status honest."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wirework.core import WireworkError
from wirework.probing.branch_and_bound import best_subset
from wirework.probing.greedy import greedy_swap
from wirework.probing.losses import LOSSES, Floats, Loss, balanced_weights, make_loss
from wirework.probing.newton import fit_ridge
from wirework.probing.perspective import perspective, shares
from wirework.probing.synthetic import planted_neurons


def problem(
    n: int,
    d: int,
    *,
    loss: str = "logistic",
    shift: float = 0.35,
    hard: bool = False,
    seed: int = 0,
) -> tuple[Floats, Loss]:
    """Activations in the published scale and the balanced loss."""
    X, y, _ = planted_neurons(
        n,
        d,
        min(8, d // 4),
        shift=shift,
        decoys=d // 25 if hard else 0,
        factors=20 if hard else 0,
        seed=seed,
    )
    return X / (10 * X.std(axis=0)), make_loss(loss, np.where(y, 1.0, -1.0), balanced_weights(y))


def by_fits(X: Floats, loss: Loss, k: int, gamma: float) -> float:
    """The least objective over all supports, one fit each."""
    every = combinations(range(X.shape[1]), k)
    return min(fit_ridge(X[:, list(support)], loss, gamma).value for support in every)


def centred_gram(X: Floats, loss: Loss) -> tuple[Floats, Floats, float]:
    X = X - loss.c @ X / loss.c.sum()
    y = loss.y - loss.c @ loss.y / loss.c.sum()
    return X.T @ (loss.c[:, None] * X), X.T @ (loss.c * y), float(loss.c @ y**2) / 2


def all_pairs(X: Floats, loss: Loss, gamma: float) -> tuple[float, float]:
    """The least squared-loss objective of one neuron and of two, over all of them."""
    H, r, nothing = centred_gram(X, loss)
    size = H.diagonal() + 1 / gamma
    pairs = (np.outer(r**2, size) + np.outer(size, r**2) - 2 * np.outer(r, r) * H) / (
        np.outer(size, size) - H**2 + np.diag(np.full(len(r), np.inf))
    )
    return nothing - float((r**2 / size).max()) / 2, nothing - float(pairs.max()) / 2


def all_triples(X: Floats, loss: Loss, gamma: float) -> float:
    H, r, nothing = centred_gram(X, loss)
    supports = np.array(list(combinations(range(len(r)), 3)))
    blocks = H[supports[:, :, None], supports[:, None, :]] + np.eye(3) / gamma
    solved = np.linalg.solve(blocks, r[supports][..., None])[..., 0]
    return nothing - float((r[supports] * solved).sum(axis=1).max()) / 2


@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 20))]
)
def test_one_and_two_neurons_equal_brute_force_over_1024(seed: int) -> None:
    # Correlated neurons with the published shrinkage, others with a weak one (n gamma_z = 10).
    X, loss = problem(300, 1024, loss="squared", hard=seed % 2 == 1, seed=seed)
    gamma = (1000 / 300, 1 / np.sqrt(300))[seed % 2]
    one, two = all_pairs(X, loss, gamma)
    for k, least in ((1, one), (2, two)):
        found = best_subset(X, loss, k, gamma, gap=1e-10, time_limit=600)
        assert found.certificate.status == "optimal"
        assert found.certificate.value == pytest.approx(least, rel=1e-10)
        assert found.certificate.lower_bound == pytest.approx(least, rel=1e-9)


def test_the_best_of_1024_neurons_for_the_logistic_loss() -> None:
    X, loss = problem(200, 1024, hard=True)
    found = best_subset(X, loss, 1, 5.0, gap=1e-10, time_limit=600).certificate
    assert found.value == pytest.approx(by_fits(X, loss, 1, 5.0), rel=1e-10)
    assert found.status == "optimal"


@pytest.mark.parametrize("strength", [0.5, 20.0])
def test_three_neurons_equal_brute_force_over_40(strength: float) -> None:
    X, loss = problem(200, 40, loss="squared", hard=True)
    found = best_subset(X, loss, 3, strength, gap=1e-10, time_limit=600)
    assert found.certificate.value == pytest.approx(all_triples(X, loss, strength), rel=1e-10)
    assert found.certificate.gap <= 1e-10


@pytest.mark.parametrize("loss_name", LOSSES)
@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_loss_equals_brute_force(loss_name: str, k: int) -> None:
    X, loss = problem(120, 14, loss=loss_name, hard=True, seed=3)
    for gamma in (0.1, 8.0):
        found = best_subset(X, loss, k, gamma, gap=1e-9, time_limit=600)
        assert found.certificate.value == pytest.approx(by_fits(X, loss, k, gamma), rel=1e-9)
        assert found.certificate.status == "optimal"
        assert len(found.support) == k and found.certificate.filter_size == 14


@settings(max_examples=40)
@given(
    loss_name=st.sampled_from(LOSSES),
    n=st.integers(8, 40),
    d=st.integers(2, 9),
    k=st.integers(1, 4),
    gamma=st.sampled_from([1e-3, 0.1, 10.0, 1e3]),
    nodes=st.sampled_from([1, 2, 5, 1000]),
    gap=st.sampled_from([0.0, 1e-3, 0.1]),
    seed=st.integers(0, 10**6),
)
def test_no_bound_is_above_the_optimum(
    loss_name: str, n: int, d: int, k: int, gamma: float, nodes: int, gap: float, seed: int
) -> None:
    k = min(k, d)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ (np.eye(d) + rng.standard_normal((d, d)))
    y = np.arange(n) < rng.integers(1, n)
    loss = make_loss(loss_name, np.where(y, 1.0, -1.0), balanced_weights(y))
    found = best_subset(X, loss, k, gamma, gap=gap, max_nodes=nodes).certificate
    least = by_fits(X, loss, k, gamma)
    close = 1e-9 * loss.c.sum()
    assert found.lower_bound <= least + close
    assert found.value >= least - close
    assert found.gap >= 0
    if found.status == "optimal":
        assert found.value * (1 - gap) <= least + close
    else:
        assert found.status == "node_limit" and found.gap > gap


@settings(max_examples=40)
@given(loss_name=st.sampled_from(LOSSES), k=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_any_dual_weights_give_a_true_bound(loss_name: str, k: int, seed: int) -> None:
    X, loss = problem(30, 6, loss=loss_name, seed=seed)
    rng = np.random.default_rng(seed)
    alpha = loss.feasible(loss.slopes(rng.standard_normal(30) * rng.choice([0.1, 1, 10]))[0])
    q = np.sort((alpha @ X) ** 2)[::-1]
    bound = loss.dual(alpha, 2.0 / 2 * q[:k].sum())
    assert alpha.sum() == pytest.approx(0, abs=1e-9)
    assert bound <= by_fits(X, loss, k, 2.0) + 1e-9


@settings(max_examples=60)
@given(
    w=st.lists(st.floats(-5, 5), min_size=1, max_size=9),
    slots=st.integers(1, 4),
    taken=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_shares_are_the_best_way_to_share_out_the_slots(
    w: list[float], slots: int, taken: int, seed: int
) -> None:
    weights = np.array(w)
    inside = np.arange(len(w)) < taken
    s = shares(weights, inside, slots)
    assert ((s >= 0) & (s <= 1)).all() and (s[inside] == 1).all()
    used = s[~inside & (weights != 0)].sum()
    assert used <= slots + 1e-9
    least = perspective(weights, inside, slots)
    # No other way to share out is better.
    other = np.random.default_rng(seed).uniform(1e-6, 1, len(w))
    other *= min(1.0, slots / max(other[~inside].sum(), 1e-9))
    other[inside] = 1
    assert least <= (weights**2 / other).sum() * (1 + 1e-9) + 1e-9
    assert least >= weights @ weights * (1 - 1e-9)


def test_out_of_time_the_best_found_is_given_with_a_true_bound() -> None:
    X, loss = problem(300, 200, loss="squared", hard=True, shift=0.15)
    found = best_subset(X, loss, 8, 5.0, time_limit=0.0)
    certificate = found.certificate
    assert certificate.status == "time_limit" and certificate.gap > 1e-3
    assert 0 < certificate.lower_bound < certificate.value
    assert certificate.gap == pytest.approx(1 - certificate.lower_bound / certificate.value)
    longer = best_subset(X, loss, 8, 5.0, max_nodes=60, time_limit=600).certificate
    assert longer.lower_bound >= certificate.lower_bound
    assert longer.value <= certificate.value
    assert certificate.lower_bound <= longer.value


def test_the_published_shrinkage_is_proved_with_few_nodes_at_1024() -> None:
    for hard in (False, True):
        X, loss = problem(1400, 1024, hard=hard, seed=1)
        for k in (1, 2, 4, 8):
            certificate = best_subset(X, loss, k, 1 / np.sqrt(1400), time_limit=600).certificate
            assert certificate.gap <= 1e-3 and certificate.nodes <= 25


@pytest.mark.parametrize("k", [0, 6])
def test_more_neurons_than_there_are_cannot_be_chosen(k: int) -> None:
    X, y, _ = planted_neurons(50, 5, 1, shift=1.0)
    loss = make_loss("logistic", np.where(y, 1.0, -1.0), balanced_weights(y))
    with pytest.raises(WireworkError, match="probe-k-invalid"):
        best_subset(X, loss, k, 1.0)


def test_further_supports_are_starts() -> None:
    X, loss = problem(120, 14, seed=5)
    best: NDArray[np.int64] = best_subset(X, loss, 3, 5.0, gap=1e-9).support
    again = best_subset(X, loss, 3, 5.0, starts=(best,), max_nodes=1)
    assert again.support.tolist() == best.tolist()


def test_a_neuron_and_its_copy_are_one_choice() -> None:
    X, loss = problem(120, 10, loss="squared")
    X = np.hstack([X, X[:, :3]])
    found = best_subset(X, loss, 2, 5.0, gap=1e-9, time_limit=600)
    assert found.certificate.value == pytest.approx(by_fits(X, loss, 2, 5.0), rel=1e-9)


def test_neurons_that_say_nothing_do_not_stop_the_search() -> None:
    X, loss = problem(60, 6)
    X[:, 1:] = 0
    for k in (1, 2, 4):
        certificate = best_subset(X, loss, k, 5.0, gap=0.0, time_limit=600).certificate
        assert certificate.value == pytest.approx(by_fits(X, loss, 1, 5.0), rel=1e-9)
        assert certificate.gap <= 1e-9


def test_greedy_with_swaps_is_no_worse_than_any_single_swap() -> None:
    X, loss = problem(200, 30, loss="squared", hard=True)
    chosen = greedy_swap(X, loss.y, loss.c, 4, 5.0)
    value = fit_ridge(X[:, chosen], loss, 5.0).value
    for place in range(4):
        for new in set(range(30)) - set(chosen.tolist()):
            swapped = [*np.delete(chosen, place).tolist(), new]
            assert fit_ridge(X[:, swapped], loss, 5.0).value >= value - 1e-9
