"""The drawing in a real browser: moved, filtered, searched; by pointer and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from browser import Visit, visit
from drawn_page import colour_at, drawn_content, lines, lonely_edge, middle_of, place
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


def test_every_line_is_drawn_in_its_colour(page: Page, content: dict[str, Any]) -> None:
    drawing = content["drawing"]
    kinds = [line["kind"] for line in (*drawing["edges"], *drawing["links"])]
    assert lines(page) >= kinds.count("edge") + kinds.count("steer") + kinds.count("unembedding")
    page.get_by_label("width:").select_option("weight")
    page.wait_for_timeout(100)
    _, edge = lonely_edge(content)
    red, _, blue, opacity = colour_at(page, *middle_of(page, content, edge))
    assert opacity > 60 and blue > red + 60, "positive weights are blue"


def test_the_wheel_zooms_at_the_pointer_and_a_drag_moves(page: Page) -> None:
    page.wait_for_timeout(300)
    item = page.locator(".box.node").nth(8)
    x, y, width = place(item)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    page.wait_for_timeout(50)
    assert place(item)[2] > width * 1.2
    assert place(item)[:2] == pytest.approx((x, y), abs=4)
    frame = page.locator(".frame").bounding_box()
    assert frame
    start = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] - 20
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] - 30, start[1] - 20, steps=4)
    page.mouse.up()
    assert place(item)[0] == pytest.approx(x - 30, abs=5)
    assert page.locator(".box[aria-pressed=true]").count() == 0, "a drag chooses nothing"
    assert page.locator(".minimap").is_visible()
    page.get_by_role("button", name="fit the whole drawing").click()
    assert page.locator(".minimap").is_hidden()
    page.wait_for_timeout(200)
    for one in page.locator(".box rect").all()[::5]:
        rect = one.bounding_box()
        assert rect and frame["x"] - 1 <= rect["x"] <= frame["x"] + frame["width"]


def test_the_minimap_moves_the_view(page: Page) -> None:
    for _ in range(5):
        page.get_by_role("button", name="zoom in").click()
    small = page.locator(".minimap canvas").bounding_box()
    assert small
    item = page.locator(".box.node").first
    page.mouse.click(small["x"] + 3, small["y"] + 3)
    left = place(item)[0]
    page.mouse.click(small["x"] + small["width"] - 3, small["y"] + 3)
    assert place(item)[0] < left - 200


OVER_THE_DRAWING = """() => {
  const rect = (item) => item.getBoundingClientRect();
  const apart = (a, b) =>
    a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  const map = rect(document.querySelector(".minimap"));
  const frame = rect(document.querySelector(".frame"));
  const inFrame = (r) => new DOMRect(
    Math.max(r.left, frame.left), Math.max(r.top, frame.top),
    Math.max(0, Math.min(r.right, frame.right) - Math.max(r.left, frame.left)),
    Math.max(0, Math.min(r.bottom, frame.bottom) - Math.max(r.top, frame.top)));
  const boxes = [...document.querySelectorAll(".box rect")].map(rect).map(inFrame);
  const seen = boxes.filter((one) => one.width && one.height);
  const rows = [...document.querySelectorAll(".steps > *, .legend > *, .as-table summary")];
  const covered = [...seen, ...rows.map(rect)].filter((one) => !apart(one, map));
  return [seen.length, covered.length, map.width];
}"""


def test_the_minimap_covers_nothing(page: Page) -> None:
    for size in ((1280, 800), (1920, 1080), (390, 844)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_timeout(60)
        page.get_by_role("button", name="fit the whole drawing").click()
        for _ in range(5):
            page.get_by_role("button", name="zoom in").click()
        place = page.locator(".minimap canvas").bounding_box()
        assert place and place["x"] >= 0 and place["x"] + place["width"] <= size[0]
        total = 0
        for x, y in ((0.9, 0.95), (0.5, 0.7), (0.1, 0.95), (0.9, 0.2)):
            page.locator(".minimap").click(
                position={"x": x * place["width"], "y": y * place["height"]}
            )
            seen, covered, width = page.evaluate(OVER_THE_DRAWING)
            total += seen
            assert covered == 0 and width > 30
        assert total > 8


def test_two_fingers_zoom(page: Page) -> None:
    item = page.locator(".box.node").nth(8)
    before = place(item)[2]
    page.evaluate(
        """() => {
          const frame = document.querySelector(".frame");
          const { left, top } = frame.getBoundingClientRect();
          frame.setPointerCapture = () => {};
          const send = (type, pointerId, x) => frame.dispatchEvent(new PointerEvent(type, {
            pointerId, pointerType: "touch", bubbles: true,
            clientX: left + x, clientY: top + 200 }));
          send("pointerdown", 1, 200);
          send("pointerdown", 2, 260);
          for (let x = 260; x <= 320; x += 10) send("pointermove", 2, x);
          send("pointerup", 1, 200);
          send("pointerup", 2, 320);
        }"""
    )
    assert place(item)[2] == pytest.approx(2 * before, rel=0.1)


def test_search_finds_names_labels_and_answers(page: Page, circuit: Circuit) -> None:
    neurons = nodes_at(circuit, "mlp.neuron")
    field = page.get_by_role("searchbox")
    for text, expected in (
        ("MLP.neuron", len(neurons)),
        ("double string", 1),
        ("answer single", 1),
    ):
        field.fill(text)
        assert page.locator(".box.found").count() == expected
        assert page.locator(".found-count").inner_text() == f"{expected} found"
    field.fill("0.mlp.neuron")
    field.press("Enter")
    first = page.locator(".panel h2").inner_text()
    field.press("Enter")
    second = page.locator(".panel h2").inner_text()
    assert first != second and {first, second} <= set(neurons)
    field.press("Shift+Enter")
    assert page.locator(".panel h2").inner_text() == first
    field.press("Escape")
    assert page.locator(".box.found").count() == 0 and field.input_value() == ""


def test_the_filter_counts_what_it_leaves(page: Page, content: dict[str, Any]) -> None:
    all_lines = lines(page)
    slider = page.get_by_role("slider", name="leave out what is weak")
    slider.fill("50")
    share = 10 ** (3 * (50 - 60) / 60)
    effects = [abs(effect[0]) for effect in content["evidence"]["edges"]]
    kept = [index for index, one in enumerate(effects) if one >= share * max(effects)]
    nodes = content["drawing"]["nodes"]
    measured = content["evidence"]["nodes"]
    strong = {i for i, node in enumerate(nodes) if node["name"] in measured}
    ends = {
        content["drawing"]["edges"][index][end] for index in kept for end in ("source", "target")
    }
    stay = strong | {end for end in ends if end < len(nodes)}
    counts = f"{len(kept)} of {len(effects)} edges, {len(stay)} of {len(nodes)} nodes"
    assert 0 < len(kept) < len(effects)
    assert page.locator(".filter-count").inner_text().endswith(counts)
    assert page.locator(".box.weak").count() == len(nodes) - len(stay) > 0
    assert lines(page) == all_lines
    page.get_by_label("hide the rest").check()
    assert page.locator(".box.node:visible").count() == len(stay)
    assert len(kept) <= lines(page) < all_lines
    slider.fill("0")
    assert page.locator(".box.node:visible").count() == len(nodes) and lines(page) == all_lines


def test_widths_stand_for_what_one_asks(page: Page) -> None:
    picture = "document.querySelector('.lines-below').toDataURL()"
    seen = []
    for width in ("value", "effect", "weight"):
        page.get_by_label("width:").select_option(width)
        page.wait_for_timeout(150)
        seen.append(page.evaluate(picture))
    assert len(set(seen)) == 3


def test_kinds_of_line_can_be_hidden(page: Page, content: dict[str, Any]) -> None:
    before = lines(page)
    steers = sum(link["kind"] == "steer" for link in content["drawing"]["links"])
    button = page.locator(".legend").get_by_role("button", name="attention")
    button.click()
    assert lines(page) == before - steers < before
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert lines(page) == before


def test_the_keyboard_is_enough(page: Page) -> None:
    assert page.locator(".box[tabindex='0']").count() == 1, "one stop of the Tab key"
    page.get_by_role("button", name="fit the whole drawing").focus()
    page.keyboard.press("Tab")
    focused = page.locator(".box:focus")
    assert focused.count() == 1 and page.locator(".tip").is_visible()
    first = focused.get_attribute("aria-label") or ""
    page.keyboard.press("ArrowRight")
    assert focused.get_attribute("aria-label") != first
    page.keyboard.press("Enter")
    name = (focused.get_attribute("aria-label") or "").partition(",")[0]
    assert page.locator(".panel h2").inner_text() == name
    width = place(focused)[2]
    page.keyboard.press("+")
    assert place(focused)[2] > width
    x = place(focused)[0]
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("0")
    assert page.locator(".minimap").is_hidden() and place(focused)[0] == pytest.approx(x, abs=400)
    page.keyboard.press("End")
    assert (focused.get_attribute("aria-label") or "").startswith("answer")
    page.keyboard.press("Home")
    page.keyboard.press("Escape")
    assert page.locator(".box[aria-pressed=true]").count() == 0


def test_the_tab_key_finds_a_box_where_the_first_is_hidden(page: Page) -> None:
    page.get_by_role("slider", name="leave out what is weak").fill("59")
    page.get_by_label("hide the rest").check()
    assert page.locator(".box[tabindex='0']:visible").count() == 1


def test_print_shows_the_whole_drawing(page: Page) -> None:
    for _ in range(4):
        page.get_by_role("button", name="zoom in").click()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    frame = page.locator(".frame").bounding_box()
    assert frame and frame["width"] == 660
    assert page.locator(".tools").is_hidden() and page.locator(".minimap").is_hidden()
    for one in page.locator(".box rect").all()[::4]:
        rect = one.bounding_box()
        assert rect and frame["x"] - 1 <= rect["x"] <= frame["x"] + 660 - rect["width"] + 1
        assert frame["y"] - 1 <= rect["y"] <= frame["y"] + frame["height"]
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator(".tools").is_visible()
