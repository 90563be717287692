"""Frontiers: the same tasks in several models, sizes with intervals, ratio, tables, pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from planted_sweeps import quick, save_model, save_task
from training_runs import config as small_config
from training_runs import text_folder, toml
from wirework.cli.app import app
from wirework.core import Report, WireworkError
from wirework.core.stats import geometric_mean
from wirework.discovery.frontier import frontier
from wirework.discovery.frontier_result import Frontier, short_names
from wirework.discovery.sweep_config import SweepExecution
from wirework.planted import close_quote, quote_with_decoys
from wirework.planted.quotes import quote_task

HERE = SweepExecution(jobs=1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two models that do the same tasks; the second in one layer."""
    space = tmp_path_factory.mktemp("planted")
    one, other = close_quote(), quote_with_decoys()
    return {
        "two-layer": save_model(one, space / "two-layer", val_loss=3.0),
        "one-layer": save_model(other, space / "one-layer", val_loss=3.5),
        "quote": save_task(one.task, space / "quote.jsonl", name="quote"),
        "more": save_task(quote_task(1), space / "more.jsonl", name="more"),
        "flipped": save_task(one.task, space / "flipped.jsonl", name="flipped", flipped=True),
    }


@pytest.fixture(scope="module")
def done(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Frontier:
    config = quick(files["quote"], files["more"], files["flipped"])
    return frontier(
        [files["two-layer"], files["one-layer"]], tmp_path_factory.mktemp("frontier") / "out",
        config, baseline=files["two-layer"], execution=HERE,
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_means_are_over_tasks_that_every_model_has(done: Frontier) -> None:
    assert done.tasks == ["quote", "more"]
    assert list(done.unsolved) == ["flipped"]
    report = Report.load(done.folder / "report.json")
    for model in done.models:
        edges = [model.edges(task) for task in done.tasks]
        measure = report[f"edges_geomean:{model.name}"]
        assert measure.value == pytest.approx(geometric_mean([(e or 0) + 1 for e in edges]))
        assert measure.n == 2
        assert measure.low is not None and measure.high is not None
        assert measure.low <= measure.value <= measure.high
        assert report[f"val_loss:{model.name}"].value == model.val_loss
    assert report.provenance["unsolved"] == {
        "flipped": f"no circuit in {done.models[0].name}, {done.models[1].name}"
    }


def test_the_ratio_is_the_baseline_over_the_model(done: Frontier) -> None:
    base, other = done.models
    shares = [((base.edges(t) or 0) + 1) / ((other.edges(t) or 0) + 1) for t in done.tasks]
    report = done.report()
    assert report["ratio"].value == pytest.approx(geometric_mean(shares))
    assert report[f"ratio:{other.name}"].value == report["ratio"].value
    assert report["ratio"].value > 1, "two layers need more edges than one"
    assert "+0.500 nats apart" in report["ratio"].note


def test_sizes_at_losses_fall_and_agree_with_the_curves(done: Frontier) -> None:
    table = rows(done.folder / "sizes_at_losses.csv")
    for model in done.models:
        mine = [row for row in table if row["model"] == model.name]
        sizes = [float(row["edges_geomean"]) for row in mine]
        assert sizes == sorted(sizes, reverse=True)
        for row in mine:
            loss = float(row["target_loss"])
            fewest = [
                min(edges for _, edges, reached in model.sweep.curve(task) if reached <= loss) + 1
                for task in done.tasks
            ]
            assert float(row["edges_geomean"]) == pytest.approx(geometric_mean(fewest))


def test_tables_and_pictures_lie_beside_the_report(done: Frontier) -> None:
    table = rows(done.folder / "frontier.csv")
    assert [row["model"] for row in table] == [model.name for model in done.models]
    assert all(float(row["low"]) <= float(row["edges_geomean"]) for row in table)
    assert 0 < float(table[0]["density"]) < 1
    text = (done.folder / "frontier.md").read_text().splitlines()
    assert len(text) == 2 + len(done.models)
    assert len({line.count("|") for line in text}) == 1
    tasks = rows(done.folder / "tasks.csv")
    assert {(row["task"], row["edges"] == "") for row in tasks} == {
        ("quote", False), ("more", False), ("flipped", True),
    }  # fmt: skip
    for name in ("frontier.svg", "sizes_at_losses.svg", "tasks.svg"):
        assert ">two-layer</text>" in (done.folder / name).read_text()


def test_pictures_use_the_last_parts_that_tell_models_apart() -> None:
    assert short_names(["runs/a/tiny", "runs/a/small"]) == {
        "runs/a/tiny": "tiny", "runs/a/small": "small",
    }  # fmt: skip
    assert short_names(["x/a/tiny", "x/b/tiny"]) == {"x/a/tiny": "a/tiny", "x/b/tiny": "b/tiny"}
    assert short_names(["tiny"]) == {"tiny": "tiny"}


def test_a_frontier_goes_on_where_it_was(done: Frontier, files: dict[str, str]) -> None:
    names, config = [model.name for model in done.models], done.models[0].sweep.plan.config
    with pytest.raises(WireworkError, match=r"sweep-exists[\s\S]*--resume"):
        frontier(names, done.folder, config, execution=HERE)
    circuits = sorted(done.folder.rglob("*.circuit"))
    stamps = [path.stat().st_mtime_ns for path in circuits]
    again = frontier(names, done.folder, config, baseline=names[0], resume=True, execution=HERE)
    assert again.report().to_json() == done.report().to_json()
    assert [path.stat().st_mtime_ns for path in circuits] == stamps


def test_mistakes_are_refused_before_any_work(files: dict[str, str], tmp_path: Path) -> None:
    config, out = quick(files["quote"]), tmp_path / "out"
    cases = {
        "frontier-without-models": ([], config, None),
        "frontier-varied": ([files["two-layer"]], config.replace(seeds=[0], ablations=[
            "mean-pretraining", "zero"]), None),
        "frontier-baseline": ([files["two-layer"]], config, "elsewhere"),
        "run-missing": (["nowhere"], config, None),
    }  # fmt: skip
    for code, (models, asked, baseline) in cases.items():
        with pytest.raises(WireworkError, match=code):
            frontier(models, out, asked, baseline=baseline, execution=HERE)
    assert not out.exists()


def test_a_preset_is_trained_first_and_a_missing_loss_is_measured(tmp_path: Path) -> None:
    """A model of a few steps has learned nothing, so the search goes on only when told to."""
    asked = small_config(
        text_folder(tmp_path / "text"), steps=2, checkpoint_every=2, validate_every=2
    )
    model = {**asked.model.plain(), "context": 160}
    recipe = tmp_path / "few-steps.toml"
    recipe.write_text(toml(asked.replace(model=model).plain()))
    planted = close_quote()
    bare = save_model(planted, tmp_path / "bare")
    task = save_task(planted.task, tmp_path / "quote.jsonl", name="quote")
    out = tmp_path / "out"
    words = [
        "frontier", bare, "--train", str(recipe), "--task", task, "--out", str(out), "--jobs", "1",
        "--unlearned-ok", "--coefficient", "3e-2", "--set", "steps=3", "--set", "batch=4",
        "--set", "clean_up=false", "--json",
    ]  # fmt: skip
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["measures"][f"val_loss:{bare}"]["note"].endswith("text measured here")
    assert report["measures"][f"val_loss:{bare}"]["value"] > 0
    assert report["measures"][f"val_loss:{recipe}"]["note"].endswith("its own validation text")
    assert {f"edges_geomean:{bare}", f"edges_geomean:{recipe}", "ratio"} <= set(report["measures"])
    assert "different tokenizers" in report["provenance"]["notes"][0]
    assert (out / "models/few-steps/checkpoints").is_dir()
