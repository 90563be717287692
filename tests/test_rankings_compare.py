"""The table of gates and rankings: what it holds, that it repeats, what is refused, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from wirework.ablation import kept_nodes
from wirework.circuit import sizes
from wirework.cli.app import app
from wirework.core import Report, Site, WireworkError
from wirework.core.progress import silent
from wirework.discovery import DiscoveryConfig
from wirework.discovery.bench import Bench
from wirework.discovery.compare import GATES, compare_rankings, join_reports
from wirework.discovery.discretise import Scores, ranked, smallest
from wirework.discovery.faithfulness import SHARES, Ladder, cmd, cpr, faithfulness_of
from wirework.discovery.rankings import METHODS, RankingConfig, rank_nodes
from wirework.planted import Planted, quote_with_decoys

SEARCH = DiscoveryConfig(faithfulness=0, steps=40, lr=2e-2, dtype="float32")
QUICK = RankingConfig(points=3, exact_pairs=8)
PLACES = ("nodes", "edges", "embedding_edges", "loss", "cpr", "cmd")
CIRCUIT = ("read opening", "read kind", "key", "value", "write answer", "final answer")


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def bench(planted: Planted) -> Bench:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return Bench.of(checkpoint, encoded, SEARCH)


def compare(planted: Planted, **options: Any) -> Report:
    options = {"config": SEARCH, "ranking": QUICK, **options}
    return compare_rankings(planted.checkpoint, planted.task, **options)


@pytest.fixture(scope="module")
def report(planted: Planted) -> Report:
    return compare(planted)


def test_the_table_has_every_method_and_measure(report: Report) -> None:
    assert report.kind == "rankings"
    for method in (GATES, *METHODS):
        for place in PLACES:
            assert f"{place}:{method}" in report.measures
        assert report[f"loss:{method}"].value <= 0.2
        assert report[f"loss:{method}"].n == 200
        area = report[f"cpr:{method}"]
        assert area.low is not None and area.high is not None
        assert area.low <= area.value <= area.high


def test_gates_and_exact_patching_find_the_planted_circuit(
    report: Report, planted: Planted
) -> None:
    nodes = planted.nodes(*CIRCUIT)
    for method in (GATES, "exact"):
        assert report[f"nodes:{method}"].value == len(nodes)
        assert report[f"edges:{method}"].value == len(planted.edges_between(nodes))
        assert report[f"cpr:{method}"].value > report["cpr:random"].value


def test_wins_and_ratio_say_what_the_edges_say(report: Report) -> None:
    ours = report[f"edges:{GATES}"].value
    best = min(report[f"edges:{method}"].value for method in METHODS)
    # Exact patching needs as few: that is no win.
    assert best == ours
    assert report["wins"].value == 0
    assert report["edges_ratio"].value == pytest.approx((best + 1) / (ours + 1))


def test_equal_seeds_give_equal_reports(report: Report, planted: Planted) -> None:
    assert compare(planted).to_json() == report.to_json()


def test_a_method_alone_gives_what_it_gives_among_all(report: Report, planted: Planted) -> None:
    alone = compare(planted, methods=["attribution"])
    for place in PLACES:
        assert alone[f"{place}:attribution"] == report[f"{place}:attribution"]
    assert "edges:exact" not in alone.measures


def test_a_target_that_nothing_meets_is_refused_or_told(planted: Planted) -> None:
    with pytest.raises(WireworkError, match="task-unlearned") as caught:
        compare(planted, target_loss=1e-9)
    assert "loss" in caught.value.got
    assert "--unlearned-ok" in caught.value.hint
    found = compare(planted, target_loss=1e-9, methods=["magnitude"], unlearned_ok=True)
    assert np.isnan(found["edges:magnitude"].value)
    assert np.isnan(found[f"edges:{GATES}"].value)
    assert found["wins"].value == 0
    assert found["cpr:magnitude"].value > 0


@pytest.mark.parametrize("change", [{"kind": "resample"}, {"norms": "frozen"}, {"gate": "before"}])
def test_ablations_that_the_rankings_do_not_know_are_refused(
    change: dict[str, str], planted: Planted
) -> None:
    with pytest.raises(WireworkError, match="ranking-ablation"):
        compare(planted, config=SEARCH.replace(ablation=change))


def test_other_constants_are_used_where_they_are_asked_for(planted: Planted) -> None:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    zero = Bench.of(checkpoint, encoded, SEARCH.replace(ablation={"kind": "zero"}))
    mean = Bench.of(checkpoint, encoded, SEARCH)
    found = [rank_nodes(bench, "magnitude") for bench in (zero, mean)]
    final = planted.parts["final answer"]
    assert found[0][final.site][final.index] != found[1][final.site][final.index]


def test_unknown_methods_are_refused_before_any_work(planted: Planted) -> None:
    with pytest.raises(WireworkError, match="method-unknown"):
        compare(planted, methods=["exact", "magic"], target_loss=1e-9)


def with_first(planted: Planted, bench: Bench, first: bool) -> Scores:
    """The planted circuit before or behind all other nodes."""
    scores = {site: np.zeros(width) for site, width in bench.widths.items()}
    for node in planted.nodes(*CIRCUIT):
        scores[node.site][node.index] = 1.0 if first else -1.0
    return scores


def test_areas_of_the_planted_circuit_first_and_last(planted: Planted, bench: Bench) -> None:
    ladder = Ladder(bench)
    count = sum(bench.widths.values())
    enough = [int(share * count) >= len(CIRCUIT) for share in SHARES]
    good, bad = (
        faithfulness_of(ladder.rows(with_first(planted, bench, first), silent("", 9)))
        for first in (True, False)
    )
    assert good[enough] == pytest.approx(1.0, abs=0.1)
    assert bad[:-1] == pytest.approx(0.0, abs=1e-6)
    assert good[-1] == bad[-1] == 1.0
    assert cpr(bad) == pytest.approx(0.250, abs=1e-6)
    assert cmd(bad) == pytest.approx(0.749, abs=1e-6)
    assert cmd(good) < 0.2 < 0.8 < cpr(good)


def test_a_ladder_by_edges_stays_within_each_share(planted: Planted, bench: Bench) -> None:
    scores = with_first(planted, bench, True)
    top = ranked(scores)
    whole = edges_of(bench, top(sum(bench.widths.values())))

    class Sizes:
        def __init__(self) -> None:
            self.shown: list[int] = []

        def advance(self, steps: int = 1, **shown: Any) -> None:
            self.shown.append(shown["nodes"])

        def __enter__(self) -> Sizes:
            return self

        def __exit__(self, *ignored: object) -> None:
            return None

    told = Sizes()
    Ladder(bench, "edges").rows(scores, told)
    for share, k in zip(SHARES, told.shown, strict=False):
        assert edges_of(bench, top(k)) <= share * whole < edges_of(bench, top(k + 1))


def edges_of(bench: Bench, keep: dict[Site, Any] | Any) -> int:
    return sizes(bench.network, kept_nodes(keep), ()).edges


def test_the_first_trial_does_not_change_what_is_smallest(planted: Planted, bench: Bench) -> None:
    scores = rank_nodes(bench, "exact")
    found = [smallest(bench, scores, first=first) for first in (1, 7, 64, None)]
    assert found[0] is not None
    assert all(one is not None and one.nodes == found[0].nodes for one in found)


def test_several_tasks_make_one_report(report: Report) -> None:
    assert join_reports({"one": report}) is report
    both = join_reports({"one": report, "two": report})
    assert both["wins"].value == report["wins"].value
    assert both["wins"].n == 2
    assert both["edges:exact:two"] == report["edges:exact"]
    assert both["wins:one"] == report["wins"]


def wirework(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def files(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The planted model and its task as a user's own files."""
    folder = tmp_path_factory.mktemp("planted")
    planted.checkpoint.save(folder / "model")
    lines = [json.dumps({"name": "closing"})]
    for split, pairs in planted.task.splits.items():
        for pair in pairs:
            value = {"prompt": pair.prompt, "counterfactual": pair.counterfactual, "split": split,
                     "answers": '"', "counter_answers": "'", "template": pair.template}  # fmt: skip
            lines.append(json.dumps(value))
    (folder / "task.jsonl").write_text("\n".join(lines) + "\n")
    return folder / "model", folder / "task.jsonl"


COMMAND = ["--set", "steps=30", "--set", "lr=0.02", "--set", "faithfulness=0", "--set",
           "dtype=float32", "--set-ranking", "exact_pairs=4"]  # fmt: skip


def test_the_command_prints_a_table_and_writes_the_report(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, task = files
    out = tmp_path / "report.json"
    options = ["--method", "exact", "--method", "random", *COMMAND, "--out", out]
    code, shown, err = wirework("rankings", model, task, *options)
    assert code == 0, err
    for word in ("closing", "gates", "exact", "random", "embedding edges"):
        assert word in shown
    assert "magnitude" not in shown
    code, printed, _ = wirework("rankings", model, task, *options, "--json")
    assert code == 0
    assert json.loads(printed) == Report.load(out).to_json()


def test_the_command_refuses_an_unlearned_task(files: tuple[Path, Path]) -> None:
    model, task = files
    code, _, err = wirework("rankings", model, task, "--target-loss", "1e-9", *COMMAND)
    assert code == 1
    assert "task-unlearned" in err
    assert "--unlearned-ok" in err
