"""Intervals and means against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from wirework.core.stats import bootstrap_interval, geometric_mean, share_interval

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
levels = st.floats(0.5, 0.999)
values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(counts, levels)
def test_the_share_interval_is_wilsons(count: tuple[int, int], level: float) -> None:
    hits, n = count
    reference = binomtest(hits, n).proportion_ci(level, method="wilson")
    low, high = share_interval(hits, n, level)
    assert low == pytest.approx(reference.low, abs=1e-12)
    assert high == pytest.approx(reference.high, abs=1e-12)


@given(counts)
def test_the_share_lies_within_its_interval(count: tuple[int, int]) -> None:
    hits, n = count
    low, high = share_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert (low == 0) == (hits == 0)
    assert (high == 1) == (hits == n)


@given(counts)
def test_the_share_interval_is_the_mirror_of_the_misses(count: tuple[int, int]) -> None:
    hits, n = count
    low, high = share_interval(hits, n)
    assert share_interval(n - hits, n) == pytest.approx((1 - high, 1 - low))


def test_nothing_seen_says_nothing() -> None:
    assert share_interval(0, 0) == (0.0, 1.0)


@given(values, st.integers(0, 2**32))
def test_the_bootstrap_interval_lies_within_the_values(rows: list[float], seed: int) -> None:
    low, high = bootstrap_interval(rows, draws=50, seed=seed)
    slack = 1e-9 * max(map(abs, rows))
    assert min(rows) - slack <= low <= high <= max(rows) + slack


@given(values, st.integers(0, 2**32))
def test_one_seed_gives_one_interval(rows: list[float], seed: int) -> None:
    first = bootstrap_interval(rows, draws=20, seed=seed)
    assert bootstrap_interval(rows, draws=20, seed=seed) == first


def test_the_bootstrap_interval_is_near_the_normal_one() -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(rows, draws=4000, seed=1)
    error = rows.std() / math.sqrt(len(rows))
    assert low == pytest.approx(rows.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(rows.mean() + 1.96 * error, abs=0.15 * error)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval(random.exponential(1.0, 60), draws=300, seed=trial)
        covered += low <= 1.0 <= high
    assert 0.86 <= covered / 200 <= 0.98


def test_rows_of_one_cluster_are_drawn_together() -> None:
    rows = np.repeat([0.0, 1.0], 50)
    wide = bootstrap_interval(rows, clusters=[0] * 50 + [1] * 50, seed=0)
    narrow = bootstrap_interval(rows, seed=0)
    assert wide == (0.0, 1.0)
    assert 0.35 < narrow[0] < 0.5 < narrow[1] < 0.65


def test_any_statistic_of_any_rows() -> None:
    rows = np.stack([np.arange(50.0), 2 * np.arange(50.0)], axis=1)

    def ratio(sample: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
        return float(sample[:, 1].sum() / sample[:, 0].sum())

    assert bootstrap_interval(rows, ratio, draws=100, seed=0) == pytest.approx((2.0, 2.0))


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(0.1, 10))
def test_the_geometric_mean(rows: list[float], factor: float) -> None:
    mean = geometric_mean(rows)
    assert min(rows) * (1 - 1e-9) <= mean <= max(rows) * (1 + 1e-9)
    assert math.log(mean) == pytest.approx(sum(map(math.log, rows)) / len(rows), abs=1e-9)
    assert geometric_mean([factor * row for row in rows]) == pytest.approx(factor * mean)
