"""What a reader does with the page: cuts, holds, undoes, shares; driven as a person would."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from browser import Visit
from hosted_pages import LOOKS
from page_hands import (
    STATE,
    Reference,
    choose_node,
    control,
    outcome,
    ranking,
    read,
    running,
    until,
    write,
)
from planted_circuits import circuit_of
from viewer_circuits import random_circuit
from wirework.circuit import Circuit, every_node
from wirework.data import Tokenizer
from wirework.planted import close_quote
from wirework.viewer import export_page


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture(scope="module")
def reference(circuit: Circuit) -> Reference:
    return Reference.of(circuit)


@pytest.fixture(scope="module")
def file(circuit: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hands") / "random.html"
    export_page(path, circuit)
    return path


@pytest.fixture(scope="module")
def quotes() -> Circuit:
    """A circuit whose every node is known to tell the kind of quote, or to find it."""
    planted = close_quote()
    return circuit_of(planted, planted.active)


@pytest.fixture(scope="module")
def quotes_file(quotes: Circuit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quotes") / "quotes.html"
    export_page(path, quotes)
    return path


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Visit]:
    with running(browser, file) as found:
        yield found


def test_a_person_finds_the_node_cuts_it_and_shares_the_state(
    browser: Browser, quotes: Circuit, quotes_file: Path
) -> None:
    reference = Reference.of(quotes)
    truth = {str(node) for node in close_quote().active}
    prompts = {"double": 'sun = "red hat it', "single": "sun = 'red hat it"}
    cut: dict[str, Any] = {"kind": "ablate"}
    with running(browser, quotes_file) as opened:
        page = opened.page
        for answer, text in prompts.items():
            write(page, text)
            assert outcome(page) == answer
            names = ranking(page).evaluate_all("all => all.map(one => one.dataset.part)")
            assert names[0] in truth
            other = {"double": "single", "single": "double"}[answer]
            margin = reference.margins(text, "double", "single", nodes={names[0]: cut})[-1]
            if (margin > 0) != (answer == "double"):
                break
        else:
            raise AssertionError("one of the two answers goes with the node that tells them apart")
        assert "flips" in ranking(page).first.inner_text()
        ranking(page).first.click()
        control(page, "cut").click()
        assert outcome(page) == other
        assert "the answer flips" in page.locator(".change-answer").inner_text()
        assert page.locator(".box[data-change=ablate]").count() == 1
        page.get_by_role("button", name="restore all").click()
        assert outcome(page) == answer and page.locator(".box[data-change]").count() == 0
        control(page, "cut").click()
        page.get_by_role("button", name="copy link").click()
        until(page, "location.hash.length > 10")
        address = page.url
        shown = page.locator(".outcome").first.inner_text()
    with running(browser, quotes_file, fragment="#" + address.partition("#")[2]) as again:
        page = again.page
        assert page.locator("textarea").first.input_value() == text
        assert outcome(page) == other and page.locator(".outcome").first.inner_text() == shown
        assert page.locator(".change-name").all_inner_texts() == [f"cut {names[0]}"]
        assert page.locator(".panel h2").first.inner_text() == names[0]
        assert page.url.partition("#")[2] == address.partition("#")[2]
        assert page.locator(".link-told").inner_text() == ""


def test_the_panel_says_where_a_node_says_most(
    browser: Browser, quotes: Circuit, quotes_file: Path
) -> None:
    text = 'sun = "red hat it'
    ids = Tokenizer.from_json(quotes.tokenizer).encode(text)
    sites = quotes.trace(np.array([ids]), np.float64).sites
    with running(browser, quotes_file) as opened:
        page = opened.page
        write(page, text)
        for node in every_node(quotes.nodes):
            most = int(np.argmax(np.abs(sites[node.site][0, :, node.index])))
            choose_node(page, str(node))
            note = page.locator(".controls").first.inner_text()
            elsewhere = most != len(ids) - 1 and bool(sites[node.site][0, most, node.index])
            assert (f"Strongest at token {most + 1}," in note) is elsewhere, (node, note)


def test_the_numbers_are_those_of_the_engine(
    opened: Visit, circuit: Circuit, reference: Reference
) -> None:
    page = opened.page
    text = "def f(x):\n    return \"it's"
    write(page, text)
    side = read(page, "side(0)")
    assert side["ids"] == Tokenizer.from_json(circuit.tokenizer).encode(text)
    wants, against = side["wants"], side["against"]
    trace = circuit.trace(np.array([side["ids"]]), np.float64)
    for node, values in zip(every_node(circuit.nodes), side["values"], strict=True):
        assert values == pytest.approx(trace.sites[node.site][0, :, node.index], rel=1e-9, abs=1e-9)
    assert side["margins"] == pytest.approx(reference.margins(text, wants, against), rel=1e-9)
    names = ranking(page).evaluate_all("all => all.map(one => one.dataset.part)")
    nodes: dict[str, dict[str, Any]] = {
        names[0]: {"kind": "ablate"},
        names[1]: {"kind": "clamp", "value": 0.75},
        names[2]: {"kind": "scale", "factor": -2.0},
    }
    choose_node(page, names[0])
    control(page, "cut").click()
    choose_node(page, names[1])
    page.get_by_label("value for").fill("0.75")
    control(page, "hold at").click()
    choose_node(page, names[2])
    page.get_by_label("factor for").fill("-2")
    page.get_by_label("factor for").press("Enter")
    page.locator(".switch").get_by_role("button", name="edges").click()
    ranking(page).first.click()
    edge = page.locator(".ranking button").first.get_attribute("data-part") or ""
    control(page, "cut").click()
    edges = [edge.replace("→", "->")]
    expected = reference.margins(text, wants, against, nodes=nodes, edges=edges)
    assert read(page, "side(0).margins") == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert page.locator(".change-list li").count() == 4
    shown = page.locator(".outcome .margin").first.inner_text()
    assert f"{float(f'{abs(expected[-1]):.3g}'):g}" in shown
    assert ("leads" if expected[-1] > 0 else "trails") in shown


def test_what_matters_is_what_each_cut_takes_away(opened: Visit, reference: Reference) -> None:
    page = opened.page
    side = read(page, "side(0)")
    page.get_by_role("button", name="show more").click()

    def ranked() -> dict[str, float]:
        rows = ranking(page).evaluate_all(
            "all => all.map(one => [one.dataset.part, one.querySelector('.number').textContent])"
        )
        return {name: float(value.replace("−", "-")) for name, value in rows}

    def margin(**cut: Any) -> float:
        asked = (side["text"], side["wants"], side["against"])
        return float(reference.margins(*asked, **cut)[-1])

    found = ranked()
    for name, effect in found.items():
        taken = margin() - margin(nodes={name: {"kind": "ablate"}})
        assert effect == pytest.approx(taken, rel=6e-3, abs=1e-3)
    assert [abs(e) for e in found.values()] == sorted(map(abs, found.values()), reverse=True)
    page.locator(".switch").get_by_role("button", name="edges").click()
    until(page, "document.querySelector('.ranking button').dataset.part.includes('→')")
    edges = list(ranked())
    choose_edge = page.locator(".ranking button").first
    choose_edge.click()
    control(page, "cut").click()
    gone = edges[0].replace("→", "->")
    later = ranked()
    assert edges[0] not in later
    for name, effect in list(later.items())[:8]:
        taken = margin(edges=[gone]) - margin(edges=[gone, name.replace("→", "->")])
        assert effect == pytest.approx(taken, rel=6e-3, abs=1e-3)


def test_changes_are_undone_and_redone(opened: Visit) -> None:
    page = opened.page
    undo, redo = (page.get_by_role("button", name=name) for name in ("undo", "redo"))
    assert undo.is_disabled() and redo.is_disabled()
    names = ranking(page).evaluate_all("all => all.map(one => one.dataset.part)")[:2]
    margins = [read(page, "side(0).margins")]
    for name in names:
        choose_node(page, name)
        control(page, "cut").click()
        margins.append(read(page, "side(0).margins"))
    assert margins[0] != margins[1] != margins[2]
    page.keyboard.press("Control+z")
    assert read(page, "side(0).margins") == margins[1]
    undo.click()
    assert read(page, "side(0).margins") == margins[0] and undo.is_disabled()
    page.keyboard.press("Control+Shift+Z")
    page.keyboard.press("Control+y")
    assert read(page, "side(0).margins") == margins[2] and redo.is_disabled()
    page.get_by_role("button", name=f"take back: cut {names[0]}").click()
    assert page.locator(".change-name").all_inner_texts() == [f"cut {names[1]}"]
    control(page, "back").click()
    assert read(page, "side(0).margins") == margins[0]
    field = page.locator("textarea").first
    field.press_sequentially("ab")
    field.press("Control+z")
    assert page.locator(".change-list li").count() == 0, "a text has an undo of its own"


def test_a_smaller_circuit_runs_without_the_rest(opened: Visit, reference: Reference) -> None:
    page = opened.page
    side = read(page, "side(0)")
    nodes = [str(node) for node in every_node(reference.circuit.nodes)]
    kept = {index for index in range(len(nodes)) if index % 3}
    page.evaluate(f"{STATE}.choose({{ shown: new Set({sorted(kept)}) }})")
    cut = {name: {"kind": "ablate"} for i, name in enumerate(nodes) if i not in kept}
    expected = reference.margins(side["text"], side["wants"], side["against"], nodes=cut)
    assert read(page, "side(0).margins") == pytest.approx(expected, rel=1e-9)
    assert page.locator(".change-name").all_inner_texts() == [f"only {len(kept)} nodes"]
    assert "before:" in page.locator(".outcome").first.inner_text()
    page.get_by_role("button", name="restore all").click()
    assert read(page, "side(0).margins") == side["margins"]


def test_numbers_that_are_none_are_refused(opened: Visit) -> None:
    page = opened.page
    ranking(page).first.click()
    page.get_by_label("value for").fill("")
    control(page, "hold at").click()
    assert "number" in page.locator(".controls-told").inner_text()
    assert page.locator(".change-list li").count() == 0


def test_the_whole_state_is_in_the_link(browser: Browser, opened: Visit, file: Path) -> None:
    page = opened.page
    write(page, "a = 'it\n  ü 😀", 1)
    page.locator(".chips").nth(1).locator(".chip").nth(2).click()
    page.get_by_label("answer", exact=True).select_option(index=1)
    page.get_by_label("show").select_option("change")
    ranking(page).nth(1).click()
    page.get_by_label("factor for").fill("0.5")
    control(page, "multiply by").click()
    page.get_by_label("step through the columns").fill("4")
    page.locator(".tool", has_text="attention of").locator("select").select_option("")
    page.evaluate(f"{STATE}.choose({{ filter: 0.25, hide: true, width: 'weight' }})")
    wanted = read(page, "chosen")
    page.wait_for_timeout(300)
    fragment = "#" + page.url.partition("#")[2]
    assert len(fragment) < 400
    with running(browser, file, fragment=fragment) as again:
        assert again.page.locator(".link-told").inner_text() == ""
        found = read(again.page, "chosen")
        assert found.pop("history") == {"past": [], "future": []} and wanted.pop("history")
        assert found == wanted
        assert read(again.page, "side(1).margins") == read(page, "side(1).margins")
        again.page.evaluate("location.hash = ''")
        until(again.page, f"{STATE}.chosen.other === null")
        assert again.page.locator(".change-list li").count() == 0


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def test_links_that_say_nothing_here_are_ignored(opened: Visit) -> None:
    page = opened.page
    page.get_by_role("button", name="next example").click()
    until(page, "location.hash.length > 5")
    here = "#1." + page.url.partition("#")[2].split(".")[1] + "."
    before = read(page, "chosen")
    unknown_node = '{"i": {"nodes": {"z": {"kind": "ablate"}}, "edges": []}}'
    for fragment, told in (
        ("#here", "no link"),
        ("#9.abc.e30", "another version"),
        ("#1.zzz.e30", "another circuit"),
        (here + "%%%", "damaged"),
        (here + "e30x", "damaged"),
        (here + packed('{"n": 1e9}'), "damaged"),
        (here + packed('{"__proto__": {}}'), "damaged"),
        (here + packed("[]]"), "damaged"),
        (here + packed(unknown_node), "damaged"),
        (here + packed(unknown_node.replace('"z"', '"final:0"').replace("ablate", "x")), "damaged"),
        (here + "A" * 200_000, "damaged"),
    ):
        page.evaluate("text => { location.hash = text; }", fragment)
        until(page, f"document.querySelector('.link-told').textContent.includes('{told}')")
        assert read(page, "chosen") == before
        page.get_by_role("button", name="next example").click()
        page.get_by_role("button", name="previous example").click()
        assert page.locator(".link-told").inner_text() == ""


def test_the_keyboard_is_enough(opened: Visit) -> None:
    page = opened.page
    page.locator("textarea").first.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type('go = "red')
    page.keyboard.press("Enter")
    assert read(page, "side(0).text") == 'go = "red'
    first = ranking(page).first.get_attribute("data-part") or ""
    tab_to(page, "document.activeElement.closest('.ranking') !== null")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert page.locator(".panel h2").first.inner_text() == first
    tab_to(page, "document.activeElement.closest('.controls')?.contains(document.activeElement)")
    page.keyboard.press("Space")
    assert page.locator(".change-name").all_inner_texts() == [f"cut {first}"]
    page.keyboard.press("Control+z")
    assert page.locator(".change-list li").count() == 0


def test_focus_stays_where_one_works(opened: Visit) -> None:
    page = opened.page
    page.locator(".switch").get_by_role("button", name="edges").click()
    until(page, "document.querySelector('.ranking button').dataset.part.includes('→')")
    ranking(page).first.click()
    control(page, "cut").focus()
    for count in (1, 0, 1):
        page.keyboard.press("Space")
        assert page.locator(".change-list li").count() == count
        assert page.evaluate("document.activeElement.textContent") == "cut"
    ranking(page).nth(1).focus()
    part = page.evaluate("document.activeElement.dataset.part")
    page.keyboard.press("Control+z")
    page.wait_for_timeout(100)
    ranking(page)
    assert page.evaluate("document.activeElement.dataset.part") == part
    page.keyboard.press("Control+Shift+Z")
    page.locator(".change-list button").last.focus()
    page.keyboard.press("Enter")
    assert (page.evaluate("document.activeElement.ariaLabel") or "").startswith("undo")


def tab_to(page: Page, condition: str) -> None:
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            return
    raise AssertionError(f"no stop of the Tab key where {condition}")


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_what_matters_is_in_sight(
    browser: Browser, quotes_file: Path, size: tuple[int, int], scheme: Any
) -> None:
    with running(browser, quotes_file, size=size, scheme=scheme) as opened:
        page = opened.page
        ranking(page).first.click()
        control(page, "cut").click()
        page.evaluate("window.scrollTo(0, 0)")
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wide) <= 0
        for place in ("textarea", ".outcome", ".changes", ".controls", ".ranking button"):
            for one in page.locator(place).all():
                found = one.bounding_box()
                assert found and found["x"] >= 0 and found["x"] + found["width"] <= size[0]
        if size[0] >= 1280:
            frame = page.locator(".frame").bounding_box()
            assert frame and frame["y"] + min(frame["height"], 300) <= size[1]
            for place in (".outcome", ".change-answer", ".matters"):
                found = page.locator(place).first.bounding_box()
                assert found and found["y"] + min(found["height"], 100) <= size[1]
