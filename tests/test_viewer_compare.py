"""Two circuits as one drawing: what is shared, what only one has, and the page of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import opened
from hosted_pages import LOOKS, serious, sideways
from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit, every_node
from wirework.core import Site
from wirework.engine import SiteGate
from wirework.viewer.comparison import comparison_content, export_comparison

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def left() -> Circuit:
    return random_circuit(22, keep=0.4, task=quote_task(2))


@pytest.fixture(scope="module")
def right(left: Circuit) -> Circuit:
    """The same without one neuron and without one write."""
    gone = {node.site: node.index for node in every_node(left.nodes)
            if node.site in (Site(0, "mlp.neuron"), Site(1, "attn.out"))}  # fmt: skip
    gates = dict(left.network.gates)
    for site, index in gone.items():
        keep = gates[site].keep.copy()
        keep[index] = False
        gates[site] = SiteGate(keep, gates[site].constant, gates[site].before)
    nodes = {site: tuple(i for i in kept if gone.get(site) != i)
             for site, kept in left.nodes.items()}  # fmt: skip
    return replace(left, nodes=nodes, network=replace(left.network, gates=gates))


def test_everything_of_both_is_drawn_once(left: Circuit, right: Circuit) -> None:
    drawing = comparison_content(left, right, ("a", "b"))["drawing"]
    names = [node["name"] for node in drawing["nodes"]]
    assert names == [str(node) for node in every_node(left.nodes)]
    only = {node["name"] for node in drawing["nodes"] if node["in"] == "left"}
    assert only == {str(node) for node in left.graph().nodes - right.graph().nodes}
    assert len(only) == 2 and not [n for n in drawing["nodes"] if n["in"] == "right"]
    weights = dict(left.edges())
    drawn = {(names[e["source"]], names[e["target"]]): e for e in drawing["edges"]}
    assert len(drawn) == len(weights) == left.n_edges
    for edge, weight in weights.items():
        found = drawn[str(edge.source), str(edge.target)]
        assert found["left"] == pytest.approx(weight, rel=1e-3)
        assert (
            (found["right"] is None)
            == (found["in"] == "left")
            == bool(only & {str(edge.source), str(edge.target)})
        )


def test_counts_and_jaccard_are_those_of_the_graphs(left: Circuit, right: Circuit) -> None:
    other = random_circuit(23, keep=0.5, task=quote_task(2))
    for one, two in ((left, right), (left, other), (other, left), (left, left)):
        nodes, edges = comparison_content(one, two, ("a", "b"))["shares"]
        graphs = one.graph(), two.graph()
        assert nodes["both"] == len((graphs[0] & graphs[1]).nodes)
        assert (nodes["left"], nodes["right"]) == (
            len((graphs[0] - graphs[1]).nodes), len((graphs[1] - graphs[0]).nodes)
        )  # fmt: skip
        assert edges["both"] + edges["left"] == one.n_edges
        expected = graphs[0].jaccard(graphs[1])
        assert [float(nodes["jaccard"]), float(edges["jaccard"])] == pytest.approx(
            expected, abs=5e-4
        )


def test_columns_stand_in_order_of_computation(left: Circuit) -> None:
    narrow = random_circuit(22, keep=0.06, layers=2, task=quote_task(2))
    for pair in ((left, narrow), (narrow, left)):
        drawing = comparison_content(*pair, ("a", "b"))["drawing"]
        points = drawing["points"]
        for line in [*drawing["edges"], *drawing["links"]]:
            columns = [points[point][0] for point in line["route"]]
            assert columns == sorted(set(columns))


def test_what_makes_a_comparison_doubtful_is_said(left: Circuit) -> None:
    task = quote_task(2)
    other = random_circuit(
        22, keep=0.4, task=replace(task, name="another"), model_hash="0" * 64, ablation="zero"
    )
    assert comparison_content(left, left, ("a", "b"))["notes"] == []
    notes = " ".join(comparison_content(left, other, ("a", "b"))["notes"])
    assert "other weights" in notes and "different tasks" in notes and "zero" in notes


# -- in a browser


@pytest.fixture(scope="module")
def file(left: Circuit, right: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compare") / "both.html"
    export_comparison(path, left, right, ("seed 0", "seed 1"))
    return path


def test_the_page_draws_both_and_hides_what_is_switched_off(
    browser: Browser, file: Path, left: Circuit, right: Circuit
) -> None:
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        edges = page.locator(".overlay-line.edge")
        assert edges.count() == left.n_edges
        assert page.locator(".overlay-line.edge.side-both").count() == right.n_edges
        assert page.locator(".overlay-box[role=button]").count() == left.n_nodes
        style = "one => [getComputedStyle(one).stroke, getComputedStyle(one).strokeDasharray]"
        both, only = (
            page.locator(f".overlay-line.edge.side-{side}").first.evaluate(style)
            for side in ("both", "left")
        )
        assert both[0] != only[0] and both[1] == "none" != only[1]
        page.locator(".legend .entry", has_text="in both").click()
        visible = edges.evaluate_all(
            "all => all.filter(one => getComputedStyle(one).display !== 'none').length"
        )
        assert visible == left.n_edges - right.n_edges == page.locator("tbody .edge-name").count()
        assert visit.fetched == [] and visit.complaints == []


def test_a_node_shows_its_weights_by_click_and_by_key(
    browser: Browser, file: Path, left: Circuit
) -> None:
    name = next(str(node) for node in every_node(left.nodes) if node.site.kind == "mlp.neuron")
    joined = [edge for edge, _ in left.edges() if name in (str(edge.source), str(edge.target))]
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        box = page.locator(f".overlay-box[aria-label^='{name},']")
        for key in ("", "Enter"):
            if key:
                box.press(key)
            else:
                box.click()
            assert page.get_by_role("heading", name=f"Weights of {name}").count() == 1
            assert page.locator("tbody .edge-name").count() == len(joined)
            assert page.locator(".overlay-line.edge.lit").count() == len(joined)
            box.click()
        page.get_by_role("button", name="seed 1").last.click()
        shown = page.locator(".weights tbody tr td:nth-child(4)").all_inner_texts()
        sizes = [0 if t == "–" else abs(float(t.replace("−", "-"))) for t in shown]
        assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_fits_and_axe_finds_nothing_serious(
    browser: Browser, file: Path, size: tuple[int, int], scheme: Any
) -> None:
    with opened(browser, file.as_uri(), size=size, scheme=scheme) as visit:
        assert sideways(visit.page) <= 0
        assert serious(visit.page) == []


def test_hostile_names_are_only_texts(browser: Browser, left: Circuit, tmp_path: Path) -> None:
    task = replace(quote_task(2), name=HOSTILE)
    hostile = random_circuit(22, keep=0.3, task=task, ablation=HOSTILE)
    export_comparison(tmp_path / "x.html", left, hostile, (HOSTILE, f"b{HOSTILE}"))
    with opened(browser, (tmp_path / "x.html").as_uri()) as visit:
        assert HOSTILE in visit.page.locator("h1").inner_text()
        assert visit.page.locator("img").count() == 0
        assert visit.dialogs == [] and visit.complaints == []
