"""The page in a real browser: what it draws, what a click does, what it refuses to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Error, Locator, Page

from browser import Visit, visit
from viewer_circuits import nodes_at, quote_task, random_circuit
from wirework.circuit import Circuit, every_node
from wirework.core import Measure, Report
from wirework.viewer import export_page
from wirework.viewer.content import page_content

SIZES = [(1280, 800), (1920, 1080), (390, 844)]
HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>\u2028\u202e&amp;"


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture(scope="module")
def content(circuit: Circuit) -> dict[str, Any]:
    """The page's content; its first examples with what the Python engine does on them."""
    content = page_content(circuit)
    for example in content["examples"][:3]:
        for row, side in enumerate(example["sides"]):
            trace = circuit.trace(np.array([side["ids"]]), np.float64)
            nodes = every_node(circuit.nodes)
            side["values"] = [trace.sites[node.site][0, :, node.index] for node in nodes]
            wanted, other = (
                np.logaddexp.reduce(trace.logits[0][:, content["program"]["answers"][name]], axis=1)
                for name in (side["wants"], side["against"])
            )
            scale = circuit.calibration
            side["margins"] = scale.scale * (wanted - other) + (scale.shift, -scale.shift)[row]
    return content


@pytest.fixture(scope="module")
def file(circuit: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "quote.html"
    measures = {
        "faithfulness": Measure(0.97, 0.95, 0.99, 400, "higher", 0.9),
        "necessity": Measure(0.91, better="higher", bar=0.95),
    }
    example = {"tokens": ["def", " f", "("], "values": [0.0, 2.0, -1.0], "position": 1}
    evidence = {"top": [example], "random": [example]}
    export_page(
        path,
        circuit,
        report=Report("validation", measures, "unfaithful"),
        evidence={"version": 1, "nodes": {nodes_at(circuit, "mlp.neuron")[0]: evidence}},
    )
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Visit]:
    with visit(browser, file) as found:
        yield found


def box(page: Page, name: str) -> Locator:
    return page.locator(f".box[aria-label^='{name},']")


def chip(page: Page, side: int, token: int) -> Locator:
    return page.locator(".chips").nth(side).locator(".chip").nth(token)


def lit(page: Page) -> int:
    """How many lines stand out."""
    return int(page.locator(".lines-above").get_attribute("data-lines") or "0")


def shares(items: Locator) -> list[float]:
    """How far each element is coloured, in percent, with the sign of its colour."""
    found: list[float] = items.evaluate_all(
        "all => all.map(one => (one.classList.contains('negative') ? -1 : 1)"
        " * parseFloat(one.style.getPropertyValue('--share')))"
    )
    return found


def expected_share(value: float, largest: float) -> float:
    """Nothing at zero; small values still show."""
    return 0.0 if value == 0 else (8 + 92 * abs(value) / largest) * (1 if value > 0 else -1)


def test_everything_is_drawn_and_nothing_is_fetched(
    opened: Visit, circuit: Circuit, content: dict[str, Any]
) -> None:
    page = opened.page
    assert page.locator(".box.node").count() == circuit.n_nodes
    assert page.locator(".box.answer").count() == 2
    assert int(page.locator(".lines-below").get_attribute("data-lines") or 0) > circuit.n_edges
    text = page.locator("main").inner_text()
    for expected in ("python/single_double_quote", "0.123", "97.8%", "8f3a1c02be77", "missed"):
        assert expected in text
    assert opened.fetched == [] and opened.complaints == [] and opened.dialogs == []


def test_the_page_may_fetch_and_run_nothing_else(browser: Browser, file: Path) -> None:
    with visit(browser, file) as opened:
        with pytest.raises(Error, match="Failed to fetch"):
            opened.page.evaluate("fetch('https://example.org/').then(r => r.text())")
        opened.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
            " document.body.append(s); }"
        )
        assert opened.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in text for text in opened.complaints)


