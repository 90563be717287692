"""Scans and optimal probes are measured beside what they replace, on data that are as described."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from wirework.bench.probe import ProbeBench
from wirework.bench.probe_data import made_activations
from wirework.cli.app import app
from wirework.core import Report

SMALL = ProbeBench(
    seeds=1, tokens=2000, neurons=200, features=4, refits=10, fits=3, near=20, far=10,
    sizes=(1, 2), rows=200, columns=50,
)  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """As the command gives it."""
    out = tmp_path_factory.mktemp("bench") / "report.json"
    plain = {**SMALL.plain(), "sizes": "[1,2]"}
    settings = [f"--set={k}={v}" for k, v in plain.items() if k not in ("seed", "seeds")]
    done = CliRunner().invoke(
        app, ["bench", "probe", "--seeds", "1", "--out", str(out), "--json", *settings]
    )
    assert done.exit_code == 0, done.stderr
    found = Report.load(out)
    assert json.loads(done.stdout) == found.to_json()
    assert found.provenance["config"] == SMALL.plain()
    return found


def test_a_scan_is_set_beside_fits_one_by_one(report: Report) -> None:
    assert report.kind == "bench-probe"
    (run,) = report.provenance["details"]["scans"]
    fit = min(run["fit_seconds"].values())
    expected = fit * SMALL.neurons * SMALL.features / run["scan_seconds"]
    assert report["scan_speedup"].value == pytest.approx(expected)
    assert report["scan_top1_agreement"].value == run["agreed"] / SMALL.features
    # scikit-learn stops earlier, at its own tolerance.
    assert run["f1_apart"] < 0.01
    assert 0.05 < report["scan_memory"].value < 2


def test_proofs_are_set_beside_an_l1_fit(report: Report) -> None:
    races = report.provenance["details"]["optimal"]
    assert len(races) == 2 * 2 * 2
    for k in SMALL.sizes:
        assert report[f"optimal_gap:{k}"].value <= 1e-3
        weak = [race["gap"] for race in races if (race["k"], race["strength"]) == (k, ":weak")]
        assert report[f"optimal_gap:{k}:weak"].value == max(weak)
        assert report[f"optimal_time_ratio:{k}"].value > 0
        assert report[f"optimal_time_ratio:{k}:weak"].n == 2
    assert {race["status"] for race in races if not race["strength"]} == {"optimal"}


def test_no_other_method_finds_a_better_objective(report: Report) -> None:
    races = report.provenance["details"]["optimal"]
    rivals = {"mean_difference", "adaptive", "greedy"}
    assert all(rivals <= set(race["worse_by"]) for race in races)
    for k in SMALL.sizes:
        own = [race["worse_by"] for race in races if (race["k"], race["strength"]) == (k, "")]
        least = min(min(others.values()) for others in own)
        assert report[f"others_worse_by:{k}"].value == pytest.approx(least)
        assert least > -1e-3  # the gap that was asked for
    assert max(race["worse_by"]["mean_difference"] for race in races if race["k"] == 2) > 0


def test_bars_are_for_the_measurement_as_it_is_meant(report: Report) -> None:
    assert report.verdict is None
    assert all(measure.bar is None for measure in report.measures.values())
    assert ProbeBench(seed=3, seeds=5).bar(50.0) == 50.0


def test_made_neurons_are_of_many_kinds() -> None:
    X, labelled = made_activations(2000, 300, 20, 0)
    again, _ = made_activations(2000, 300, 20, 0)
    other, _ = made_activations(2000, 300, 20, 1)
    assert np.array_equal(X, again) and not np.array_equal(X, other)
    assert X.shape == (2000, 300) and X.dtype == np.float32
    rates = [rate.rate for rate in labelled.base_rates().values()]
    assert 0.04 < min(rates) < max(rates) < 0.42
    off = (X == 0).mean(0)
    assert 0.2 < (off > 0.5).mean() < 0.5  # ReLU behind a bias
    sizes = X.std(0)
    assert sizes.max() > 100 * sizes.min()
    correlations = np.abs(np.corrcoef(X[:, off == 0].T))
    assert np.quantile(correlations, 0.95) > 0.2
