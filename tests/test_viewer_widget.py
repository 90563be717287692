"""The page in a notebook: what is set in Python is seen in it, and the other way round."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Frame, Locator, Page
from traitlets import TraitError

from browser import visit
from viewer_circuits import quote_task, random_circuit
from widget_host import Host, hosted
from wirework.circuit import Circuit, every_node
from wirework.core import WireworkError
from wirework.viewer import export_page
from wirework.viewer.link import LONGEST, pack_link, unpack_link
from wirework.viewer.notebook import show
from wirework.viewer.widget import CircuitWidget

NOTHING: dict[str, Any] = {"nodes": {}, "edges": []}


@pytest.fixture(scope="module")
def circuit() -> Circuit:
    return random_circuit(22, keep=0.32)


@pytest.fixture
def widget(circuit: Circuit) -> CircuitWidget:
    return show(circuit, examples=2)


@pytest.fixture
def host(browser: Browser, tmp_path: Path, widget: CircuitWidget) -> Iterator[Host]:
    with hosted(browser, tmp_path, widget) as found:
        yield found


def parts(widget: CircuitWidget) -> tuple[Any, ...]:
    return widget.prompt, widget.selected, widget.interventions


def mark_of(widget: CircuitWidget) -> str:
    widget.selected = widget.selected or str(every_node(widget.circuit.nodes)[0])
    return widget.state.split(".")[1]


def box(frame: Frame, name: str) -> Locator:
    return frame.locator(f".box[aria-label^='{name},']")


def changes(frame: Frame) -> list[str]:
    return frame.locator(".change-name").all_inner_texts()


def shown_edge(page: Page | Frame) -> str:
    """The edge that the panel is about."""
    assert page.locator(".panel h2").first.inner_text() == "edge"
    ends = page.locator(".ends-of-edge button").all_inner_texts()
    return " -> ".join(ends)


# -- in Python alone


def test_the_state_is_made_of_its_parts(widget: CircuitWidget) -> None:
    circuit = widget.circuit
    heard: list[Any] = []
    node = str(every_node(circuit.nodes)[3])
    edge = str(circuit.edges()[5][0])
    halved = {"nodes": {node: {"kind": "scale", "factor": 0.5}}}
    names = ("selected", "prompt", "interventions")
    widget.observe(heard.append, ["state", *names])
    assert widget.state == "" and parts(widget) == (None, None, NOTHING)
    widget.selected = node
    widget.prompt = "x = 'ü 😀 \ud800"
    widget.interventions = halved
    assert sorted(one["name"] for one in heard) == sorted([*names, *["state"] * 3])
    kept = widget.state
    widget.selected = edge
    widget.prompt = None
    widget.interventions = {"edges": [edge]}
    assert parts(widget) == (None, edge, {"nodes": {}, "edges": [edge]})
    widget.state = kept
    assert parts(widget) == ("x = 'ü 😀 \ud800", node, {**halved, "edges": []})
    widget.prompt, widget.selected, widget.interventions = None, None, NOTHING
    assert widget.state == ""


def test_what_else_is_chosen_stays_as_it_is(widget: CircuitWidget) -> None:
    mark = mark_of(widget)
    widget.state = pack_link({"h": None, "x": 1, "t": 2, "n": 4}, mark)
    widget.interventions = {"nodes": {widget.selected: {"kind": "ablate"}}}
    assert unpack_link(widget.state, mark).items() >= {"h": None, "x": 1, "t": 2, "n": 4}.items()
    widget.prompt = "x"
    assert "t" not in unpack_link(widget.state, mark)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("selected", "0.mlp.neuron:99999", "node-unknown"),
        ("selected", "", "node-unknown"),
        ("selected", "0.mlp.in:0 -> 0.mlp.neuron:99999", "edge-absent"),
        ("prompt", "x" * LONGEST, "link-too-long"),
        ("interventions", {"nodes": {"0.mlp.in:-1": {"kind": "ablate"}}}, "node-unknown"),
        ("interventions", {"nodes": {"NODE": "ablate"}}, "intervention-malformed"),
        *[
            ("interventions", {"nodes": {"NODE": what}}, "intervention-malformed")
            for what in (
                {"kind": "clamp"},
                {"kind": "clamp", "value": True},
                {"kind": "scale", "factor": 1e999},
                {"kind": "ablate", "value": 1},
                {"kind": ["ablate"]},
            )
        ],
        ("interventions", {"nodes": ["NODE"]}, "intervention-malformed"),
        ("interventions", {"edges": "NODE"}, "intervention-malformed"),
        ("interventions", {"edges": ["NODE"]}, "node-unknown"),
        ("interventions", {"node": {}}, "intervention-malformed"),
        ("state", "here", "link-malformed"),
        ("state", "2.MARK.e30", "link-foreign"),
        ("state", "1.00000000.e30", "link-foreign"),
        ("state", "1.MARK.%%%", "link-malformed"),
        ("state", "1.MARK.e30x", "link-malformed"),
        ("state", "1.MARK.W10", "link-malformed"),  # []
        ("state", "1.MARK." + "W1tb" * 20_000, "link-malformed"),  # [[[...
        ("state", "1.MARK.eyJpIjpOYU59", "link-malformed"),  # {"i":NaN}
        ("state", {"n": 1e9}, "link-malformed"),
        ("state", {"n": -1}, "link-malformed"),
        ("state", {"n": True}, "link-malformed"),
        ("state", {"e": 10**6}, "link-malformed"),
        ("state", {"p": 1}, "link-malformed"),
        ("state", {"i": {"nodes": {}, "edges": ["a -> b"]}}, "edge-absent"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_once(
    widget: CircuitWidget, name: str, value: Any, code: str
) -> None:
    mark, before = mark_of(widget), widget.state
    node = str(widget.selected)
    if name == "state":
        value = pack_link(value, mark) if isinstance(value, dict) else value.replace("MARK", mark)
    if name == "interventions" and isinstance(value.get("nodes"), dict):
        value = {"nodes": {key.replace("NODE", node): what for key, what in value["nodes"].items()}}
    with pytest.raises(WireworkError) as raised:
        setattr(widget, name, value)
    assert raised.value.code == code
    assert widget.state == before and widget.prompt is None and widget.interventions == NOTHING


def test_traits_have_types(widget: CircuitWidget) -> None:
    for name, value in (("prompt", 3), ("selected", 3), ("interventions", []), ("height", 20)):
        with pytest.raises(TraitError):
            setattr(widget, name, value)


def test_a_circuit_that_needs_its_model_is_only_looked_at() -> None:
    needy = random_circuit(22, task=quote_task(2), runs_alone=False, ablation="resample")
    widget, node = show(needy, examples=1), str(every_node(needy.nodes)[0])
    widget.selected = node
    nodes = {node: {"kind": "ablate"}}
    for name, value in (("prompt", "x"), ("interventions", {"nodes": nodes})):
        with pytest.raises(WireworkError) as raised:
            setattr(widget, name, value)
        assert raised.value.code == "circuit-needs-model"
    assert widget.selected == node


def test_a_file_is_shown_too(circuit: Circuit, tmp_path: Path) -> None:
    circuit.save(tmp_path / "a.circuit")
    widget = show(str(tmp_path / "a.circuit"), examples=0)
    assert widget.circuit.nodes == circuit.nodes


def test_without_the_library_it_says_what_to_install(circuit: Circuit, tmp_path: Path) -> None:
    """In a process of its own, which also shows that nothing heavy is imported beforehand."""
    circuit.save(tmp_path / "a.circuit")
    program = """