def test_a_click_on_a_node_colours_the_tokens_and_tells_about_it(
    opened: Visit, circuit: Circuit, content: dict[str, Any]
) -> None:
    page, nodes = opened.page, content["drawing"]["nodes"]
    index = next(i for i, node in enumerate(nodes) if node["kind"] == "mlp.neuron")
    assert set(shares(page.locator(".chip"))) == {0}
    box(page, nodes[index]["name"]).click()
    values = [v for side in content["examples"][0]["sides"] for v in side["values"][index]]
    expected = [expected_share(value, content["largest"][index]) for value in values]
    assert shares(page.locator(".chip")) == pytest.approx(expected, abs=0.1)
    panel = page.locator(".panel")
    assert panel.get_by_role("heading", level=2).inner_text() == nodes[index]["name"]
    inputs = [str(e.source) for e, _ in circuit.edges() if str(e.target) == nodes[index]["name"]]
    rows = panel.locator(".lines", has_text="Weights in").locator("li")
    shown = [row.get_by_role("button").first.inner_text() for row in rows.all()]
    assert sorted(shown) == sorted(inputs) and inputs
    assert panel.locator(".snippet").count() == 2 and "+2" in panel.inner_text()
    assert lit(page) >= sum(
        nodes[index]["name"] in str(e).split(" -> ") for e, _ in circuit.edges()
    )
    panel.get_by_role("button", name=inputs[0], exact=True).click()
    assert panel.get_by_role("heading", level=2).inner_text() == inputs[0]
    page.keyboard.press("Escape")
    assert set(shares(page.locator(".chip"))) == {0} and lit(page) == 0


def test_a_click_on_a_token_colours_the_nodes(opened: Visit, content: dict[str, Any]) -> None:
    page, example = opened.page, content["examples"][0]
    last = len(example["sides"][0]["tokens"]) - 1
    assert chip(page, 0, last).get_attribute("aria-pressed") == "true"
    for side, token in ((0, last), (1, 3), (0, 1)):
        chip(page, side, token).click()
        assert page.locator(".chip[aria-pressed=true]").count() == 1
        values = [values[token] for values in example["sides"][side]["values"]]
        pairs = zip(values, content["largest"], strict=True)
        expected = [expected_share(value, largest) for value, largest in pairs]
        assert shares(page.locator(".box.node")) == pytest.approx(expected, abs=0.1)
        margin = example["sides"][side]["margins"][token]
        (answer,) = shares(box(page, f"answer {example['sides'][side]['wants']}"))
        assert (answer > 0) == (margin > 0)


def test_examples_can_be_changed_and_say_what_was_right(
    opened: Visit, content: dict[str, Any]
) -> None:
    page = opened.page
    for index in (1, 2):
        page.get_by_role("button", name="next example").click()
        sides = content["examples"][index]["sides"]
        assert page.locator(".chip").count() == sum(len(side["tokens"]) for side in sides)
        outcomes = page.locator(".outcome").all_inner_texts()
        for side, outcome in zip(sides, outcomes, strict=True):
            assert side["wants"] in outcome
            assert ("right" if side["margins"][-1] > 0 else "wrong") in outcome
    page.get_by_role("button", name="previous example").click()
    assert page.get_by_label("example", exact=True).input_value() == "1"


def test_the_keyboard_is_enough(opened: Visit, circuit: Circuit) -> None:
    page = opened.page
    assert page.locator(".box[tabindex='0']").count() == 1, "one stop of the Tab key"
    page.locator(".box[tabindex='0']").focus()
    first = page.locator(".box:focus").get_attribute("aria-label") or ""
    assert page.locator(".tip").is_visible()
    page.keyboard.press("ArrowRight")
    second = page.locator(".box:focus").get_attribute("aria-label") or ""
    assert first != second
    page.keyboard.press("Enter")
    assert page.locator(".panel h2").inner_text() == second.partition(",")[0]
    assert page.locator(".box[tabindex='0']").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".box[aria-pressed=true]").count() == 0
    page.locator(".chip[tabindex='0']").first.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    assert chip(page, 0, 1).get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_fits_and_can_be_read(browser: Browser, file: Path, scheme: Any, size: Any) -> None:
    with visit(browser, file, size=size, scheme=scheme) as opened:
        page = opened.page
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(overflow) <= 0
        for kind in (".box rect", ".heading-text", ".figure", ".chips:first-child .chip"):
            boxes = page.locator(kind).evaluate_all(
                "all => all.map(one => { const r = one.getBoundingClientRect();"
                " return [r.left, r.top, r.right, r.bottom]; })"
            )
            assert overlapping(boxes) == [], kind
        assert contrast(page, "body") > 10 and contrast(page, ".quiet") > 4.5
        assert opened.fetched == [] and opened.complaints == []


