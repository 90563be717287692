"""All features against all neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score

from wirework.core import WireworkError
from wirework.probing.feature import NOT_ASKED, YES, Feature
from wirework.probing.labelled import LabelledTokens
from wirework.probing.one_neuron import (
    balanced_accuracy_of,
    confusion,
    f1_of,
    fit_one_neuron_probes,
)
from wirework.probing.scan import InMemory, Scan, scan

DOCUMENTS, EACH, WIDTH = 40, 50, 60


def labelled(labels: NDArray[np.int8]) -> LabelledTokens:
    n, features = labels.shape
    assert n == DOCUMENTS * EACH
    return LabelledTokens(
        tokens=np.zeros(n, np.int64),
        document=np.repeat(np.arange(DOCUMENTS), EACH),
        position=np.tile(np.arange(EACH), DOCUMENTS),
        labels=labels,
        features=tuple(Feature(f"feature {i}", "made", "made by hand") for i in range(features)),
        documents=tuple(f"{i}.py" for i in range(DOCUMENTS)),
        feature_set="made",
    )


def made(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Feature 0 is in neuron 7, feature 1 where neuron 11 is low, feature 2 nowhere."""
    random = np.random.default_rng(seed)
    n = DOCUMENTS * EACH
    X = random.standard_normal((n, WIDTH)).astype(np.float32)
    labels = (random.random((n, 3)) < [0.2, 0.4, 0.3]).astype(np.int8)
    X[:, 7] += 4 * labels[:, 0]
    X[:, 11] -= 4 * labels[:, 1]
    return X, labels


def scanned(X: NDArray[np.float32], labels: NDArray[np.int8], **options: Any) -> Scan:
    return scan(InMemory({"one": X, "other": -X[:, ::2]}), labelled(labels), **options)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0.05, 0.95), apart=st.floats(-3, 3))
def test_a_fit_is_that_of_scikit_learn(seed: int, share: float, apart: float) -> None:
    random = np.random.default_rng(seed)
    y = random.random(80) < share
    y[:2] = [True, False]
    X = (random.standard_normal((3, 80)) + apart * y).astype(np.float32)
    found = fit_one_neuron_probes(X, y)
    for row, (weight, bias) in zip(X, found, strict=True):
        model = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=1000)
        model.fit(row.astype(np.float64)[:, None], y)
        assert weight == pytest.approx(model.coef_[0, 0], abs=1e-4)
        assert bias == pytest.approx(model.intercept_[0], abs=1e-4)


def test_a_neuron_that_parts_the_classes_perfectly_gets_finite_weights() -> None:
    y = np.arange(40) < 5
    found = fit_one_neuron_probes(np.where(y, 1e4, -1e4).astype(np.float32)[None], y)
    assert np.isfinite(found).all()
    assert found[0, 0] > 0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[bool, bool]]) -> None:
    # Both classes, or there is no balanced accuracy.
    both = [*pairs, (True, True), (False, False)]
    said, y = (np.array(column) for column in zip(*both, strict=True))
    counts = confusion(said, y)
    assert f1_of(counts) == pytest.approx(f1_score(y, said))
    assert balanced_accuracy_of(counts) == pytest.approx(balanced_accuracy_score(y, said))


def test_planted_neurons_are_found_with_their_direction() -> None:
    X, labels = made()
    found = scanned(X, labels)
    on, off = found.best["feature 0"], found.best["feature 1"]
    assert (on.site, on.neuron) == ("one", 7)
    assert off.neuron == 11
    assert off.weight < 0 < on.weight
    for score in (on, off):
        assert score.low <= score.f1 <= score.high
        assert score.f1 > 0.85
    assert found.best["feature 2"].balanced_accuracy < 0.6
    assert set(found.by_site["feature 0"]) == {"one", "other"}
    assert found.by_site["feature 0"]["other"].f1 < on.f1


def test_scores_are_of_the_activations_as_they_are() -> None:
    X, labels = made()
    score = scanned(100 * X, labels).best["feature 0"]
    asked = labelled(labels)
    _, held = asked.split(0)
    said = score.weight * (100 * X[held, score.neuron]) + score.bias > 0
    assert score.f1 == pytest.approx(f1_score(labels[held, 0], said))
    assert score.recall == pytest.approx(said[labels[held, 0] == YES].mean())


