"""All circuits of a folder on one page: what is found, what is told of it, what is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import opened
from hosted_pages import LOOKS, serious, sideways
from viewer_circuits import quote_task, random_circuit
from wirework.circuit import every_node
from wirework.core import Measure, Report, WireworkError
from wirework.core.files import write_json
from wirework.viewer import beside, gallery, show
from wirework.viewer.gallery import Gallery, export_gallery, find_circuits
from wirework.viewer.size_curve import size_curve

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four circuits of two tasks and two models, one of them validated, and two bad files."""
    root = tmp_path_factory.mktemp("runs") / "quotes & more"
    task = quote_task(2)
    other = replace(task, name=f"brackets {HOSTILE}")
    circuits = {
        "a/seed 0.circuit": random_circuit(22, keep=0.3, task=task, recipe={"seed": 0}),
        "a/seed-1.circuit": random_circuit(22, keep=0.4, task=task, recipe={"seed": 1}),
        "b/one.circuit": random_circuit(22, keep=0.5, task=other),
        "other.circuit": random_circuit(5, keep=0.3, task=task, model_hash="1" * 64),
    }
    for name, circuit in circuits.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        circuit.save(root / name)
    measures = {
        "faithfulness": Measure(0.8, better="higher", bar=0.9),
        "task_accuracy": Measure(0.99, better="higher", bar=0.97),
    }
    Report("validation", measures, "partly").save(root / "b" / "report.json")
    (root / "a" / "seed 0.json").write_text('{"kind": "sweep"}')
    (root / f"bad{HOSTILE.replace('/', '')}.circuit").write_text("no circuit")
    (root / "a" / "cut.circuit").write_bytes((root / "a/seed-1.circuit").read_bytes()[:3000])
    return root


@pytest.fixture(scope="module")
def found(folder: Path) -> Gallery:
    return find_circuits(folder)


def content_of(page: str) -> dict[str, Any]:
    match = re.search(r'id="content">(.*?)</script>', page, re.S)
    assert match
    content: dict[str, Any] = json.loads(match[1])
    return content


def test_circuits_at_any_depth_are_found_and_damaged_files_named(found: Gallery) -> None:
    files = [entry.file for entry in found.entries]
    assert files == ["a/seed 0.circuit", "a/seed-1.circuit", "b/one.circuit", "other.circuit"]
    codes = {file: fault.rpartition("(")[2] for file, fault in found.damaged}
    assert codes == {
        f"bad{HOSTILE}.circuit": "circuit-foreign)", "a/cut.circuit": "circuit-damaged)"
    }  # fmt: skip
    assert not any(str(found.folder) in fault for _, fault in found.damaged)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", entry.name) for entry in found.entries)
    assert len({entry.name for entry in found.entries}) == 4


def test_what_is_told_is_what_the_files_hold(found: Gallery) -> None:
    shown = {
        one["file"]: one for one in content_of(found.page(lambda entry: entry.name))["circuits"]
    }
    for entry in found.entries:
        circuit = beside.load_circuit(found.folder / entry.file)
        one = shown[entry.file]
        assert (one["nodes"], one["edges"]) == (circuit.n_nodes, circuit.n_edges)
        assert one["task"] == circuit.task["name"] and one["loss"] == 0.1234
        drawing = one["drawing"]
        assert len(drawing["points"]) == circuit.n_nodes + drawing["answers"]
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in drawing["points"])
    assert [one["verdict"] for one in shown.values()] == [None, None, "partly", None]
    assert shown["b/one.circuit"]["missed"] == ["faithfulness"]
    assert [one["seed"] for one in shown.values()][:2] == ["0", "1"]


def test_the_map_counts_who_holds_a_node(found: Gallery) -> None:
    (map_,) = content_of(found.page(lambda entry: ""))["maps"]
    entries = [entry for entry in found.entries if entry.file != "other.circuit"]
    assert map_["circuits"] == 3 and len(map_["tasks"]) == 2
    held = {node: sum(node in entry.nodes for entry in entries) for node in map_["nodes"]}
    assert min(held.values()) == 2 and map_["shared"] == len(held)
    for column, node in enumerate(map_["nodes"]):
        assert sum(row["counts"][column] for row in map_["tasks"]) == held[node]


