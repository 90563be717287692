"""The report panel and the curve of sizes: their numbers, and what a reader sees of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser

from browser import opened
from hosted_pages import LOOKS, serious, sideways
from validation_reports import CURVES, MEASURES, report
from viewer_circuits import quote_task, random_circuit
from wirework.ablation import PromptTensors, lone_margins
from wirework.ablation.score import score_of
from wirework.circuit import Circuit, every_node, without_node
from wirework.core import Measure, Report, WireworkError
from wirework.data import Tokenizer
from wirework.tasks import Task
from wirework.validation.groups import GROUPS
from wirework.validation.verdict import RULES, verdict_of, with_bars
from wirework.viewer import export_page
from wirework.viewer.content import page_content
from wirework.viewer.examples import chosen_pairs
from wirework.viewer.report_panel import report_panel
from wirework.viewer.size_curve import size_curve


def validation(**changes: Measure) -> Report:
    """Measures with the real bars, the real verdict on them and made-up curves."""
    measures = {
        **MEASURES,
        "task_accuracy": Measure(0.95, 0.93, 0.96, 512, "higher", note="of the circuit alone"),
        "faithfulness": Measure(0.5, 0.4, 0.6, 256, "higher"),
        "exactness": Measure(3e-15, n=200, better="lower"),
        "p:sufficiency": Measure(0.01, n=99, better="lower"),
        "new": Measure(float("nan")),
        **changes,
    }
    found = with_bars(measures, 0.15)
    verdict = verdict_of(found)
    return Report("validation", found, verdict.word, {}, {**CURVES, "verdict": verdict.to_json()})


def test_measures_stand_in_the_groups_of_the_validation() -> None:
    shown = report_panel(validation())
    groups = {one["name"]: one["asks"] for one in shown["groups"]}
    assert list(groups)[-1] == "other"
    assert {k: v for k, v in groups.items() if k != "other"}.items() <= {
        name: group.asks for name, group in GROUPS.items()
    }.items()
    group_of = {one["name"]: one["group"] for one in shown["measures"]}
    assert group_of["subset_adversarial@16"] == "subsets"
    assert group_of["p:sufficiency"] == "hypotheses" and group_of["new"] == "other"
    bare = Report("validation", {name: Measure(0.5) for name in RULES}, None)
    assert {one["group"] for one in report_panel(bare)["measures"]} & {"other"} == set()


def test_what_was_missed_is_told_in_the_words_of_the_verdict() -> None:
    shown = {one["name"]: one for one in report_panel(validation())["measures"]}
    assert shown["task_accuracy"]["says"] == RULES["task_accuracy"].says
    assert shown["task_accuracy"]["decisive"] and not shown["faithfulness"]["decisive"]
    assert shown["task_loss"]["says"] == ""


@pytest.mark.parametrize(
    ("name", "measure", "expected"),
    [
        ("accuracy", Measure(0.9, 0.8, 1.0, better="higher", bar=0.5), [0.9, 0.8, 1.0, 0.5]),
        ("task_loss", Measure(0.1, 0.05, 0.2, better="lower"), [0.4348, 0.2174, 0.8696, None]),
        ("margin", Measure(-1.0, -2.0, 0.0), [0.5455, 0.09091, 1, None]),
        ("exactness", Measure(1e-15, better="lower", bar=1e-9), [3 / 18, None, None, 0.5]),
        ("exactness", Measure(0.0, better="lower", bar=1e-9), [0, None, None, 0.5]),
    ],
)
def test_the_picture_of_a_measure_has_its_value_between_the_ends_of_its_axis(
    name: str, measure: Measure, expected: list[float | None]
) -> None:
    (shown,) = report_panel(Report("validation", {name: measure}))["measures"]
    found = [shown["picture"][part] for part in ("value", "low", "high", "bar")]
    assert [one if one is None else pytest.approx(one, rel=1e-3) for one in expected] == found


def test_a_value_that_is_no_number_has_no_picture() -> None:
    (shown,) = report_panel(Report("x", {"a": Measure(float("nan"), 0.0, 1.0)}))["measures"]
    assert shown["picture"] is None and shown["value"] == "–"
    (shown,) = report_panel(Report("x", {"null_edges": Measure(float("inf"))}))["measures"]
    assert shown["picture"] is None and shown["value"] == "∞"


def test_the_curves_are_those_of_the_report() -> None:
    curves = {one["title"]: one for one in report_panel(report())["curves"]}
    assert len(curves) == 5
    random = curves["Other nodes restored at random"]
    assert random["at"] == CURVES["subset_random"]["rate"] and random["bar"] == 0.9
    assert random["lines"][0]["values"] == CURVES["subset_random"]["share"]
    assert random["from"] == 0.8 and curves["The worst nodes chosen"]["log"]
    rows = curves["Prompts changed, right answer kept"]["rows"]
    assert rows[2]["value"] == 0.075 and rows[2]["text"] == "9 of 120"
    assert report_panel(report("partly", "interchange"))["curves"][0]["title"].startswith("Act")


@pytest.mark.parametrize(
    "details",
    [
        {"subset_random": {"rate": [0, 1], "share": [1]}},
        {"subset_random": {"rate": [0], "share": ["high"]}},
        {"subset_random": {"rate": [], "share": []}},
        {"subset_adversarial": []},
        {"interchange": {}},
        {"interchange": {"model": {"rate": [0.0], "share": [float("nan")]}}},
        {"adversarial_inputs": {"changes": {"change": ["a"], "tried": [], "disagreed": []}}},
        {"verdict": "faithful"},
        {"verdict": {"missed": [{}]}},
    ],
)
def test_details_that_no_validation_writes_are_refused(details: dict[str, Any]) -> None:
    with pytest.raises(WireworkError) as caught:
        report_panel(Report("validation", {}, details=details))
    assert caught.value.code == "report-curves-malformed"


# -- sizes


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32, task=quote_task(6))


def prompts_of(circuit: Circuit, pairs: int) -> PromptTensors:
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    return PromptTensors.of(encoded.report.take(chosen_pairs(task, pairs)))


def test_the_curve_ends_at_the_circuit_itself_and_each_point_is_its_loss(circuit: Circuit) -> None:
    found = size_curve(circuit)
    assert found is not None
    prompts = prompts_of(circuit, found["pairs"])
    nodes = every_node(circuit.nodes)
    assert sorted(found["order"]) == list(range(len(nodes)))
    assert found["points"][-1][0] == len(nodes) and found["points"][0][0] == 1
    for size, loss, accuracy in (found["points"][-1], found["points"][5]):
        network = circuit.network
        for index in found["order"][size:]:
            network = without_node(network, nodes[index])
        margins = lone_margins(network, prompts, np.float64)
        score = score_of(torch.from_numpy(margins), prompts, circuit.calibration)
        assert loss == pytest.approx(score.loss, rel=2e-3)
        assert accuracy == pytest.approx(score.accuracy, abs=1e-3)


def test_measured_effects_are_taken_as_the_ranking(circuit: Circuit) -> None:
    nodes = [str(node) for node in every_node(circuit.nodes)]
    effects = {name: float((7 * index) % len(nodes)) for index, name in enumerate(nodes)}
    found = size_curve(circuit, effects)
    assert found is not None and found["ranked"] == "as the evidence has it"
    assert found["order"] == sorted(range(len(nodes)), key=lambda i: (effects[nodes[i]], i))
    del effects[nodes[0]]
    again = size_curve(circuit, effects)
    assert again is not None and "measured here" in again["ranked"]


def test_a_circuit_that_cannot_run_alone_has_no_curve() -> None:
    task = quote_task(1)
    assert size_curve(random_circuit(22, task=task, runs_alone=False)) is None
    assert size_curve(random_circuit(22, task=task, keep=0.0)) is None


# -- in a browser


@pytest.fixture(scope="module")
def file(circuit: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "page.html"
    more = {"sizes": size_curve(circuit)}
    export_page(path, circuit, report=validation(), examples=2, more=more)
    return path


def test_what_was_missed_stands_first_and_groups_unfold(browser: Browser, file: Path) -> None:
    with opened(browser, file.as_uri()) as visit:
        panel = visit.page.locator(".report")
        missed = panel.locator(".missed-first .name").all_inner_texts()
        assert missed == ["task_accuracy", "faithfulness"]
        assert "unfaithful" in panel.locator("h2").inner_text()
        assert "3 of 5 bars reached" in panel.locator("h2").inner_text()
        assert "gives wrong answers" in panel.locator(".missed-first").inner_text()
        group = panel.locator("details.group", has_text="Does the circuit do the task?")
        assert not group.locator(".measure").first.is_visible()
        group.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        assert group.locator(".measure").count() == 4
        assert "of the circuit alone" in group.inner_text()
        assert panel.locator(".chart").count() == 5
        panel.locator(".chart summary").first.click()
        assert "0.84" in panel.locator(".chart").first.locator("table").inner_text()
        assert visit.complaints == []


def test_groups_unfold_on_paper(browser: Browser, file: Path) -> None:
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        groups = page.locator(".report details.group")
        groups.last.locator("summary").click()
        before = groups.evaluate_all("all => all.map(one => one.open)")
        assert before.count(True) == 1 and len(before) > 2
        page.evaluate(
            "addEventListener('beforeprint', () => { window.printed ="
            " [...document.querySelectorAll('.report .measure')].map(one => one.checkVisibility())"
            " })"
        )
        page.pdf()
        assert all(page.evaluate("window.printed"))
        assert groups.evaluate_all("all => all.map(one => one.open)") == before


def test_the_drawing_follows_the_size(browser: Browser, file: Path, circuit: Circuit) -> None:
    found = size_curve(circuit)
    assert found is not None
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        page.wait_for_selector("html[data-engine=ready]", state="attached")
        slider = page.get_by_label("nodes kept")
        slider.focus()
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
        size, loss, _ = found["points"][-4]
        told = page.locator(".size-told").inner_text()
        assert told.startswith(f"{size} nodes") and f"{loss:.3g}"[:4] in told
        assert slider.get_attribute("aria-valuetext") == told
        page.wait_for_function(
            "size => [...document.querySelectorAll('.box.node')]"
            ".filter(one => getComputedStyle(one).display !== 'none').length === size",
            arg=size,
        )
        page.get_by_role("button", name="all nodes").click()
        assert page.locator(".size-told").inner_text().startswith(f"{circuit.n_nodes} nodes")
        assert visit.complaints == []


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_fits_and_axe_finds_nothing_serious(
    browser: Browser, file: Path, size: tuple[int, int], scheme: Any
) -> None:
    with opened(browser, file.as_uri(), size=size, scheme=scheme) as visit:
        assert sideways(visit.page) <= 0
        visit.page.evaluate(
            "for (const one of document.querySelectorAll('details')) one.open = true"
        )
        found = serious(visit.page)
        assert [one for one in found if "report" in one or "size" in one or "chart" in one] == []


def test_a_report_of_another_circuit_is_refused(circuit: Circuit) -> None:
    own = replace(report(), provenance={"inputs": circuit.identity()})
    assert page_content(circuit, report=own, examples=0)
    foreign = replace(report(), provenance={"inputs": {**circuit.identity(), "nodes": "0" * 64}})
    with pytest.raises(WireworkError) as caught:
        page_content(circuit, report=foreign, examples=0)
    assert caught.value.code == "report-of-another" and "nodes" in str(caught.value)


def test_a_hostile_report_is_only_text(browser: Browser, circuit: Circuit, tmp_path: Path) -> None:
    bad = "</script><img src=x onerror=alert(1)>"
    details = {
        **CURVES,
        "verdict": {"missed": [{"measure": bad, "decisive": True, "says": bad}]},
        "adversarial_inputs": {"changes": {"change": [bad], "tried": [1], "disagreed": [1]}},
    }
    hostile = replace(report(), measures={bad: Measure(0.1, better="higher", bar=1.0, note=bad)},
                      verdict=bad, kind=bad, details=details)  # fmt: skip
    export_page(tmp_path / "x.html", circuit, report=hostile, examples=1)
    with opened(browser, (tmp_path / "x.html").as_uri()) as visit:
        assert bad in visit.page.locator(".missed-first").inner_text()
        assert visit.page.locator("img").count() == 0 and visit.dialogs == []
        assert visit.complaints == []
