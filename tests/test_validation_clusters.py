"""Templates are what is drawn: intervals hold what they say, tests keep their level."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom

from planted_circuits import circuit_of
from wirework.core.stats import bootstrap_interval, share_interval
from wirework.planted import (
    Planted,
    backup_unit,
    either_unit,
    minimal_circuits,
    quote_with_decoys,
    twin_values,
)
from wirework.validation.clusters import (
    clustered_share_interval,
    template_clusters,
    variance_of_mean,
    widened,
)
from wirework.validation.config import ValidationConfig
from wirework.validation.equivalence import ShareTests, by_turns, wins
from wirework.validation.exact_tests import equivalence_p, non_equivalence_p
from wirework.validation.subject import Subject

Rows = NDArray[np.float64]

ALPHA = 0.05
NULLS = 500
MOST = float(binom.ppf(0.99, NULLS, ALPHA) / NULLS)

by_templates = pytest.mark.parametrize("templates", [3, 6, 12, 20])


def of_templates(pairs: int, templates: int) -> NDArray[np.int64]:
    return np.arange(pairs) % templates


def won(
    random: np.random.Generator,
    share: float,
    clusters: NDArray[np.int64],
    alike: float,
    ties: float = 0.0,
) -> Rows:
    """Trials won with a probability that varies between clusters with an intraclass correlation of
    `alike`, some of them tied."""
    a = (1 - alike) / alike
    own = random.beta(share * a, (1 - share) * a, clusters.max() + 1)[clusters]
    rows: Rows = (random.random(len(clusters)) < own).astype(np.float64)
    rows[random.random(len(clusters)) < ties] = 0.5
    return rows


# -- intervals


@by_templates
def test_the_interval_of_a_share_holds_it_where_templates_differ(templates: int) -> None:
    random, clusters = np.random.default_rng(templates), of_templates(120, templates)
    held, naive = 0, 0
    for _ in range(NULLS):
        rows = np.stack([won(random, 0.95, clusters, 0.1)] * 2, axis=1)
        low, high = clustered_share_interval(rows, clusters)
        held += low <= 0.95 <= high
        low, high = share_interval(int(rows.sum()), rows.size)
        naive += low <= 0.95 <= high
    assert held / NULLS >= 0.9
    assert naive < held - NULLS / 10


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40), st.integers(2, 6)
)
def test_the_interval_of_a_share_is_no_point(hits: list[tuple[bool, bool]], templates: int) -> None:
    rows = np.array(hits, dtype=float)
    low, high = clustered_share_interval(
        rows, template_clusters(of_templates(len(rows), templates))
    )
    assert 0 <= low <= rows.mean() + 1e-12 and rows.mean() - 1e-12 <= high <= 1
    assert high - low > 0.01
    wilson = share_interval(int(rows.sum()), rows.size)
    assert low <= wilson[0] + 1e-12 and high >= wilson[1] - 1e-12


def test_fewer_templates_say_less() -> None:
    lows = [
        clustered_share_interval(np.ones((60, 2)), of_templates(60, templates))[0]
        for templates in (2, 3, 6, 12, 20)
    ]
    assert lows == sorted(lows) and lows[0] < 0.5 and lows[-1] > 0.9
    # One cluster says nothing about others; of one template pairs are what is drawn.
    assert clustered_share_interval(np.ones((60, 2)), np.zeros(60, dtype=int)) == (0, 1)
    assert np.array_equal(template_clusters([7, 7, 7]), [0, 1, 2])
    assert np.array_equal(template_clusters([7, 3, 7]), [1, 0, 1])


def test_the_variance_of_a_mean_is_the_usual_one_for_rows_by_themselves() -> None:
    rows = np.random.default_rng(0).normal(size=50)
    assert variance_of_mean(rows, np.arange(50)) == pytest.approx(rows.var(ddof=1) / 50)
    # Of equal clusters, that of their means.
    means = rows.reshape(10, 5).mean(axis=1)
    expected = means.var(ddof=1) / 10
    assert variance_of_mean(rows, np.repeat(np.arange(10), 5)) == pytest.approx(expected)


def covered(templates: int, trials: int, widen: bool) -> float:
    """Of means of losses, half of whose variance is between templates."""
    random, clusters, held = np.random.default_rng(templates), of_templates(60, templates), 0
    for seed in range(trials):
        rows = 1 + random.normal(size=templates)[clusters] + random.normal(size=60)
        ends = bootstrap_interval(rows, clusters=clusters.tolist(), draws=200, seed=seed)
        low, high = widened(float(rows.mean()), ends, templates) if widen else ends
        held += low <= 1 <= high
    return held / trials


def test_a_bootstrap_over_few_templates_is_widened() -> None:
    assert covered(4, 200, widen=True) >= 0.9
    assert covered(4, 200, widen=False) < 0.87
    assert widened(1.0, (0.5, 1.5), 1) == (0.5, 1.5)
    low, high = widened(1.0, (0.5, 1.5), 1000)
    assert (low, high) == pytest.approx((0.5, 1.5), abs=0.002)
    # Never narrower, wherever the value lies.
    assert widened(2.0, (0.5, 1.5), 5)[1] == 1.5


@pytest.mark.long
@by_templates
def test_it_holds_the_mean_for_any_number_of_templates(templates: int) -> None:
    assert covered(templates, 600, widen=True) >= 0.92


# -- tests of shares


def rejected(
    kind: str,
    share: float,
    templates: int,
    alike: float,
    *,
    pairs: int = 120,
    ties: float = 0.0,
) -> float:
    """How often the null `kind` is rejected at an epsilon of 0.1."""
    random, clusters = np.random.default_rng(templates), of_templates(pairs, templates)
    found = [
        getattr(ShareTests.of(won(random, share, clusters, alike, ties), clusters, 0.1), kind)
        for _ in range(NULLS)
    ]
    return float(np.mean(np.array(found) <= ALPHA))


@pytest.mark.parametrize("templates", [4, 12, 20])
def test_templates_that_differ_make_no_false_positives(templates: int) -> None:
    for kind in ("equivalent", "different"):
        assert rejected(kind, 0.6, templates, 0.2) <= MOST
    assert rejected("different", 0.5, templates, 0.5) <= MOST


@pytest.mark.long
@pytest.mark.parametrize("templates", [2, 4, 7, 12, 20])
@pytest.mark.parametrize("alike", [0.01, 0.1, 0.5, 0.99])
def test_nor_do_they_however_alike_their_prompts_are(templates: int, alike: float) -> None:
    for kind in ("equivalent", "different"):
        for share in (0.4, 0.6):
            assert rejected(kind, share, templates, alike, pairs=240) <= MOST


def test_every_prompt_for_itself_would_make_many() -> None:
    random, clusters = np.random.default_rng(0), of_templates(120, 4)
    plain: dict[Callable[[float, int, float], float], int] = {
        equivalence_p: 0,
        non_equivalence_p: 0,
    }
    for _ in range(NULLS):
        total = float(won(random, 0.6, clusters, 0.2).sum())
        for test in plain:
            plain[test] += test(total, 120, 0.1) <= ALPHA
    assert plain[non_equivalence_p] / NULLS > 3 * MOST


def test_what_is_planted_is_found() -> None:
    assert rejected("different", 0.9, 12, 0.1) >= 0.8
    assert rejected("equivalent", 0.5, 12, 0.02, pairs=256, ties=0.5) >= 0.8
    assert rejected("equivalent", 0.5, 4, 0.02, pairs=256, ties=0.8) >= 0.8


def test_few_templates_cannot_show_a_difference() -> None:
    for templates in (2, 4, 6, 7, 12):
        clusters = of_templates(60, templates)
        found = ShareTests.of(np.ones(60), clusters, 0.1)
        assert (found.different <= ALPHA) == (templates >= 7)
        assert found.equivalent == 1
    # Of a single template new fillings are drawn, and they can.
    alone = template_clusters(np.zeros(60))
    assert ShareTests.of(np.ones(60), alone, 0.1).different < 1e-6


def test_ties_and_missing_margins() -> None:
    assert by_turns([0, 1, 2, 10, 11, 12]).tolist() == [0, 11, 2]
    whole = np.array([1.0, -1.0, 1.0, 1.0])
    assert wins([1.19, -1.3, 2.0, 0.9], whole, 0.2).tolist() == [0.5, 0, 1, 0.5]
    missing = wins([1.0, np.nan, 1.0, 1.0], whole, 0.2)
    assert np.isnan(missing).tolist() == [False, True, False, False]
    assert ShareTests.of(missing, np.arange(4), 0.1) == ShareTests(1.0, 1.0, 1.0)
    # Nothing but ties is as alike as margins can be.
    tied = ShareTests.of(np.full(100, 0.5), of_templates(100, 3), 0.1)
    assert tied.equivalent == equivalence_p(50, 100, 0.1) <= ALPHA
    assert tied.different == 1


def equivalent(planted: Planted) -> float:
    """p-value of its smallest true circuit."""
    truth = min(minimal_circuits(planted, 0.15), key=lambda nodes: (len(nodes), sorted(nodes)))
    subject = Subject.of(circuit_of(planted, sorted(truth)), planted.checkpoint, None)
    alone, whole = by_turns(subject.circuit_margins()), by_turns(subject.margins(None))
    config = ValidationConfig()
    scores = wins(alone, whole, config.equivalence_zone)
    clusters = template_clusters(subject.templates)
    return ShareTests.of(scores, clusters, config.equivalence_margin).equivalent


@pytest.mark.parametrize("family", [quote_with_decoys, either_unit, backup_unit])
def test_a_norm_that_sees_less_makes_a_true_circuit_no_other(
    family: Callable[[], Planted],
) -> None:
    assert equivalent(family()) <= ALPHA


def test_one_of_two_equal_units_has_too_little_of_the_margin() -> None:
    assert equivalent(twin_values()) > 0.9
