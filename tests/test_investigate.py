"""The secondary investigation, where it is known what every neuron stands for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_score

from investigated import CONFOUNDED, EARLY, MANY_SENSED, OF_TOKEN, TRUE, made
from wirework.core import Report, WireworkError
from wirework.probing.confounders import confounders, matched, same_token
from wirework.probing.feature import NOT_ASKED, YES
from wirework.probing.investigate import investigate
from wirework.probing.neuron_case import Case, best_threshold
from wirework.probing.scan import InMemory, scan
from wirework.probing.split_tokens import Parts

ACTIVATIONS, LABELLED = made()
PARTS = Parts.of(LABELLED, None, 0.3, 0)


def report(feature: str, neuron: int, site: str = "one", **options: Any) -> Report:
    options = {"rotations": 0, "steps": 2} | options
    return investigate(feature, (site, neuron), ACTIVATIONS, LABELLED, **options)


@pytest.fixture(scope="module")
def of_true() -> Report:
    return report("asked", TRUE, rotations=3, steps=10)


def case_of(feature: str, neuron: int, seed: int = 0) -> Case:
    parts = Parts.of(LABELLED, None, 0.3, seed)
    column = LABELLED.index(feature)
    X = ACTIVATIONS.arrays["one"][:, neuron]
    labels = (parts.labels[0][:, column], parts.labels[1][:, column])
    return Case.of(parts, X[parts.train], X[parts.test], labels)


def holds(name: str, found: Report, value: float) -> bool:
    measure = found[name]
    assert measure.low is not None and measure.high is not None
    return measure.low <= value <= measure.high


def test_scores_are_held_out_and_those_of_scikit_learn(of_true: Report) -> None:
    _, held = LABELLED.split(0)
    y = LABELLED.column("asked")[held] == YES
    weight, bias = of_true.provenance["weight"], of_true.provenance["bias"]
    score = weight * ACTIVATIONS.arrays["one"][held, TRUE].astype(np.float64) + bias
    assert of_true["f1"].value == pytest.approx(f1_score(y, score > 0))
    assert of_true["precision"].value == pytest.approx(precision_score(y, score > 0))
    assert of_true["average_precision"].value == pytest.approx(
        average_precision_score(y, score), abs=1e-6
    )
    assert of_true["base_rate"].value == pytest.approx(y.mean())
    assert of_true["f1"].n == held.sum()


def test_a_true_neuron_stands_every_check(of_true: Report) -> None:
    assert of_true["f1"].value > 0.9
    assert of_true["matched_balanced_accuracy"].value > 0.95
    assert of_true["same_token_balanced_accuracy"].value > 0.95
    assert of_true["top_covered"].value == 1
    assert of_true["second_balanced_accuracy"].value < 0.6
    advantage = of_true["basis_advantage"]
    assert advantage.low is not None and advantage.low > 0.2


def test_every_score_has_a_control_at_chance(of_true: Report) -> None:
    controls = [name for name in of_true.measures if name.endswith("_shuffled")]
    assert len(controls) >= 12
    for name in controls:
        real = name.removesuffix("_shuffled")
        assert real in of_true.measures
        if real.endswith("balanced_accuracy"):
            assert holds(name, of_true, 0.5)
        else:
            assert of_true[name].value < 0.45


def test_intervals_hold_their_values(of_true: Report) -> None:
    for name, measure in of_true.measures.items():
        if measure.low is not None and measure.high is not None:
            assert measure.low <= measure.value <= measure.high, name


def test_a_neuron_that_senses_two_features_is_told() -> None:
    found = report("asked", MANY_SENSED)
    table = found.details["other_features"]
    assert table["second_feature"] == "unrelated"
    assert found["second_f1"].value > 0.85
    assert found["second_balanced_accuracy"].value > 0.9
    assert holds("second_balanced_accuracy_shuffled", found, 0.5)
    rows = {row["name"]: row for row in table["features"]}
    assert rows["unrelated"]["f1"] > rows["cause"]["f1"] + 0.2
    rest = {row["name"]: row for row in table["top"]["rest_labelled"]}
    assert rest["unrelated"]["share"] == 1
    assert table["top"]["without_the_feature"] > 0
    assert "wider" in found.details["reading"]
    assert table["best_feature"] == "asked"
    assert found["best_feature_f1"].value == found["f1"].value


@pytest.mark.parametrize(
    ("feature", "neuron", "strongest"),
    [("companion", CONFOUNDED, "cause"), ("early", EARLY, "position")],
)
def test_a_confounded_neuron_fails_when_matched(feature: str, neuron: int, strongest: str) -> None:
    found = report(feature, neuron)
    assert found.details["strongest_confounder"] == strongest
    assert found["balanced_accuracy"].value > 0.75
    assert found["matched_balanced_accuracy"].value < 0.6
    assert found["matched_f1"].value < found["f1"].value - 0.25
    assert abs(found["confounder_correlation"].value) > 0.5


def test_the_feature_that_a_neuron_stands_for_is_named() -> None:
    found = report("companion", CONFOUNDED)
    assert found.details["other_features"]["best_feature"] == "cause"
    assert found["best_feature_f1"].value > 0.9 > found["f1"].value
    assert found["best_feature_f1"].note == "cause"
    assert found["best_feature_f1_shuffled"].value < 0.45


def test_a_neuron_of_one_token_fails_on_the_same_token() -> None:
    found = report("at_token", OF_TOKEN)
    assert found["balanced_accuracy"].value > 0.75
    assert holds("same_token_balanced_accuracy", found, 0.5)


def test_what_only_a_token_decides_cannot_be_matched() -> None:
    labels = LABELLED.labels.copy()
    labels[:, 5] = LABELLED.tokens == 3
    changed = replace(LABELLED, labels=labels)
    found = investigate("at_token", ("one", OF_TOKEN), ACTIVATIONS, changed, rotations=0, steps=1)
    assert found["same_token_covered"].value == 0
    assert np.isnan(found["same_token_f1"].value)
    assert np.isnan(found["same_token_balanced_accuracy"].value)
    assert found["f1"].value > 0.8


def test_pruning_tells_one_neuron_from_many(of_true: Report) -> None:
    assert of_true["site_f1"].value == of_true["f1"].value
    # The second neuron that senses the feature is the next.
    curve = of_true.details["pruning"]
    assert [row["neuron"] for row in curve[:2]] == [TRUE, MANY_SENSED]
    assert len(curve) == 11
    assert [row["train_f1"] for row in curve] == sorted(
        (row["train_f1"] for row in curve), reverse=True
    )
    assert of_true["pruned_fall"].value > 0.5
    assert of_true["five_pruned_f1"].value < 0.45
    many = report("spread", 20, steps=10)
    assert holds("pruned_fall", many, 0.0)
    assert many["five_pruned_f1"].value > 0.8


def test_rotations_tell_a_special_basis_from_any_other(of_true: Report) -> None:
    assert of_true["rotated_f1"].value < of_true["site_f1"].value - 0.3
    dense = report("asked", 0, "dense", rotations=3)
    advantage = dense["basis_advantage"]
    assert abs(advantage.value) < 0.15
    assert advantage.value == pytest.approx(
        dense["site_f1"].value - dense["rotated_f1"].value, abs=1e-9
    )


def test_held_out_documents_choose_nothing() -> None:
    before = report("asked", MANY_SENSED, rotations=1)
    _, held = LABELLED.split(0)
    labels = LABELLED.labels.copy()
    labels[held] = labels[held][::-1]
    arrays = {"one": ACTIVATIONS.arrays["one"].copy()}
    arrays["one"][held] = arrays["one"][held][::-1] + 0.5
    after = investigate(
        "asked", ("one", MANY_SENSED), InMemory(arrays), replace(LABELLED, labels=labels),
        rotations=1, steps=2,
    )  # fmt: skip
    for name in ("weight", "bias", "scale"):
        assert after.provenance[name] == before.provenance[name]
    assert after.details["strongest_confounder"] == before.details["strongest_confounder"]
    for table, column in (
        ("pruning", "neuron"),
        ("pruning", "train_f1"),
        ("rotations", "train_f1"),
    ):
        old, new = ([row[column] for row in r.details[table]] for r in (before, after))
        assert old == new
    assert (
        after.details["other_features"]["second_feature"]
        == before.details["other_features"]["second_feature"]
    )
    assert [row["score"] for row in after.details["thresholds"]] == [
        row["score"] for row in before.details["thresholds"]
    ]
    assert after["f1"].value != before["f1"].value


@settings(max_examples=20)
@given(seed=st.integers(0, 100), neuron=st.sampled_from([TRUE, CONFOUNDED, 0]))
def test_matched_negatives_fall_into_strata_as_positives_do(seed: int, neuron: int) -> None:
    case = case_of("companion", neuron, seed)
    cause = next(
        found for found in confounders(LABELLED, case.parts, "companion", None)
        if found.name == "cause"
    )  # fmt: skip
    strata, yes = cause.strata[1], case.labels[1] == YES
    said = case.scores[1] > 0
    shares = [(said & kind & (strata == s)).sum() / max((kind & (strata == s)).sum(), 1)
              for kind in (yes, ~yes) for s in (0, 1)]  # fmt: skip
    weight = np.array([(yes & (strata == s)).sum() for s in (0, 1)]) / yes.sum()
    expected = (shares[:2] @ weight + 1 - shares[2:] @ weight) / 2
    accuracy, _, covered = matched(case, cause)
    assert accuracy.value == pytest.approx(expected)
    assert covered.value == 1


def test_matching_on_what_says_nothing_changes_no_score() -> None:
    case = case_of("asked", TRUE)
    constant = same_token(replace(LABELLED, tokens=np.zeros(len(LABELLED), np.int64)), case.parts)
    accuracy, f1, covered = matched(case, constant)
    found = report("asked", TRUE)
    assert f1.value == pytest.approx(found["f1"].value)
    assert accuracy.value == pytest.approx(found["balanced_accuracy"].value)
    assert covered.value == 1


@given(values=st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=20))
def test_the_best_threshold_is_best_of_all(values: list[tuple[int, bool]]) -> None:
    x, y = (np.array(column) for column in zip(*values, (4, True), (-4, False), strict=True))
    labels = y.astype(np.int8)
    case = Case(PARTS, x.astype(np.float32), x.astype(np.float32), (labels, labels), 1.0, 0.0)
    said = x > np.arange(-5.5, 4)[:, None]
    best = (2 * (said & y).sum(1) / (said.sum(1) + y.sum())).max()
    assert best_threshold(case).train_f1() == pytest.approx(best)


def test_the_token_table_tells_the_same_token_with_and_without_the_feature(
    of_true: Report,
) -> None:
    table = of_true.details["tokens"]
    _, held = LABELLED.split(0)
    yes, tokens = LABELLED.column("asked")[held] == YES, LABELLED.tokens[held]
    x = ACTIVATIONS.arrays["one"][held, TRUE] / of_true.provenance["scale"]
    assert len(table["both"]) == 8
    for row in table["both"]:
        own = tokens == row["token"]
        assert row["count_inside"] == (own & yes).sum()
        assert row["inside"] == pytest.approx(x[own & yes].mean(), abs=1e-6)
        assert row["outside"] == pytest.approx(x[own & ~yes].mean(), abs=1e-6)
        assert row["inside"] > row["outside"]
    only = report("at_token", OF_TOKEN).details["tokens"]
    assert only["outside"][0]["token"] == 3


def test_spelling_tells_where_words_begin() -> None:
    texts = ["(", " self", "x", "_y", ".", "\n", "  ", "9"]
    labelled = replace(LABELLED, tokens=np.array([1, 2, 3, 4, 0, 2, 0, 7] * 300))
    parts = Parts.of(labelled, None, 0.3, 0)
    found = {c.name: c for c in confounders(labelled, parts, "asked", texts.__getitem__)}
    begins, length = np.empty((2, len(labelled)))
    for values, name in ((begins, "first_of_word"), (length, "length")):
        values[parts.train], values[parts.test] = found[name].values
    assert begins[:9].tolist() == [1, 0, 0, 0, 0, 1, 0, 1, 1]
    assert length[:9].tolist() == [5, 1, 2, 1, 1, 1, 1, 1, 5]


def test_tokens_that_are_not_asked_count_nowhere() -> None:
    hidden = np.random.default_rng(1).random(len(LABELLED)) < 0.4
    labels = LABELLED.labels.copy()
    labels[hidden, 0] = NOT_ASKED
    X = ACTIVATIONS.arrays["one"].copy()
    X[hidden, TRUE] = X[hidden, TRUE][::-1]
    found = investigate(
        "asked", ("one", TRUE), InMemory({"one": X}), replace(LABELLED, labels=labels),
        rotations=0, steps=1,
    )  # fmt: skip
    assert found["f1"].value > 0.9
    _, held = LABELLED.split(0)
    assert found["f1"].n == (held & ~hidden).sum()
    histogram = found.details["histogram"]
    counts = sum(sum(histogram[kind]["counts"]) for kind in ("positive", "negative"))
    assert counts == found["f1"].n


def test_the_same_seed_gives_the_same_report(of_true: Report, tmp_path: Path) -> None:
    again = report("asked", TRUE, rotations=3, steps=10)
    assert json.dumps(again.to_json()) == json.dumps(of_true.to_json())
    of_true.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json")["f1"] == of_true["f1"]
    other = report("asked", TRUE, seed=5)
    assert other["f1"].value != of_true["f1"].value


def test_a_scans_neuron_must_come_from_the_same_split() -> None:
    best = scan(ACTIVATIONS, LABELLED, controls=[]).best["asked"]
    found = investigate("asked", best, ACTIVATIONS, LABELLED, rotations=0, steps=1)
    assert (found.provenance["site"], found.provenance["neuron"]) == ("one", TRUE)
    assert found["f1"].value == pytest.approx(best.f1)
    assert (found["f1"].low, found["f1"].high) == pytest.approx((best.low, best.high))
    with pytest.raises(WireworkError, match="investigate-split-mismatch"):
        investigate("asked", best, ACTIVATIONS, LABELLED, seed=1)


def test_a_dead_neuron_gets_a_report() -> None:
    dead = InMemory({"one": np.zeros_like(ACTIVATIONS.arrays["one"][:, :3])})
    found = investigate("asked", ("one", 1), dead, LABELLED, rotations=1)
    assert found["balanced_accuracy"].value == 0.5
    assert found["average_precision"].value == pytest.approx(found["base_rate"].value)
    assert found["confounder_correlation"].value == 0
    assert found["basis_advantage"].value == 0


def test_mistakes_are_told() -> None:
    with pytest.raises(WireworkError, match="site-absent"):
        report("asked", 0, "nowhere")
    with pytest.raises(WireworkError, match="neuron-absent"):
        report("asked", 48)
    with pytest.raises(WireworkError, match="feature-unknown"):
        report("nothing", 0)
    training, _ = LABELLED.split(0)
    with pytest.raises(WireworkError, match="investigate-labels-few"):
        report("asked", 0, rows=np.flatnonzero(training))
    with pytest.raises(WireworkError, match="investigate-labels-few") as caught:
        report("at_token", 0, least=500)
    assert "'at_token'" in caught.value.message
