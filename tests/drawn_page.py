"""A page with a drawing to look at, and where things stand in it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page

from viewer_circuits import nodes_at
from wirework.circuit import Circuit
from wirework.viewer.content import page_content


def drawn_content(circuit: Circuit) -> dict[str, Any]:
    """A page with effects, one label that holds, one that does not, and a group."""
    neurons = nodes_at(circuit, "mlp.neuron")
    example = {"tokens": ["def", " f", "("], "values": [0.0, 2.0, -1.0], "position": 1}
    nodes = {name: {"effect": -0.5, "top": [example], "random": [example]} for name in neurons}
    evidence = {
        "version": 4,
        "nodes": nodes,
        "edges": [
            {"edge": str(edge), "weight": weight, "loss": 0.01 * index, "margin": -0.1 * index}
            for index, (edge, weight) in enumerate(circuit.edges())
        ],
        "labels": {
            neurons[0]: label("in a double string", 0.93),
            neurons[1]: label("a digit", 0.31, "F1 0.31, from 0.20: chance is 0.30"),
        },
    }
    found = page_content(circuit, evidence=evidence, examples=3)
    names = [node["name"] for node in found["drawing"]["nodes"]]
    members = sorted(names.index(name) for name in neurons[:3])
    group = {"members": members, "why": "same label", "unity": 0.961, "tokens": 321}
    return {**found, "groups": [group], "seen_in": {neurons[0]: ["seed 1", "seed 2"]}}


def label(text: str, f1: float, unexplained: str = "") -> dict[str, Any]:
    names = ("threshold", "train_mcc", "mcc", "mcc_low", "mcc_high", "low", "high",
             "precision", "recall", "base_rate", "chance_f1")  # fmt: skip
    score = {
        **dict.fromkeys(names, 0.25),
        "terms": [{"feature": text, "negated": False}], "direction": "on", "f1": f1, "tokens": 90,
    }  # fmt: skip
    share = {"value": 0.6, "low": 0.4, "high": 0.7, "control": 0.02, "reason": ""}
    return {"single": score, "control": {**score, "f1": 0.21}, "pair": None, "pair_control": None,
            "share": share, "label": text, "unexplained": unexplained}  # fmt: skip


def box(page: Page, name: str) -> Locator:
    return page.locator(f".box[aria-label^='{name},']")


def lines(page: Page) -> int:
    page.wait_for_timeout(60)
    return int(page.locator(".lines-below").get_attribute("data-lines") or "-1")


def lit(page: Page) -> int:
    return int(page.locator(".lines-above").get_attribute("data-lines") or "-1")


def middle_of(page: Page, content: dict[str, Any], edge: dict[str, Any]) -> tuple[float, float]:
    """Where on the screen the line of an edge between neighbouring columns is half-way."""
    assert len(edge["route"]) == 2
    boxes = page.locator(".box")
    source, target = (boxes.nth(edge[end]).locator("rect").first for end in ("source", "target"))
    a, b = source.bounding_box(), target.bounding_box()
    assert a and b
    return (a["x"] + a["width"] + b["x"]) / 2, (
        2 * a["y"] + a["height"] + 2 * b["y"] + b["height"]
    ) / 4


def lonely_edge(content: dict[str, Any], sign: int = 1) -> tuple[int, dict[str, Any]]:
    """An edge between neighbouring columns whose middle no other line comes near."""
    drawing = content["drawing"]
    steps = [
        (line, a, b)
        for line in (*drawing["edges"], *drawing["links"])
        for a, b in zip(line["route"], line["route"][1:], strict=False)
    ]
    heights = [(line, points_middle(drawing, a, b)) for line, a, b in steps]
    for index, edge in enumerate(drawing["edges"]):
        if len(edge["route"]) != 2 or edge["weight"] * sign < 0:
            continue
        column, y = points_middle(drawing, *edge["route"])
        others = [abs(at - y) for line, (c, at) in heights if c == column and line is not edge]
        if min(others, default=99) > 14:
            return index, edge
    raise AssertionError("no edge stands alone")


def points_middle(drawing: dict[str, Any], a: int, b: int) -> tuple[int, float]:
    (column, top), (_, bottom) = drawing["points"][a], drawing["points"][b]
    return column, (top + bottom) / 2


def colour_at(page: Page, x: float, y: float) -> list[int]:
    """Red, green, blue and opacity of the canvas of lines at a point of the screen."""
    found: list[int] = page.evaluate(
        """([x, y]) => {
          const canvas = document.querySelector(".lines-below");
          const rect = canvas.getBoundingClientRect();
          const scale = canvas.width / rect.width;
          const at = [(x - rect.left) * scale, (y - rect.top) * scale];
          const all = canvas.getContext("2d").getImageData(at[0] - 1, at[1] - 2, 3, 5).data;
          let best = [0, 0, 0, 0];
          for (let i = 0; i < all.length; i += 4) {
            if (all[i + 3] > best[3]) best = [...all.slice(i, i + 4)];
          }
          return best;
        }""",
        [x, y],
    )
    return found


def place(item: Locator) -> tuple[float, float, float]:
    found = item.locator("rect").first.bounding_box()
    assert found
    return found["x"] + found["width"] / 2, found["y"] + found["height"] / 2, found["width"]