import sys
from wirework.viewer.notebook import show
assert not {"anywidget", "ipywidgets", "torch"} & {*sys.modules}
sys.modules["anywidget"] = None
show(sys.argv[1])
"""
    command = [sys.executable, "-c", program, str(tmp_path / "a.circuit")]
    found = subprocess.run(command, capture_output=True, text=True)
    assert "error[extra-missing]" in found.stderr
    assert "pip install 'wirework[notebook]'" in found.stderr


# -- in a page


def test_a_click_is_known_in_python(host: Host) -> None:
    frame, widget = host.frame(), host.widget
    node = str(every_node(widget.circuit.nodes)[7])
    box(frame, node).dispatch_event("click")
    host.until("selected", node)
    field = frame.locator("textarea").first
    field.fill('x = "own')
    field.press("Enter")
    host.until("prompt", 'x = "own')
    frame.locator(".controls").get_by_role("button", name="cut", exact=True).click()
    host.until("interventions", {"nodes": {node: {"kind": "ablate"}}, "edges": []})


def test_what_python_sets_is_shown(host: Host) -> None:
    frame, widget = host.frame(), host.widget
    node, edge = str(every_node(widget.circuit.nodes)[7]), str(widget.circuit.edges()[2][0])
    host.set("prompt", 'x = "own')
    host.set("interventions", {"nodes": {node: {"kind": "clamp", "value": 1.5}}, "edges": [edge]})
    frame.locator(".change-name").nth(1).wait_for()
    assert changes(frame) == [f"{node} = +1.5", f"cut {edge.replace(' -> ', ' → ')}"]
    assert frame.locator("textarea").first.input_value() == 'x = "own'
    host.set("selected", edge)
    frame.locator(".panel h2").get_by_text("edge", exact=True).wait_for()
    assert shown_edge(frame) == edge
    host.set("state", "")
    frame.locator(".change-name").first.wait_for(state="detached")
    assert parts(widget) == (None, None, NOTHING)


def test_the_state_opens_an_exported_page(
    browser: Browser, widget: CircuitWidget, tmp_path: Path
) -> None:
    node, edge = str(every_node(widget.circuit.nodes)[7]), str(widget.circuit.edges()[2][0])
    widget.prompt, widget.selected = "x = 'ü 😀", edge
    widget.interventions = {"nodes": {node: {"kind": "scale", "factor": -0.1}}}
    export_page(tmp_path / "page.html", widget.circuit)
    with visit(browser, tmp_path / "page.html", fragment=f"#{widget.state}") as found:
        found.page.wait_for_selector("html[data-engine=ready]", state="attached")
        assert found.page.locator(".change-name").all_inner_texts() == [f"{node} × −0.1"]
        assert found.page.locator("textarea").first.input_value() == "x = 'ü 😀"
        assert shown_edge(found.page) == edge


def test_what_the_page_refuses_goes_back(host: Host) -> None:
    frame, widget = host.frame(), host.widget
    mark = mark_of(widget)
    host.set("selected", None)
    host.set("state", pack_link({"x": 999, "p": "lost"}, mark))
    host.until("state", "")
    assert "damaged" in frame.locator(".link-told").inner_text()
    assert widget.prompt is None


def test_of_several_states_the_last_one_stays(host: Host) -> None:
    """Also where the page answers each of them, since it writes links in an order of its own."""
    frame, widget = host.frame(), host.widget
    mark = mark_of(widget)
    texts = [pack_link({"n": n, "p": f"x = {n}"}, mark) for n in range(8)]
    host.page.evaluate(
        "async (texts) => { for (const text of texts) { model.receive('state', text);"
        " await new Promise((done) => setTimeout(done, 15)); } }",
        texts,
    )
    host.until("prompt", "x = 7")
    host.page.wait_for_timeout(500)
    assert widget.prompt == "x = 7"
    assert frame.locator("textarea").first.input_value() == "x = 7"


def test_two_cells_show_the_same(host: Host) -> None:
    host.page.evaluate("void window.show(1)")
    one, two = host.frame(0), host.frame(1)
    nodes = [str(node) for node in every_node(host.widget.circuit.nodes)[:6]]
    for node in nodes:
        box(one, node).dispatch_event("click")
        host.page.wait_for_timeout(60)
    host.until("selected", nodes[-1])
    for frame in (one, two):
        frame.locator(f".panel h2:has-text('{nodes[-1]}')").wait_for()
    host.page.wait_for_timeout(600)
    assert host.widget.selected == nodes[-1]


def test_a_cell_that_is_moved_keeps_its_state(host: Host) -> None:
    node = str(every_node(host.widget.circuit.nodes)[7])
    box(host.frame(), node).dispatch_event("click")
    host.until("selected", node)
    host.page.evaluate(
        "document.querySelectorAll('.cell')[1].append(...document.querySelector('.cell').children)"
    )
    host.frame(1).locator(f".panel h2:has-text('{node}')").wait_for()
    other = str(every_node(host.widget.circuit.nodes)[2])
    box(host.frame(1), other).dispatch_event("click")
    host.until("selected", other)


def test_notebook_and_page_do_not_touch(host: Host) -> None:
    frame, page = host.frame(), host.page
    assert frame.evaluate("origin") == "null"
    for reach in ("parent.document", "parent.model", "localStorage", "document.cookie"):
        with pytest.raises(Error, match=r"Blocked a frame|Access is denied|sandboxed"):
            frame.evaluate(reach)
    assert frame.evaluate("getComputedStyle(document.body).color") != "rgb(255, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "16px"
    assert frame.locator("button:visible").count() > 5
    # Only what is around the page may speak to it.
    frame.evaluate(
        "() => { const { port1, port2 } = new MessageChannel(); window.port = port1;"
        " port1.onmessage = () => { window.spoken = true; };"
        " window.postMessage('wirework', '*', [port2]); }"
    )
    box(frame, str(every_node(host.widget.circuit.nodes)[1])).dispatch_event("click")
    host.until("selected", str(every_node(host.widget.circuit.nodes)[1]))
    assert frame.evaluate("window.spoken") is None


def test_a_cell_that_is_cleared_listens_no_more(host: Host) -> None:
    assert host.page.evaluate("[...model.heard.values()].flat().length") == 2
    host.page.evaluate("async () => { (await window.remove)(); }")
    assert host.page.evaluate("[...model.heard.values()].flat().length") == 0


def test_the_height_is_what_was_asked_for(host: Host) -> None:
    size = host.page.locator("iframe").bounding_box()
    assert size and size["height"] == host.widget.height
    host.page.evaluate("model.receive('height', 400)")
    size = host.page.locator("iframe").bounding_box()
    assert size and size["height"] == 400
