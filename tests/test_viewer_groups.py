"""Groups are offered where nodes act as one; what is known of nodes and edges reaches the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser
from typer.testing import CliRunner

from page_hands import Reference, read, running, until
from viewer_circuits import nodes_at, quote_task, random_circuit
from wirework.circuit import Circuit, Group, Groups, every_node
from wirework.circuit.groups import groups_path
from wirework.cli.app import app
from wirework.core import Node, WireworkError
from wirework.data import Tokenizer
from wirework.explain.node_label import EffectShare, LabelScore, NodeLabel, Term
from wirework.explain.weight_predicate import PredicateScore, WeightPredicate
from wirework.tasks import Task
from wirework.viewer import export_page
from wirework.viewer.activity import Activity, histograms, measure_activity, unity
from wirework.viewer.content import page_content
from wirework.viewer.groups import AS_ONE, find_groups, page_groups


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32, task=quote_task(4))


def activity_of(columns: list[np.ndarray[Any, Any]]) -> Activity:
    return Activity(np.stack(columns, axis=1), np.zeros((0, len(columns))), [])


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_unity_is_one_for_multiples_of_one_signal(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    signal = random.normal(size=50)
    factors = random.choice([-3.0, -0.5, 0.2, 4.0], count)
    assert unity(signal[:, None] * factors + random.normal(size=count)) == pytest.approx(1)
    others = random.normal(size=(4000, count))
    assert unity(others) < 0.15
    assert 0 <= unity(np.column_stack([signal, random.normal(size=50)])) < 0.9


def test_unity_of_two_nodes_is_the_magnitude_of_their_correlation() -> None:
    values = np.random.default_rng(0).normal(size=(200, 2)) @ np.array([[1, -0.6], [0, 1]])
    assert unity(values) == pytest.approx(abs(np.corrcoef(values.T)[0, 1]))
    assert unity(np.column_stack([values[:, 0], np.full(200, 3.0)])) == 0
    assert unity(values[:1]) == 0


def test_groups_are_alike_and_act_as_one() -> None:
    """Nodes 0 to 3 have the same neighbours, 0 and 2 one signal; 4 and 5 have the same label."""
    random = np.random.default_rng(1)
    signal, other = random.normal(size=300), random.normal(size=300)
    columns = [signal, random.normal(size=300), -2 * signal, random.normal(size=300)]
    columns += [other, other + 0.01 * random.normal(size=300), signal]
    names = [f"0.mlp.neuron:{i}" for i in range(6)] + ["0.mlp.out:1"]
    edges = [{"kind": "edge", "source": i, "target": 6} for i in range(4)]
    edges.append({"kind": "edge", "source": 4, "target": 7})
    drawing = {"nodes": [{"name": name} for name in names], "edges": edges, "links": []}
    labels = {names[4]: "in a string", names[5]: "in a string", names[1]: "in a string"}
    found = find_groups(drawing, labels, activity_of(columns))
    assert [(group["members"], group["why"]) for group in found] == [
        ([0, 2], "joined to the same"), ([4, 5], "same label"),
    ]  # fmt: skip
    assert all(group["unity"] >= AS_ONE and group["tokens"] == 300 for group in found)
    assert find_groups(drawing, {}, activity_of([random.normal(size=300) for _ in names])) == []


def test_activity_is_what_the_circuit_does(circuit: Circuit) -> None:
    task = Task.from_json(circuit.task)
    report = task.encode(Tokenizer.from_json(circuit.tokenizer), None).report
    found = measure_activity(circuit, task, report)
    nodes = every_node(circuit.nodes)
    assert found.values.shape == (int((report.last + 1).sum()), len(nodes))
    assert found.peaks.shape == (2 * len(task.report), len(nodes))
    length = int(report.last[0]) + 1
    sites = circuit.trace(report.tokens[:1, :length], np.float64).sites
    for index, node in enumerate(nodes):
        seen = sites[node.site][0, :, node.index]
        assert found.values[:length, index] == pytest.approx(seen, abs=1e-9)
        assert found.peaks[0, index] == pytest.approx(seen[np.abs(seen).argmax()], abs=1e-9)
    assert found.wants[0] == task.report[0].answer
    shown = histograms(found)
    assert sum(shown["prompts"]) == 2 * len(task.report)
    for bins, peaks in zip(shown["nodes"], found.peaks.T, strict=True):
        assert (bins is None) == (np.ptp(peaks) == 0)
        if bins is not None:
            assert [sum(counts) for counts in bins["counts"]] == shown["prompts"]
            assert bins["low"] == pytest.approx(peaks.min(), rel=1e-3)


def test_a_circuit_that_needs_its_model_has_no_groups() -> None:
    content = page_content(random_circuit(22, runs_alone=False, task=quote_task(2)), examples=0)
    assert content["groups"] == [] and content["histograms"] is None


def score(feature: str, f1: float, *, direction: str = "on") -> dict[str, Any]:
    numbers = ("threshold", "train_mcc", "mcc", "mcc_low", "mcc_high", "low", "high",
               "precision", "recall", "base_rate", "chance_f1")  # fmt: skip
    values = dict.fromkeys(numbers, 0.5)
    terms = [{"feature": feature, "negated": False}]
    return {"terms": terms, "direction": direction, "f1": f1, "tokens": 900, **values}


def evidence(circuit: Circuit, **changes: Any) -> dict[str, Any]:
    name = nodes_at(circuit, "mlp.neuron")[0]
    share = dict.fromkeys(("value", "low", "high", "control"))
    label = {
        "single": score("in a string", 0.91), "control": score("x", 0.2), "pair": None,
        "pair_control": None, "inside": 1.0, "outside": 0.0, "label": "in a string",
        "unexplained": "", "share": {**share, "pairs": 0, "unlabelled": 0, "reason": "no pairs"},
    }  # fmt: skip
    edge, weight = circuit.edges()[1]
    return {
        "version": 4,
        "nodes": {name: {"effect": -0.25, "top": [], "random": []}},
        "edges": [{"edge": str(edge), "weight": weight, "loss": 0.1, "margin": -0.5}],
        "labels": {name: {**label, **changes}},
    }


def test_labels_and_effects_reach_the_page(circuit: Circuit) -> None:
    content = page_content(circuit, evidence=evidence(circuit), examples=0)
    name = nodes_at(circuit, "mlp.neuron")[0]
    node = content["evidence"]["nodes"][name]
    assert node["effect"] == -0.25
    assert node["label"]["text"] == "in a string" and node["label"]["scores"]["f1"] == 0.91
    assert node["label"]["control"] == 0.2 and node["label"]["unexplained"] == ""
    effects = content["evidence"]["edges"]
    assert len(effects) == circuit.n_edges
    assert [at for at, one in enumerate(effects) if one is not None] == [1]
    assert effects[1] == [-0.5, 0.1]


def test_labels_stand_without_examples(circuit: Circuit) -> None:
    """As `wirework explain --labels` leaves them where nobody has looked at the circuit yet."""
    found = page_content(circuit, evidence={**evidence(circuit), "nodes": {}}, examples=0)
    (node,) = found["evidence"]["nodes"].values()
    assert node["label"]["text"] == "in a string"
    assert (node["effect"], node["top"], node["random"]) == (None, [], [])


def test_predicates_of_weights_reach_the_page(circuit: Circuit) -> None:
    numbers = dict.fromkeys(("train_score", "recovery", "low", "high"), 0.9)
    best = PredicateScore(
        (Term("a"), Term("b", negated=True)), inverse=0.1, coverage=0.2, **numbers
    )
    robust = WeightPredicate(1.0, "zero", 900, 2.0, 0.1, 0.05, 0.2, best)
    silent = WeightPredicate(1.0, "zero", 900, 2.0, 0.0, -0.1, 0.1, reason="it never matters")
    (first, _), (second, _) = circuit.edges()[:2]
    told = {str(first): robust.to_json(), str(second): silent.to_json()}
    changed = {**evidence(circuit), "predicates": told}
    matters = page_content(circuit, evidence=changed, examples=0)["evidence"]["matters"]
    assert "where a and not b (score 0.90, 0.90 to 0.90;" in matters[str(first)]
    assert "unexplained: it never matters" in matters[str(second)]
    with pytest.raises(WireworkError, match="evidence-malformed"):
        page_content(circuit, evidence={**changed, "predicates": {str(first): {}}}, examples=0)


def test_a_pair_of_features_is_the_label_where_it_is_named(circuit: Circuit) -> None:
    pair = score("a", 0.7, direction="off")
    pair["terms"] = [{"feature": "a", "negated": False}, {"feature": "b", "negated": True}]
    changed = evidence(circuit, pair=pair, pair_control=score("y", 0.3), label="a and not b")
    found = page_content(circuit, evidence=changed, examples=0)["evidence"]["nodes"]
    (label,) = (node["label"] for node in found.values())
    assert label["scores"]["f1"] == 0.7 and label["control"] == 0.3 and label["off"] is True


@pytest.mark.parametrize(("train_mcc", "text"), [(0.5, "a"), (0.9, "a and not b")])
def test_labels_are_read_as_they_are_written(circuit: Circuit, train_mcc: float, text: str) -> None:
    """The pair is the label where it is worth its length, for writer and reader alike."""
    numbers = {k: v for k, v in score("a", 0.8).items() if k not in ("terms", "direction")}
    single = LabelScore(terms=(Term("a"),), direction="on", **numbers)
    terms = (Term("a"), Term("b", negated=True))
    pair = replace(single, terms=terms, train_mcc=train_mcc, f1=0.85)
    written = NodeLabel(single, None, pair, None, 1.0, 0.0, EffectShare(reason="none"))
    changed = evidence(circuit, **written.to_json())
    found = page_content(circuit, evidence=changed, examples=0)["evidence"]["nodes"]
    (label,) = (node["label"] for node in found.values())
    assert label["text"] == text and label["unexplained"] == written.unexplained
    assert written.best is not None and label["scores"]["f1"] == written.best.f1


def test_a_node_without_a_label_is_unexplained(circuit: Circuit) -> None:
    silent = {"single": None, "control": None, "label": None, "unexplained": "it never changes"}
    found = page_content(circuit, evidence=evidence(circuit, **silent), examples=0)["evidence"]
    (label,) = (node["label"] for node in found["nodes"].values())
    assert (label["text"], label["scores"], label["unexplained"]) == ("", None, "it never changes")


def test_a_labelled_node_has_room_under_it(circuit: Circuit) -> None:
    plain = page_content(circuit, examples=0)["drawing"]
    labelled = page_content(circuit, evidence=evidence(circuit), examples=0)["drawing"]
    name = nodes_at(circuit, "mlp.neuron")[0]
    at = [node["name"] for node in labelled["nodes"]].index(name)
    column, y = labelled["points"][at]
    below = [other for c, other in labelled["points"] if c == column and other > y]
    assert not below or min(below) - y >= 16 + 13 + 4.5 - 0.1
    assert len(plain["points"]) == len(labelled["points"])


@pytest.mark.parametrize(
    "part", [{"share": 3}, {"single": {"terms": 1}}, {"label": None, "share": None}]
)
def test_labels_that_are_none_are_refused(circuit: Circuit, part: dict[str, Any]) -> None:
    with pytest.raises(WireworkError) as found:
        page_content(circuit, evidence=evidence(circuit, **part), examples=0)
    assert found.value.code == "evidence-malformed"


def test_labels_of_other_nodes_are_refused(circuit: Circuit) -> None:
    found = evidence(circuit)
    found["labels"] = {"9.mlp.neuron:1": next(iter(found["labels"].values()))}
    with pytest.raises(WireworkError) as refused:
        page_content(circuit, evidence=found, examples=0)
    assert refused.value.code == "evidence-foreign"


def test_many_weights_are_drawn_straight_behind_the_largest(circuit: Circuit) -> None:
    large = random_circuit(3, size=5, layers=4, task=quote_task(1))
    assert large.n_edges > 5000
    drawing = page_content(replace(large, runs_alone=False), examples=0)["drawing"]
    straight = [
        edge
        for edge in drawing["edges"]
        if len(edge["route"]) == 2
        and drawing["points"][edge["target"]][0] - drawing["points"][edge["source"]][0] > 1
    ]
    assert straight
    largest = sorted((abs(edge["weight"]) for edge in drawing["edges"]), reverse=True)
    assert max(abs(edge["weight"]) for edge in straight) <= largest[4999]


# -- groups made by hand


def made(circuit: Circuit, **fields: Any) -> Groups:
    """One group in two places, one of a single node, one of neurons alone."""
    neurons = [Node.parse(name) for name in nodes_at(circuit, "mlp.neuron")]
    outs = [Node.parse(name) for name in nodes_at(circuit, "mlp.out")]
    groups = (
        Group("opens a <b>string</b>", (outs[0], *neurons[:2])),
        Group("alone", (neurons[3],)),
        Group("kept", tuple(neurons[4:6])),
    )
    return Groups(**{"model_hash": circuit.model_hash, "groups": groups, **fields})


def test_groups_made_by_hand_are_shown_with_their_check(circuit: Circuit) -> None:
    groups = made(circuit)
    content = page_content(circuit, groups=groups, examples=0)
    names = [node["name"] for node in content["drawing"]["nodes"]]
    task = Task.from_json(circuit.task)
    report = task.encode(Tokenizer.from_json(circuit.tokenizer), None).report
    values = measure_activity(circuit, task, report).values
    by_hand = {one["label"]: one for one in content["groups"] if one["why"] == "made by hand"}
    for group in groups.groups:
        shown = by_hand.pop(group.label)
        assert {names[member] for member in shown["members"]} == {str(n) for n in group.nodes}
        assert shown["members"] == sorted(shown["members"])
        if len(group.nodes) == 1:
            assert shown["unity"] is None
        else:
            expected = unity(values[:, shown["members"]])
            assert shown["unity"] == pytest.approx(expected, rel=1e-3)
            assert shown["tokens"] == len(values)
    assert by_hand == {} and content["as_one"] == AS_ONE
    members = [member for one in content["groups"] for member in one["members"]]
    assert len(members) == len(set(members)), "no node stands in two groups"
    needy = replace(circuit, runs_alone=False)
    silent = page_content(needy, groups=groups, examples=0)["groups"]
    assert len(silent) == 3 and {one["unity"] for one in silent} == {None}


def test_nodes_grouped_by_hand_are_in_no_group_that_is_found(circuit: Circuit) -> None:
    signal = np.random.default_rng(1).normal(size=300)
    nodes = [{"name": f"0.mlp.neuron:{index}"} for index in range(4)]
    drawing = {"nodes": nodes, "edges": [], "links": []}
    ours = Groups("a" * 64, (Group("x", (Node.parse("0.mlp.neuron:2"),)),))
    found = page_groups(drawing, {}, activity_of([signal] * 4), ours)
    assert [one["members"] for one in found] == [[0, 1, 3], [2]]


@pytest.mark.parametrize(
    "fields",
    [{"model_hash": "1" * 64}, {"pinned": frozenset([Node.parse("9.mlp.neuron:1")])}],
)
def test_groups_of_another_circuit_are_refused(circuit: Circuit, fields: dict[str, Any]) -> None:
    with pytest.raises(WireworkError) as refused:
        page_content(circuit, groups=made(circuit, **fields), examples=0)
    assert refused.value.code == "groups-foreign"


def test_the_file_of_groups_beside_a_circuit_is_shown(circuit: Circuit, tmp_path: Path) -> None:
    """By `wirework view`, alone and in a gallery."""
    place, page = tmp_path / "quote.circuit", tmp_path / "page.html"
    circuit.save(place)
    made(circuit).save(groups_path(place))
    for words in ([place], ["--gallery", tmp_path]):
        done = CliRunner().invoke(app, ["view", *map(str, words), "--export", str(page)])
        assert done.exit_code == 0, done.stderr
        shown = page if place in words else tmp_path / "page-pages" / "000-quote.html"
        assert '"label":"opens a \\u003cb\\u003e' in shown.read_text()
    made(circuit, model_hash="1" * 64).save(groups_path(place))
    done = CliRunner().invoke(app, ["view", str(place), "--export", str(page)])
    assert done.exit_code == 1 and "error[groups-foreign]" in done.stderr


def test_a_folded_group_is_cut_in_one_step(
    browser: Browser, circuit: Circuit, tmp_path: Path
) -> None:
    groups, reference = made(circuit), Reference.of(circuit)
    names = sorted(str(node) for node in groups.groups[0].nodes)
    cut = {name: {"kind": "ablate"} for name in names}
    file = tmp_path / "page.html"
    export_page(file, circuit, groups=groups, examples=2)
    with running(browser, file) as opened:
        page = opened.page
        whole = read(page, "side(0)")
        asked = (whole["text"], whole["wants"], whole["against"])
        page.get_by_role("button", name="fold 3 groups").click()
        assert page.locator(".box.folded").count() == 4, "a box in each of two columns"
        under = page.locator(".box.folded .under").all_text_contents()
        assert sum(text.startswith("opens a") for text in under) == 2
        head = page.locator(".box.folded[aria-label*='opens a <b>']").first
        head.focus()
        page.keyboard.press("Enter")
        panel = page.locator(".panel .group")
        assert "opens a <b>string</b>" in panel.inner_text()
        assert "Grouped by hand. They do not act as one" in panel.inner_text()
        button = panel.get_by_role("button", name="cut the group")
        button.focus()
        page.keyboard.press("Space")
        expected = reference.margins(*asked, nodes=cut)
        assert read(page, "side(0).margins") == pytest.approx(expected, rel=1e-9)
        assert sorted(read(page, "chosen.interventions.nodes")) == names
        now = f"{float(f'{abs(expected[-1]):.3g}'):g}"
        told = panel.locator(".controls").inner_text()
        flips = (expected[-1] > 0) != (whole["margins"][-1] > 0)
        assert now in told and ("flips" in told) == flips
        assert page.locator(".change-name").all_inner_texts() == ["cut “opens a <b>string</b>”"]
        assert page.locator(".box[data-change=ablate]:visible").count() == 2
        page.keyboard.press("Control+z")
        assert read(page, "side(0).margins") == whole["margins"]
        assert page.get_by_role("button", name="undo").is_disabled(), "it was one step"
        page.keyboard.press("Control+Shift+Z")
        until(page, "location.hash.length > 10")
        page.wait_for_timeout(250)
        fragment = "#" + page.url.partition("#")[2]
        page.get_by_role("button", name="restore the group").press("Enter")
        assert read(page, "side(0).margins") == whole["margins"]
    with running(browser, file, fragment=fragment) as again:
        page = again.page
        assert read(page, "side(0).margins") == pytest.approx(expected, rel=1e-9)
        assert page.locator(".box.folded").count() == 4
        pressed = page.get_by_role("button", name="cut the group").get_attribute("aria-pressed")
        assert pressed == "true"
