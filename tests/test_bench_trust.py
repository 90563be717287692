"""The ground truth behind verdicts is scored as it is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_cli import wirework
from wirework.bench.trust import PLANTED, TrustBench, bench_trust, dated
from wirework.bench.trust_cases import Kind, cases_of, families_of, held_out
from wirework.core import Report, WireworkError
from wirework.validation import ValidationConfig

SMALL = ValidationConfig(
    pairs=12, restore_draws=4, budgets=(1,), adversary_restarts=1, adversary_steps=1,
    adversary_tries=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrustBench:
    return TrustBench(
        verdict_seeds=1, held_out_only=False, validation=SMALL,
        families=("majority", "shortcut/cancelled", "easy/constant-answers"),
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
    assert verdicts["shortcut/cancelled/seed-0"]["verdict"] == "unfaithful"
    assert verdicts["shortcut/cancelled/seed-0"]["why"]
    assert verdicts["easy/constant-answers/seed-0"]["missed"]


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


def test_an_unknown_family_is_refused() -> None:
    code, _, err = wirework("bench", "trust", "--family", "magority")
    assert code == 1
    assert "error[family-unknown]" in err and "majority" in err


@pytest.mark.parametrize("kind", ["true", "hard", "easy"])
def test_half_of_the_families_had_no_part_in_fixing_the_bars(kind: Kind) -> None:
    families = families_of(kind)
    half = held_out(kind)
    assert half < set(families)
    # One family of either kind was added for fixing later on.
    assert len(families) - 2 * len(half) in {"true": (1, 2), "hard": (0, 1), "easy": (0,)}[kind]


def test_there_are_enough_circuits_that_look_right() -> None:
    looks_right = [name for name in families_of("hard") if not name.startswith("plain/")]
    assert 8 * len(looks_right) >= 40
    (case,) = cases_of("hard", looks_right[:1], [3], PLANTED.target_loss)
    assert case.name == f"{looks_right[0]}/seed-3"
    assert case.kind == "hard"


def test_the_full_result_gets_a_date() -> None:
    assert dated(Path("out/trust.json")).match("out/trust-20??-??-??.json")


@pytest.mark.long
def test_the_command_prints_its_measures(tmp_path: Path) -> None:
    out = tmp_path / "trust.json"
    code, text, err = wirework("bench", "trust", "--verdict-seeds", "1", "--out", out, "--json")
    report = json.loads(text)
    assert report == json.loads(out.read_text())
    assert code == 0, err
    assert {"planted_exact", "true_kept", "hard_null_exposed", "easy_null_exposed"} <= set(
        report["measures"]
    )
