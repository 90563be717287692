"""All about a node, an edge, a group, in a real browser: panels, labels, tables, copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from browser import Visit, visit
from drawn_page import box, drawn_content, lines, lit, lonely_edge, middle_of
from viewer_circuits import nodes_at, random_circuit
from wirework.circuit import Circuit
from wirework.viewer.page import document


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture(scope="module")
def content(circuit: Circuit) -> dict[str, Any]:
    return drawn_content(circuit)


@pytest.fixture(scope="module")
def file(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawing") / "quote.html"
    path.write_text(document(content), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Visit]:
    with visit(browser, file) as found:
        yield found
        assert found.complaints == [] and found.fetched == []


@pytest.fixture
def page(opened: Visit) -> Page:
    opened.page.locator(".frame").scroll_into_view_if_needed()
    return opened.page


def test_labels_stand_under_boxes_and_in_the_panel(page: Page, circuit: Circuit) -> None:
    first, second = nodes_at(circuit, "mlp.neuron")[:2]
    assert page.locator(".under").count() == 1
    assert (box(page, first).locator(".under").text_content() or "").endswith(".93")
    box(page, first).click()
    panel = page.locator(".panel")
    assert "tells: in a double string" in panel.inner_text()
    for expected in ("F1 0.93", "shuffled labels 0.21", "60%", "Also in: seed 1, seed 2", "−0.5"):
        assert expected in panel.inner_text()
    assert panel.locator(".histogram svg").count() == 2
    box(page, second).click()
    assert "unexplained" in panel.inner_text() and "chance is 0.30" in panel.inner_text()


def test_values_can_be_copied(opened: Visit, page: Page, content: dict[str, Any]) -> None:
    node = content["drawing"]["nodes"][8]
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    box(page, node["name"]).click()
    page.get_by_role("button", name="copy values").click()
    page.get_by_text("copied", exact=True).wait_for()
    text: str = page.evaluate("navigator.clipboard.readText()")
    rows = [row.split("\t") for row in text.splitlines()]
    assert rows[0] == ["node", node["name"]]
    incoming = [e["weight"] for e in content["drawing"]["edges"] if e["target"] == 8]
    assert [float(row[2]) for row in rows if row[0] == "Weights in"] == pytest.approx(incoming)
    values = [row for row in rows if row[0] == "value"]
    assert len(values) == len(content["examples"][0]["sides"][0]["tokens"])
    page.locator(".panel .values summary").click()
    assert page.locator(".panel textarea").input_value() == text


def test_tables_say_the_same(page: Page, content: dict[str, Any]) -> None:
    page.locator(".as-table summary").click()
    nodes, edges = (
        page.get_by_role("region", name=name).locator("tbody tr") for name in ("nodes", "edges")
    )
    assert nodes.count() == len(content["drawing"]["nodes"])
    assert edges.count() == len(content["drawing"]["edges"])
    edges.first.get_by_role("button").click()
    assert page.locator(".panel h2").inner_text() == "edge" and lit(page) == 1
    nodes.nth(2).get_by_role("button").press("Enter")
    assert page.locator(".panel h2").inner_text() == nodes.nth(2).get_by_role("button").inner_text()


def test_a_line_is_pointed_at_and_chosen(page: Page, content: dict[str, Any]) -> None:
    index, edge = lonely_edge(content)
    names = [content["drawing"]["nodes"][edge[end]]["name"] for end in ("source", "target")]
    x, y = middle_of(page, content, edge)
    page.mouse.move(x, y + 1)
    assert page.locator(".tip b").inner_text() == " → ".join(names)
    assert lit(page) == 1 and page.locator(".box.lit").count() == 2
    page.mouse.click(x, y + 1)
    panel = page.locator(".panel")
    assert panel.locator("h2").inner_text() == "edge"
    text = panel.inner_text()
    for expected in (
        *names,
        "weight × source",
        "cut: margin",
        "constant that stands for the source",
    ):
        assert expected in text
    page.mouse.move(2, 2)
    assert lit(page) == 1, "what is chosen stays lit"
    panel.locator("summary").click()
    told = panel.locator("textarea").input_value()
    assert f"weight\t{edge['weight']}" in told
    assert f"effect on the answer margin\t{content['evidence']['edges'][index][0]}" in told
    page.keyboard.press("Escape")
    assert lit(page) == 0 and "How to read it" in panel.inner_text()


def test_groups_fold_and_say_how_far_they_act_as_one(page: Page, content: dict[str, Any]) -> None:
    members = content["groups"][0]["members"]
    names = [content["drawing"]["nodes"][member]["name"] for member in members]
    shown, before = page.locator(".box.node:visible"), lines(page)
    assert shown.count() == len(content["drawing"]["nodes"])
    box(page, names[1]).click()
    group = page.locator(".panel .group")
    assert "0.961" in group.inner_text() and "321 tokens" in group.inner_text()
    group.get_by_role("button", name="fold").click()
    assert shown.count() == len(content["drawing"]["nodes"]) - len(members) + 1
    assert "folded group of 3" in (box(page, names[0]).get_attribute("aria-label") or "")
    assert lines(page) <= before
    box(page, names[0]).hover()
    ends = {
        (edge["source"] in members, edge["target"] if edge["source"] in members else edge["source"])
        for edge in content["drawing"]["edges"]
        if edge["source"] in members or edge["target"] in members
    }
    assert lit(page) >= len(ends), "the box has the lines of all members"
    page.get_by_role("button", name="unfold 1 group").click()
    assert shown.count() == len(content["drawing"]["nodes"]) and lines(page) == before
    page.get_by_role("button", name="fold 1 group").click()
    assert page.locator(".box.folded").count() == 1
