"""Pictures of probes: what is drawn stands in the file, and curves are right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from test_plots import words
from wirework.plots import F1Line, TopToken, draw_f1_by_site, draw_feature_map, draw_neuron
from wirework.plots.probing import MOST_FEATURES, precision_recall

SITES = ["0.mlp.neuron", "0.mlp.out", "1.mlp.neuron"]
LINES = {"k = 1": F1Line([0.2, 0.4, 0.9], [0.1, 0.3, 0.8], [0.3, 0.5, 1.0]),
         "k = 4": F1Line([0.3, 0.5, 0.9])}  # fmt: skip
RANDOM = np.random.default_rng(0)
POSITIVE = RANDOM.random(500) < 0.2
VALUES = RANDOM.standard_normal(500) + 3 * POSITIVE
TOKENS = [TopToken("x = 1\n", "\treturn $x$\x00", 4.25, True), TopToken("", "  ", 4.0, False)]

PICTURES: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "lines": (
        lambda path: draw_f1_by_site(SITES, {"in_string": LINES}, path),
        ["k = 1", "k = 4", "in_string", *SITES],
    ),
    "panels": (
        lambda path: draw_f1_by_site(
            SITES, {f"feature {i}": LINES for i in range(5)}, path, control="always yes",
            controls={f"feature {i}": 0.1 * i for i in range(5)},
        ),
        ["k = 1", "always yes", "feature 0", "feature 4", "F1 on held-out documents"],
    ),
    "map": (
        lambda path: draw_feature_map(
            ["is_comma", "in_call_args"], SITES, [[0.1, 0.2, np.nan], [0.5, 0.97, 0]], path,
            controls={"shuffled": [0.31, 0.35]},
        ),
        ["is_comma", "in_call_args", "97", "10", "mean of 2", "58", "shuffled", "31", *SITES],
    ),
    "neuron": (
        lambda path: draw_neuron(
            VALUES, POSITIVE, path, feature="is_comma", neuron="1.mlp.neuron:7", threshold=1.5,
            tokens=TOKENS, control=0.34,
        ),
        ["1.mlp.neuron:7 and is_comma", "recall", "where it is most active", "4.25", "x = 1↵",
         "labels shuffled: F1 0.34",
         "⇥return·$x$?", "··", "has is_comma", "has it not"],
    ),
    "neuron that is off": (
        lambda path: draw_neuron(
            -VALUES, POSITIVE, path, feature="is_comma", neuron="n", threshold=-1.5, off=True,
            tokens=TOKENS,
        ),
        ["where it is lowest"],
    ),
    "constant neuron": (
        lambda path: draw_neuron(0 * VALUES, POSITIVE, path, feature="f", neuron="n"),
        ["n and f", "precision"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_what_it_shows(name: str, tmp_path: Path) -> None:
    draw, expected = PICTURES[name]
    draw(tmp_path / "a.svg")
    draw(tmp_path / "b.svg")
    assert set(expected) <= words(tmp_path / "a.svg")
    assert "nan" not in words(tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_probe_of_a_neuron_that_is_off_scores_as_well(tmp_path: Path) -> None:
    for sign, name in ((1, "neuron"), (-1, "neuron that is off")):
        PICTURES[name][0](tmp_path / f"{sign}.svg")
    told = [
        next(word for word in words(tmp_path / f"{sign}.svg") if word.startswith("the probe: F1"))
        for sign in (1, -1)
    ]
    said = VALUES > 1.5
    f1 = 2 * (said & POSITIVE).sum() / (said.sum() + POSITIVE.sum())
    assert told == [f"the probe: F1 {f1:.2f}"] * 2


def test_a_map_shows_the_best_features_and_says_how_many_there_are(tmp_path: Path) -> None:
    many = MOST_FEATURES + 20
    f1 = np.linspace(0, 1, many)[:, None]
    draw_feature_map([f"feature {i}" for i in range(many)], ["0"], f1, tmp_path / "a.svg")
    shown = words(tmp_path / "a.svg")
    assert {f"feature {i}" for i in range(20, many)} <= shown
    assert not {f"feature {i}" for i in range(20)} & shown
    assert f"the {MOST_FEATURES} best of {many} features" in shown


def test_features_that_only_equal_their_controls_stand_last(tmp_path: Path) -> None:
    f1 = [[0.9], [0.5], [0.7]]
    names = ["common", "told", "half told"]
    draw_feature_map(
        names, ["0"], f1, tmp_path / "a.svg", controls={"shuffled": [0.89, 0.1, 0.5]}, most=2
    )
    shown = words(tmp_path / "a.svg")
    assert {"told", "half told", "the 2 furthest above their controls of 3 features"} <= shown
    assert "common" not in shown


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_precision_and_recall_are_those_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    rows = [*rows, (0, True)]
    scores = np.array([score for score, _ in rows], dtype=float)
    positive = np.array([yes for _, yes in rows])
    precision, recall = precision_recall(scores, positive)
    theirs = precision_recall_curve(positive, scores)
    assert precision == pytest.approx(theirs[0][:-1][::-1])
    assert recall == pytest.approx(theirs[1][:-1][::-1])
