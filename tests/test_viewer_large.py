"""Large drawings: open soon, move smoothly, page by effect; and what accessibility checks find."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import visit
from viewer_circuits import quote_task, random_circuit
from wirework.viewer import export_page
from wirework.viewer.content import page_content
from wirework.viewer.page import document

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
"""Timings of a shared machine say little: the bars here are wide, the figures come from
`benchmarks/viewer_speed.py`."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Pages of circuits with more than so many edges."""
    folder = tmp_path_factory.mktemp("large")
    found = {}
    for least, layers in ((2000, 2), (5000, 4)):
        circuit = random_circuit(3, size=5, layers=layers, task=quote_task(2))
        assert least < circuit.n_edges < 1.6 * least
        found[least] = folder / f"{circuit.n_edges}.html"
        export_page(found[least], circuit, examples=1)
    return found


@pytest.mark.parametrize("least", [2000, pytest.param(5000, marks=pytest.mark.long)])
def test_a_large_drawing_opens_soon_and_moves(
    browser: Browser, pages: dict[int, Path], monkeypatch: pytest.MonkeyPatch, least: int
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = import_module("viewer_speed").measure(browser, pages[least], turns=1)
    assert found["interactive"] < 12
    assert found["panning"] > 8 and found["blank"] > 8


def test_beyond_many_weights_the_strongest_are_drawn_first(
    browser: Browser, pages: dict[int, Path]
) -> None:
    edges = int(pages[5000].stem)
    with visit(browser, pages[5000]) as opened:
        page = opened.page
        paging = page.locator(".paging")
        assert f"the 5,000 strongest of {edges:,} edges" in paging.inner_text()
        drawn = page.locator(".lines-below[data-lines]")
        before = int(drawn.get_attribute("data-lines") or 0)
        paging.get_by_role("button").click()
        page.wait_for_timeout(200)
        assert int(drawn.get_attribute("data-lines") or 0) - before == edges - 5000
        assert f"the {edges:,} strongest" in paging.inner_text()
        assert paging.get_by_role("button").count() == 0, "nothing more to show"
        assert opened.complaints == []


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    content = page_content(random_circuit(22, keep=0.15), examples=2)
    group = {"members": [0, 1], "why": "same label", "unity": 0.95, "tokens": 99}
    return {**content, "groups": [group]}


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_accessibility_checks_find_nothing_serious(
    browser: Browser, content: dict[str, Any], tmp_path: Path, scheme: Any
) -> None:
    path = tmp_path / "page.html"
    path.write_text(document(content), encoding="utf-8")
    axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    with visit(browser, path, scheme=scheme) as opened:
        page = opened.page
        page.locator(".as-table summary").click()
        page.evaluate(axe)
        for _ in ("nothing chosen", "a node chosen", "an edge chosen"):
            found = page.evaluate("axe.run()")
            bad = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
            told = [
                {"id": one["id"], "nodes": [node["html"][:160] for node in one["nodes"][:4]]}
                for one in bad
            ]
            assert not told, json.dumps(told, indent=1)
            if page.locator(".panel .lines").count():
                page.locator(".panel .to-edge").first.click()
            else:
                page.locator(".box.node").nth(4).click()
        page.evaluate("document.body.append(document.createElement('button'))")
        found = page.evaluate("axe.run({ runOnly: ['button-name'] })")
        assert "button-name" in [one["id"] for one in found["violations"]], "the check can fail"


CONTRASTS = """() => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const numbers = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((p) => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (item) => {
    const layers = [];
    for (let one = item; one; one = one.parentElement) {
      const rect = one.matches(".box") ? getComputedStyle(one.querySelector("rect")) : null;
      layers.unshift(numbers(rect ? rect.fill : getComputedStyle(one).backgroundColor));
    }
    return layers.reduce((below, top) => over(top, below), [1, 1, 1]);
  };
  const found = [];
  for (const item of document.querySelectorAll("body *")) {
    const own = [...item.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    const left = "script, .under, .count-mark text, .change-mark text, option, :disabled";
    if (!own || !item.checkVisibility() || item.matches(left)) continue;
    const style = getComputedStyle(item);
    const back = behind(item);
    const ink = over(numbers(item instanceof SVGElement ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    const name = `${item.tagName} ${item.getAttribute("class")} ${item.textContent.slice(0, 40)}`;
    found.push([(a + 0.05) / (b + 0.05), name]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_every_theme(
    browser: Browser, content: dict[str, Any], tmp_path: Path, scheme: Any
) -> None:
    """The checks' own rule for contrast knows no mixed colours, so it is measured here."""
    path = tmp_path / "page.html"
    path.write_text(document(content), encoding="utf-8")
    with visit(browser, path, scheme=scheme) as opened:
        page = opened.page
        page.wait_for_selector("html[data-engine]", state="attached")
        for token in (1, 4, 8):
            page.locator(".chip").nth(token).click()
            found = page.evaluate(CONTRASTS)
            assert len(found) > 100
            assert [one for one in found if one[0] < 4.5] == []
        page.locator(".box.node").nth(4).click()
        assert [one for one in page.evaluate(CONTRASTS) if one[0] < 4.5] == []
