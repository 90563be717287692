"""The ground truth behind verdicts is scored as it is said to be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from test_cli import wirework
from wirework.bench.trust import KINDS, PLANTED, TrustBench, bench_trust, dated, judge
from wirework.bench.trust_cases import Kind, cases_of, families_of, held_out
from wirework.core import Report, WireworkError
from wirework.core.stats import share_interval
from wirework.planted import hard_nulls
from wirework.validation import ValidationConfig

FIXED = "shortcut/uniform"
"""A family that bars were fixed on."""

SMALL = ValidationConfig(
    draws=20, pairs=12, restore_draws=4, budgets=(1,), adversary_restarts=1, adversary_steps=1,
    adversary_tries=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrustBench:
    return TrustBench(
        verdict_seeds=1, held_out_only=False, validation=SMALL,
        families=("one_of_two", "shortcut/cancelled", "easy/constant-answers"),
        rows=tmp_path_factory.mktemp("rows"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(config: TrustBench) -> Report:
    return bench_trust(config)


def test_a_sample_of_the_ground_truth(report: Report) -> None:
    assert report.kind == "trust"
    for name in ("planted_exact", "node_auroc", "edge_auroc", "true_kept", "hard_null_exposed"):
        assert report[name].value == 1, name
        assert report[name].passed
    assert report["planted_exact"].n == 3
    assert "alternatives_reported" not in report.measures, "no model with several circuits"
    assert report["hard_null_exposed"].n == report["true_kept"].n == 1
    rows = report.details["recovery"]
    assert {row["ablation"] for row in rows} == {"mean-pretraining", "zero", "resample"}
    verdicts = {row["name"]: row for row in report.details["verdicts"]}
    assert verdicts["shortcut/cancelled/seed-50"]["verdict"] == "unfaithful"
    assert verdicts["shortcut/cancelled/seed-50"]["why"]
    assert verdicts["easy/constant-answers/seed-50"]["missed"]


def test_a_measurement_goes_on_from_the_rows_that_it_kept(
    config: TrustBench, report: Report
) -> None:
    assert config.rows
    kept = sorted(config.rows.iterdir())
    assert len(kept) == 3 + 3
    kept[0].unlink()
    written = [path.stat().st_mtime_ns for path in kept[1:]]
    again = bench_trust(config)
    assert again.to_json()["details"] == report.to_json()["details"]
    assert str(again) == str(report)
    assert kept[0].exists()
    assert [path.stat().st_mtime_ns for path in kept[1:]] == written


def test_rows_of_another_measurement_are_refused(config: TrustBench, report: Report) -> None:
    other = {"validation": SMALL.replace(pairs=13).plain()}
    with pytest.raises(WireworkError) as caught:
        bench_trust(config.replace(**other))
    assert caught.value.code == "rows-foreign"
    with pytest.raises(WireworkError) as caught:
        bench_trust(config.replace(discovery=PLANTED.replace(steps=3).plain()))
    assert caught.value.code == "rows-foreign"


def test_foreign_rows_are_refused_before_any_row_is_made(
    config: TrustBench, report: Report, tmp_path: Path
) -> None:
    assert config.rows
    last = sorted(config.rows.iterdir())[-1]
    kept = Path(shutil.copy(last, tmp_path))
    report.save(tmp_path / "a report beside.json")
    others = config.replace(rows=str(tmp_path), validation=SMALL.replace(pairs=13).plain())
    with pytest.raises(WireworkError, match="rows-foreign") as caught:
        bench_trust(others.replace(families=["easy/constant-answers"]))
    assert kept.name in caught.value.message
    kept.write_text("{")
    with pytest.raises(WireworkError, match="file-damaged"):
        bench_trust(config.replace(rows=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_report_may_lie_beside_its_rows(config: TrustBench, report: Report) -> None:
    assert config.rows
    report.save(config.rows / "trust.json")
    assert str(bench_trust(config)) == str(report)
    (config.rows / "trust.json").unlink()


def test_a_file_in_place_of_the_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("mine")
    code, _, err = wirework("bench", "trust", "--rows", tmp_path / "rows")
    assert code == 1
    assert "error[path-not-writable]" in err


def test_a_family_that_no_measure_counts_is_refused() -> None:
    code, _, err = wirework("bench", "trust", "--family", "majority", "--family", FIXED)
    assert code == 1
    assert "error[family-not-held-out]" in err and FIXED in err and "try       --full" in err
    bare = ValidationConfig(pairs=12)
    with pytest.raises(WireworkError) as caught:
        bench_trust(TrustBench(families=(FIXED,), validation=bare))
    named = caught.value.expected.removeprefix("--full, or one of ").split(", ")
    for kind in KINDS.values():
        assert set(held_out(kind)) <= set(named)
    assert FIXED not in named


def test_an_unknown_family_is_refused() -> None:
    code, _, err = wirework("bench", "trust", "--family", "magority")
    assert code == 1
    assert "error[family-unknown]" in err and "majority" in err


@pytest.mark.parametrize("kind", ["true", "hard", "plain", "easy"])
def test_families_are_held_out_that_bars_were_not_fixed_on(kind: Kind) -> None:
    families = set(families_of(kind))
    fresh = {name for name in families if name.startswith("searched/") or name == "implanted"}
    assert fresh < held_out(kind) < families
    # A rule was changed for the one, the other came with it.
    assert not held_out(kind) & {"cancelling_pair", "leaning_pair"}


def test_verdicts_on_either_half_are_told_apart(report: Report) -> None:
    seen = report["easy_null_exposed:fixed_on"]
    assert (seen.value, seen.n, seen.bar) == (1, 1, None)
    assert "easy_null_exposed" not in report.measures
    assert report["hard_null_exposed"].bar == 0.95
    assert report["true_faithful"].value == 1


def test_models_of_one_family_count_as_one_observation(config: TrustBench) -> None:
    families = ("plain/missing-node", "plain/inverted-answer")
    asked = config.replace(families=families, verdict_seeds=2, rows=None)
    measure = bench_trust(asked)["plain_null_exposed:fixed_on"]
    assert (measure.value, measure.n) == (1, 4)
    assert (measure.low, measure.high) == share_interval(2, 2)


def test_there_are_enough_circuits_that_look_right() -> None:
    looks_right = families_of("hard")
    assert 8 * len(looks_right) >= 40
    (case,) = cases_of("hard", looks_right[:1], [3], PLANTED)
    assert case.name == f"{looks_right[0]}/seed-3"
    assert case.kind == "hard"


def test_a_search_finds_another_circuit_where_the_true_nodes_are_forbidden() -> None:
    (case,) = cases_of("hard", ["searched/shortcut/skipped"], [40], PLANTED)
    (null,) = hard_nulls([40], families=["shortcut/skipped"])
    assert case.nodes and not case.nodes & (null.truth - null.nodes)
    assert case.why.startswith("Found by a search")


@pytest.mark.long
def test_where_a_search_finds_no_circuit_there_is_no_verdict() -> None:
    asked = TrustBench(
        seed=52, verdict_seeds=1, families=("searched/shortcut/outcompeted", "template/cue"),
        validation=SMALL,
    )  # fmt: skip
    report = bench_trust(asked)
    verdicts = {row["name"]: row["verdict"] for row in report.details["verdicts"]}
    assert verdicts["searched/shortcut/outcompeted/seed-52"] is None
    assert report["hard_null_exposed"].n == 1


@pytest.mark.long
def test_the_implanted_are_right_circuits_of_a_trained_model() -> None:
    (case,) = cases_of("true", ["implanted"], [41], PLANTED)
    (judged,) = judge([case], TrustBench())
    assert judged.report.verdict == "partly"
    assert judged.to_json()["missed"] == ["faithfulness"], "the host adds to the margin"


def test_the_full_result_gets_a_date() -> None:
    assert dated(Path("out/trust.json")).match("out/trust-20??-??-??.json")


@pytest.mark.long
def test_the_command_prints_its_measures(tmp_path: Path) -> None:
    out = tmp_path / "trust.json"
    code, text, err = wirework("bench", "trust", "--verdict-seeds", "1", "--out", out, "--json")
    report = json.loads(text)
    assert report == json.loads(out.read_text())
    assert code == 0, err
    assert set(report["measures"]) == {
        "planted_exact", "node_auroc", "edge_auroc", "alternatives_reported", "true_kept",
        "true_faithful", "hard_null_exposed", "plain_null_exposed", "easy_null_exposed",
    }  # fmt: skip
    assert report["provenance"]["seed"] == 50