def test_the_page_of_a_circuit_tells_in_which_others_its_nodes_are(found: Gallery) -> None:
    first, second = found.entries[:2]
    content = content_of(found.circuit_page(first, examples=1))
    circuit = beside.load_circuit(found.folder / first.file)
    for node in every_node(circuit.nodes):
        expected = [second.file] if str(node) in second.nodes else []
        assert content["seen_in"][str(node)] == expected


def test_a_ranking_at_hand_gives_the_curve_of_sizes(tmp_path: Path) -> None:
    """In a gallery and in a notebook; elsewhere the nodes are ranked first, which takes minutes."""
    circuit = random_circuit(22, keep=0.3, task=quote_task(2))
    circuit.save(tmp_path / "a.circuit")
    found = find_circuits(tmp_path)
    assert content_of(found.circuit_page(found.entries[0], examples=1))["sizes"] is None
    effects = {str(node): 0.5 * at for at, node in enumerate(every_node(circuit.nodes))}
    ranked = {name: {"effect": effect} for name, effect in effects.items()}
    evidence = {"version": 4, "nodes": ranked}
    write_json(tmp_path / "a.evidence.json", evidence)
    widget = show(circuit, evidence=evidence, examples=1)
    for page in (found.circuit_page(found.entries[0], examples=1), widget._page):
        assert content_of(page)["sizes"] == size_curve(circuit, effects)


def test_nothing_to_show_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WireworkError) as caught:
        find_circuits(tmp_path)
    assert caught.value.code == "gallery-empty"
    circuit = random_circuit(22, keep=0.2, task=quote_task(1))
    circuit.save(tmp_path / "a.circuit")
    monkeypatch.setattr(gallery, "MOST_CIRCUITS", 0)
    with pytest.raises(WireworkError) as caught:
        find_circuits(tmp_path)
    assert caught.value.code == "gallery-too-large"
    monkeypatch.undo()
    monkeypatch.setattr(beside, "MOST_BYTES", 100)
    found = find_circuits(tmp_path)
    assert found.entries == () and "circuit-too-large" in found.damaged[0][1]


def test_links_that_lead_out_of_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.circuit").symlink_to(folder / "other.circuit")
    found = find_circuits(inside)
    assert found.entries == () and "gallery-outside" in found.damaged[0][1]


# -- in a browser


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "my gallery.html"
    export_gallery(folder, out, examples=1)
    return out


def test_the_export_holds_a_page_for_each_circuit_that_its_link_opens(
    browser: Browser, file: Path
) -> None:
    assert len(list((file.parent / "my gallery-pages").iterdir())) == 4
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        assert page.locator(".circuit-card").count() == 4
        assert "2 files could not be read" in page.locator(".damaged").inner_text()
        assert page.locator("img").count() == 0 and visit.dialogs == []
        assert visit.fetched == [] and visit.complaints == []
        page.get_by_role("link", name="brackets").click()
        page.wait_for_selector("svg.circuit")
        assert HOSTILE in page.locator("h1").inner_text()
        assert visit.complaints == []


def test_cards_can_be_sorted_and_chosen_by_task(browser: Browser, file: Path) -> None:
    with opened(browser, file.as_uri()) as visit:
        page = visit.page
        edges = "all => all.map(one => Number(one.textContent.replace(',', '')))"
        values = page.locator(".card-figures div:nth-child(2) dd")
        page.get_by_label("sort by").select_option("edges")
        rising = values.evaluate_all(edges)
        assert rising == sorted(rising) and len(set(rising)) > 1
        page.get_by_role("button", name="falling").click()
        assert values.evaluate_all(edges) == rising[::-1]
        page.get_by_label("sort by").select_option("verdict")
        page.get_by_role("button", name="falling").click()
        assert "partly" in page.locator(".circuit-card").first.inner_text()
        page.get_by_label("show").select_option("python/single_double_quote")
        assert page.locator(".circuit-card").count() == 3


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_fits_and_axe_finds_nothing_serious(
    browser: Browser, file: Path, size: tuple[int, int], scheme: Any
) -> None:
    with opened(browser, file.as_uri(), size=size, scheme=scheme) as visit:
        assert sideways(visit.page) <= 0
        visit.page.locator(".node-map summary").click()
        assert serious(visit.page) == []
