"""Prompts of the reader's own in the page: tokens, answers, pairs, attention, steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from browser import Visit, visit
from page_hands import (
    STATE,
    Reference,
    read,
    running,
    until,
    write,
)
from viewer_circuits import quote_task, random_circuit
from wirework.circuit import Circuit, every_node
from wirework.data import Tokenizer
from wirework.tasks import Task
from wirework.viewer import export_page
from wirework.viewer.content import page_content

HOSTILE = "</script><img src=x onerror=alert(1)> \u202e &amp; {{style}}"


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture(scope="module")
def content(circuit: Circuit) -> dict[str, Any]:
    return page_content(circuit)


@pytest.fixture(scope="module")
def file(circuit: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hands") / "random.html"
    export_page(path, circuit)
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Visit]:
    with running(browser, file) as found:
        yield found


def test_typing_keeps_focus_and_caret(opened: Visit) -> None:
    page = opened.page
    field = page.locator("textarea").first
    field.fill('print("red')
    until(page, f"{STATE}.side(0).text === 'print(\"red'")
    field.evaluate("field => field.setSelectionRange(5, 5)")
    page.keyboard.type("x")
    until(page, f"{STATE}.side(0).text === 'printx(\"red'")
    page.keyboard.type("y")
    until(page, f"{STATE}.side(0).text === 'printxy(\"red'")
    assert field.evaluate("field => [field === document.activeElement, field.selectionStart]") == [
        True,
        7,
    ]
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Enter")
    assert read(page, "side(0).text") == 'printxy\n("red'
    texts = page.locator(".chips").first.locator(".chip").all_inner_texts()
    assert len(texts) == len(read(page, "side(0).ids")) and any("↵" in text for text in texts)
    page.get_by_role("button", name="next example").click()
    assert field.input_value() == read(page, "page.examples[1].sides[0].text")


def read_at_most(circuit: Circuit, tokens: int) -> Circuit:
    nowhere = np.zeros((tokens, circuit.network.d_model), dtype=np.float32)
    network = replace(circuit.network, position="add", positions=nowhere)
    return replace(circuit, network=network)


def test_prompts_that_cannot_run_say_why(browser: Browser, tmp_path: Path) -> None:
    circuit = read_at_most(random_circuit(22, keep=0.32), 40)
    export_page(tmp_path / "short.html", circuit)
    with running(browser, tmp_path / "short.html") as opened:
        page = opened.page
        problem = page.locator(".outcome.problem")
        assert problem.count() == 0
        write(page, "a b c d e f " * 6)
        count = len(Tokenizer.from_json(circuit.tokenizer).encode("a b c d e f " * 6))
        assert f"{count} tokens" in problem.inner_text() and "at most 40" in problem.inner_text()
        assert page.locator(".chips").first.locator(".beyond").count() == count - 40
        write(page, "")
        assert "Type a prompt" in problem.inner_text()
        write(page, "x" * 30_000)
        assert "30,000 characters" in problem.inner_text()
        page.evaluate(f"{STATE}.choose({{ prompt: 'a\\ud800b' }})")
        assert "surrogate" in problem.inner_text()
        write(page, HOSTILE[:20])
        assert problem.count() == 0 and page.locator("img").count() == 0


def test_hostile_prompts_are_only_texts(opened: Visit) -> None:
    page = opened.page
    for side in (0, 1):
        write(page, HOSTILE, side)
        shown = page.locator(".chips").nth(side).locator(".chip-text").all_inner_texts()
        assert "".join(shown).startswith("</script><img")
    until(page, "location.hash.length > 40")
    page.reload()
    page.wait_for_selector("html[data-engine=ready]", state="attached")
    assert page.locator("textarea").first.input_value() == HOSTILE
    assert page.locator("img, iframe").count() == 0 and page.locator("script").count() == 2


def test_answers_are_told_with_shares_and_signs(opened: Visit, circuit: Circuit) -> None:
    page = opened.page
    side = read(page, "side(0)")
    page.locator(".logits summary").first.click()
    rows = page.locator(".logits-box").first.locator("tbody tr")
    trace = circuit.trace(np.array([side["ids"]]), np.float64)
    logits = trace.logits[0, -1]
    shares = np.exp(logits) / np.exp(logits).sum()
    assert rows.count() == len(logits)
    best = float(rows.first.locator("td").last.inner_text().rstrip("%"))
    assert best == pytest.approx(100 * shares.max(), abs=0.06)
    assert "answer tokens" in page.locator(".logits-box").first.inner_text()
    margin = side["margins"][-1]
    page.get_by_label("answer", exact=True).select_option(side["against"])
    turned = read(page, "side(0)")
    assert (turned["wants"], turned["against"]) == (side["against"], side["wants"])
    assert turned["margins"][-1] == pytest.approx(-margin, rel=1e-12)


def test_blanks_in_answers_are_seen(browser: Browser, tmp_path: Path) -> None:
    task = quote_task(2)
    names = dict.fromkeys(task.answers, "")
    for count, name in enumerate(names):
        names[name] = "'" + " " * (4 * count + 4) + "'"
    report = tuple(
        replace(pair, answer=names[pair.answer], counter_answer=names[pair.counter_answer])
        for pair in task.report
    )
    answers = {names[name]: value for name, value in task.answers.items()}
    indented = replace(task, answers=answers, report=report, fit=report[:1], select=report[1:2])
    export_page(tmp_path / "page.html", random_circuit(22, keep=0.32, task=indented))
    with running(browser, tmp_path / "page.html") as opened:
        shown = opened.page.locator(".outcome .margin").first.inner_text()
        assert "'␣×4'" in shown and "'␣×8'" in shown


def test_the_pair_stands_side_by_side(opened: Visit, content: dict[str, Any]) -> None:
    page = opened.page
    sides = [read(page, f"side({index})") for index in (0, 1)]
    for index, side in enumerate(sides):
        chips = page.locator(".chips").nth(index).locator(".chip")
        assert chips.count() == len(side["ids"])
        assert 0 < page.locator(".chips").nth(index).locator(".differs").count() < chips.count()
    assert len(sides[0]["ids"]) == len(sides[1]["ids"])
    page.get_by_label("show").select_option("difference")
    shown = read(page, "shownSide(0).values")
    for here, one, other in zip(shown, sides[0]["values"], sides[1]["values"], strict=True):
        assert here == pytest.approx(np.subtract(one, other).tolist(), rel=1e-12)
    last = len(sides[0]["ids"]) - 1
    changed = sum(row[last] != 0 for row in shown)
    coloured = page.locator(".box.node.positive, .box.node.negative").count()
    assert 0 < coloured == changed
    page.get_by_label("show").select_option("value")
    page.get_by_role("button", name="counterfactual", exact=True).click()
    assert page.locator(".side:visible").count() == 1


def test_a_copied_prompt_becomes_the_counterfactual(opened: Visit) -> None:
    page = opened.page
    write(page, 'x = "red hat')
    page.get_by_role("button", name="copy the prompt here").click()
    assert page.locator("textarea").nth(1).input_value() == 'x = "red hat'
    assert page.locator(".chip.differs").count() == 0
    write(page, "x = 'red hat", 1)
    assert page.locator(".chip.differs").count() == 2


def test_attention_is_drawn_as_arcs(
    opened: Visit, circuit: Circuit, content: dict[str, Any]
) -> None:
    page = opened.page
    ids = read(page, "side(1).ids")
    trace = circuit.trace(np.array([ids]), np.float64, record=True)
    page.locator(".chips").nth(1).locator(".chip").nth(5).click()
    for index, head in enumerate(content["heads"]):
        page.locator(".tool", has_text="attention of").locator("select").select_option(str(index))
        weights = trace.attention[head["layer"]][0, head["head"], 5, :6]
        drawn = page.locator(".chips").nth(1).locator(".arcs path")
        found = [float(one.get_attribute("data-weight") or 0) for one in drawn.all()]
        assert found == pytest.approx([w for w in weights if w >= 0.01], rel=1e-4)
        sink = 100 * trace.sink[head["layer"]][0, head["head"], 5]
        status = page.locator(".status").inner_text()
        assert sink < 0.1 or f"{round(sink, 1):g}%" in status
    assert page.locator(".chips").nth(0).locator(".arcs path").count() == 0
    page.locator(".tool", has_text="attention of").locator("select").select_option("")
    assert page.locator(".arcs path").count() == 0


def test_a_look_is_explained_channel_by_channel(opened: Visit, circuit: Circuit) -> None:
    page = opened.page
    page.locator(".looks summary").click()
    box = page.locator(".looks")
    box.get_by_label("token that is looked at").select_option("1")
    head = read(page, "page.heads")[read(page, "chosen.head")]
    ids = read(page, "side(0).ids")
    trace = circuit.trace(np.array([ids]), np.float64, record=True)
    width = circuit.network.d_head
    q, k = (
        np.asarray(values)[0, :, head["head"] * width : (head["head"] + 1) * width]
        for site, values in sorted(trace.sites.items(), key=lambda item: item[0].kind, reverse=True)
        if site.layer == head["layer"] and site.kind in ("attn.q", "attn.k")
    )
    total = float(q[-1] @ k[1]) / np.sqrt(width)
    shown = box.locator("tfoot td").last.inner_text().replace("−", "-")
    assert float(shown) == pytest.approx(total, rel=6e-3, abs=1e-3)
    products = [
        float(row.locator("td").last.inner_text().replace("−", "-"))
        for row in box.locator("tbody tr").all()
    ]
    assert sum(products) == pytest.approx(total, rel=2e-2, abs=5e-3)


def test_pointing_at_a_node_shows_it_at_every_token(opened: Visit, circuit: Circuit) -> None:
    page = opened.page
    values = read(page, "side(0).values")
    index = int(np.argmax([np.abs(row).max() > 0 for row in values]))
    node = str(every_node(circuit.nodes)[index])
    page.locator(f".box[aria-label^='{node},']").dispatch_event("pointerover", {"bubbles": True})
    bars = (
        page.locator(".chips")
        .first.locator(".chip")
        .evaluate_all("all => all.map(one => parseFloat(one.style.getPropertyValue('--bar')))")
    )
    largest = read(page, "page.largest")[index]
    sizes = [min(1.0, abs(value) / largest) * 14 for value in values[index]]
    assert bars == pytest.approx(sizes, abs=0.51) and max(bars) > 0
    page.locator(".picture").dispatch_event("pointerleave")
    assert page.locator(".chip.positive, .chip.negative").count() == 0


def test_steps_show_one_column_after_the_other(opened: Visit, content: dict[str, Any]) -> None:
    page = opened.page
    columns = [point[0] for point in content["drawing"]["points"]]
    boxes = len(content["drawing"]["nodes"]) + len(content["drawing"]["answers"])
    slider = page.get_by_label("step through the columns")
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".box.later").count() == boxes
    for step in (1, 2, 3):
        page.get_by_role("button", name="next column").click()
        assert page.locator(".box.later").count() == sum(c > step for c in columns[:boxes])
        told = page.locator(".step-told").inner_text()
        assert content["drawing"]["columns"][step]["heading"] in told and len(told) > 40
    page.locator(".steps").get_by_role("button", name="all").click()
    assert page.locator(".box.later").count() == 0


def test_a_circuit_that_needs_its_model_offers_no_hands(browser: Browser, tmp_path: Path) -> None:
    circuit = random_circuit(22, task=quote_task(2), runs_alone=False, ablation="resample")
    export_page(tmp_path / "page.html", circuit)
    with visit(browser, tmp_path / "page.html") as opened:
        page = opened.page
        page.wait_for_selector("html[data-engine=none]", state="attached")
        assert "cannot run without its model" in page.locator(".status").inner_text()
        assert page.locator("textarea, .changes, .matters").count() == 0
        page.locator(".box.node").first.dispatch_event("click")
        assert page.locator(".controls").count() == 0
        assert opened.complaints == [] and opened.fetched == []


def test_a_browser_that_cannot_unpack_the_circuit_says_so(browser: Browser, file: Path) -> None:
    context = browser.new_context()
    try:
        context.add_init_script("delete window.DecompressionStream")
        page = context.new_page()
        found = Visit(page)
        found.listen()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-engine=failed]", state="attached")
        assert "cannot run in this browser" in page.locator(".status").inner_text()
        page.locator("textarea").first.fill("x")
        until(page, "document.querySelector('.outcome.problem') !== null")
        assert "cannot run" in page.locator(".outcome.problem").inner_text()
        page.locator(".box.node").first.dispatch_event("click")
        assert page.locator(".controls").count() == 0 and not page.locator(".matters").is_visible()
        assert found.complaints == []
    finally:
        context.close()


def test_a_page_without_examples_runs_what_is_typed(browser: Browser, tmp_path: Path) -> None:
    circuit = random_circuit(22, keep=0.32)
    export_page(tmp_path / "page.html", circuit, examples=0)
    task = Task.from_json(circuit.task)
    with running(browser, tmp_path / "page.html") as opened:
        page = opened.page
        assert "Type a prompt" in page.locator(".outcome").first.inner_text()
        write(page, task.report[0].prompt)
        side = read(page, "side(0)")
        expected = Reference.of(circuit).margins(side["text"], side["wants"], side["against"])
        assert side["margins"] == pytest.approx(expected, rel=1e-9)