def test_test_text_is_not_looked_at_before_the_choice() -> None:
    X, labels = made()
    before = scanned(X, labels)
    _, held = labelled(labels).split(0)
    changed = labels.copy()
    changed[held] = 1 - changed[held]
    after = scanned(X, changed)
    for name, score in before.best.items():
        other = after.best[name]
        assert (other.neuron, other.weight, other.train_f1) == (
            score.neuron, score.weight, score.train_f1,
        )  # fmt: skip
    assert after.best["feature 0"].f1 < 0.3 < before.best["feature 0"].f1


def test_controls_are_at_chance() -> None:
    X, labels = made()
    found = scanned(X, labels)
    shuffled = [score.balanced_accuracy for score in found.controls["shuffled"].values()]
    assert np.mean(shuffled) == pytest.approx(0.5, abs=0.04)
    random = found.controls["random"]["feature 0"]
    assert random.f1 < found.best["feature 0"].f1 - 0.2


def test_tokens_that_are_not_asked_count_nowhere() -> None:
    X, labels = made()
    hidden = np.random.default_rng(1).random(len(X)) < 0.5
    labels[hidden, 0] = NOT_ASKED
    X[hidden, 7] = 50
    score = scanned(X, labels).best["feature 0"]
    assert score.neuron == 7
    assert score.f1 > 0.85


def test_only_rows_with_activations_are_read() -> None:
    X, labels = made()
    rows = np.flatnonzero(np.random.default_rng(2).random(len(X)) < 0.5)
    spoilt = X.copy()
    spoilt[np.setdiff1d(np.arange(len(X)), rows)] = np.nan
    score = scanned(spoilt, labels, rows=rows).best["feature 0"]
    assert score.neuron == 7
    assert np.isfinite(score.f1)


def test_the_same_seed_gives_the_same_scan() -> None:
    X, labels = made()
    assert scanned(X, labels, seed=3).to_json() == scanned(X, labels, seed=3).to_json()


def test_rare_features_are_left_out_and_counted() -> None:
    X, labels = made()
    labels[:, 1] = 0
    labels[:9, 1] = 1
    found = scanned(X, labels)
    assert set(found.best) == {"feature 0", "feature 2"}
    assert sum(found.left_out["feature 1"]) == 9
    with pytest.raises(WireworkError, match="scan-without-features") as caught:
        scanned(X, labels, least=5000)
    assert "of 'feature 2', the most of 3 features" in caught.value.got


def test_an_unknown_control_is_refused() -> None:
    X, labels = made()
    with pytest.raises(WireworkError, match="probe-control-unknown"):
        scanned(X, labels, controls=["nothing"])


def test_bad_activations_are_told_with_their_site() -> None:
    X, labels = made()
    broken = X.copy()
    broken[5, 3] = np.nan
    cases: dict[str, tuple[dict[str, NDArray[np.float32]], dict[str, Any]]] = {
        "probe-not-finite": ({"one": X, "other": broken}, {}),
        "rows-unknown": ({"one": X}, {"rows": np.array([0, len(X)])}),  # no tokens of the labels
    }
    for code, (arrays, options) in cases.items():
        with pytest.raises(WireworkError) as caught:
            scan(InMemory(arrays), labelled(labels), **options)
        assert caught.value.code == code
        if code == "probe-not-finite":
            assert "other: 1 of 60 neurons" in str(caught.value)
            assert caught.value.got == "neurons 3"
    with pytest.raises(WireworkError, match="rows-unknown"):
        scan(InMemory({"one": X[:100]}), labelled(labels))  # tokens without activations


def test_neurons_that_never_vary_are_not_chosen() -> None:
    X, labels = made()
    X[:, :5] = 3.0
    found = scanned(X, labels, refits=WIDTH, controls=())
    assert min(score.neuron for score in found.by_site["feature 2"].values()) >= 3
    assert found.best["feature 0"].neuron == 7