def overlapping(boxes: list[list[float]]) -> list[tuple[list[float], list[float]]]:
    return [
        (a, b)
        for index, a in enumerate(boxes)
        for b in boxes[:index]
        if a[0] < b[2] - 0.5 and b[0] < a[2] - 0.5 and a[1] < b[3] - 0.5 and b[1] < a[3] - 0.5
    ]


def contrast(page: Page, selector: str) -> float:
    """WCAG contrast of a text with the nearest background behind it."""
    colours = page.locator(selector).first.evaluate(
        """item => {
          let back = item;
          const behind = () => getComputedStyle(back).backgroundColor;
          while (behind() === 'rgba(0, 0, 0, 0)') back = back.parentElement;
          return [getComputedStyle(item).color, behind()];
        }"""
    )
    bright, dark = sorted((luminance(colour) for colour in colours), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(", ")]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_scheme_follows_the_system_and_the_button(browser: Browser, file: Path) -> None:
    back = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, file, scheme="light") as light, visit(browser, file, scheme="dark") as dark:
        day, night = light.page.evaluate(back), dark.page.evaluate(back)
        assert luminance(day) > 0.8 and luminance(night) < 0.05
        button = dark.page.locator(".scheme")
        seen = []
        for _ in range(3):
            button.click()
            seen.append((button.inner_text().split()[-1], dark.page.evaluate(back)))
        assert seen == [("light", day), ("dark", night), ("auto", night)]


def test_hostile_texts_are_only_texts(browser: Browser, tmp_path: Path) -> None:
    task = quote_task(3)
    answers = {f"{name}{HOSTILE}": value for name, value in task.answers.items()}
    report = tuple(
        replace(
            pair,
            prompt=HOSTILE + pair.prompt,
            counterfactual=HOSTILE + pair.counterfactual,
            answer=pair.answer + HOSTILE,
            counter_answer=pair.counter_answer + HOSTILE,
            template=HOSTILE,
        )
        for pair in task.report
    )
    hostile = replace(
        task, name=HOSTILE, description=HOSTILE, answers=answers, report=report,
        fit=report[:1], select=report[1:2],
    )  # fmt: skip
    circuit = random_circuit(22, keep=0.32, task=hostile, ablation=HOSTILE)
    name = nodes_at(circuit, "mlp.neuron")[0]
    example = {"tokens": [HOSTILE], "values": [1.0], "position": 0}
    path = tmp_path / "hostile.html"
    export_page(
        path,
        circuit,
        report=Report(HOSTILE, {HOSTILE: Measure(1, note=HOSTILE)}, HOSTILE),
        evidence={"version": 1, "nodes": {name: {"top": [example], "random": []}}},
    )
    with visit(browser, path) as opened:
        page = opened.page
        box(page, name).click()
        page.locator(".box.answer").first.hover()
        page.locator(".box.answer").first.click()
        chip(page, 0, 0).hover()
        assert page.locator("h1").inner_text() == HOSTILE
        assert "<img src=x" in page.locator(".report h2").inner_text()
        assert page.locator("img, iframe, object").count() == 0
        assert page.locator("script").count() == 2
        assert opened.dialogs == [] and opened.fetched == [] and opened.complaints == []


@pytest.mark.parametrize(
    "fields", [{"runs_alone": False, "ablation": "resample"}, {"keep": 0.0}, {"layers": 1}]
)
def test_unusual_circuits_have_a_page_too(
    browser: Browser, tmp_path: Path, fields: dict[str, Any]
) -> None:
    circuit = random_circuit(22, task=quote_task(2), **fields)
    for examples in (0, 2):
        export_page(tmp_path / "page.html", circuit, examples=examples)
        with visit(browser, tmp_path / "page.html") as opened:
            assert opened.page.locator(".box.node").count() == circuit.n_nodes
            for item in opened.page.locator(".box").all()[:3]:
                item.click()
            if examples:
                chip(opened.page, 0, 0).click()
                shown = "without its model" in opened.page.locator(".status").inner_text()
                assert shown is (not circuit.runs_alone)
            assert opened.complaints == []
