"""A reader's hands on the page of a circuit, and what the Python engine says to the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Browser, Locator, Page

from browser import Visit, visit
from wirework.circuit import Circuit, without_edges, without_node
from wirework.core import Edge, Node
from wirework.data import Tokenizer
from wirework.engine import Network, forward
from wirework.viewer.content import page_content

STATE = "document.getElementById('page').state"


@contextlib.contextmanager
def running(browser: Browser, file: Path, **options: Any) -> Iterator[Visit]:
    """A visit to a page whose circuit runs; at its end the page has done nothing else."""
    with visit(browser, file, **options) as found:
        assert found.page.locator("html[data-engine=ready]").count() == 1
        yield found
        assert (found.fetched, found.complaints, found.dialogs) == ([], [], [])


def until(page: Page, condition: str) -> None:
    """Wait for something that the page does after a while; its policy forbids it to be asked in
    the page."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came: {condition}")


def write(page: Page, text: str, side: int = 0) -> None:
    """Type a prompt and wait until the page has run it."""
    field = page.locator("textarea").nth(side)
    field.fill(text)
    field.press("Enter")
    assert read(page, f"side({side}).text") == text


def read(page: Page, path: str) -> Any:
    """Something of the page's state, with numbers as the page holds them."""
    return page.evaluate(
        f"JSON.parse(JSON.stringify({STATE}.{path},"
        " (_, v) => ArrayBuffer.isView(v) ? Array.from(v) : v) ?? 'null')"
    )


def ranking(page: Page) -> Locator:
    """The items of what matters, once every part was tried."""
    page.wait_for_selector(".ranking[aria-busy=false]")
    page.wait_for_timeout(150)
    page.wait_for_selector(".ranking[aria-busy=false]")
    return page.locator(".ranking button")


def choose_node(page: Page, name: str) -> None:
    page.locator(f".box[aria-label^='{name},']").dispatch_event("click")
    assert page.locator(".panel h2").first.inner_text() == name


def control(page: Page, name: str) -> Locator:
    return page.locator(".controls").get_by_role("button", name=name, exact=True)


def outcome(page: Page, side: int = 0) -> str:
    return page.locator(".outcome").nth(side).locator(".answer-given b").inner_text()


@dataclass
class Reference:
    """The Python engine on the same circuit. `sets`: answer set -> columns of the logits."""

    circuit: Circuit
    sets: Mapping[str, list[int]]

    @classmethod
    def of(cls, circuit: Circuit) -> Reference:
        return cls(circuit, page_content(circuit, examples=0)["program"]["answers"])

    def margins(
        self,
        text: str,
        wants: str,
        against: str,
        *,
        nodes: Mapping[str, Mapping[str, Any]] | None = None,
        edges: Iterable[str] = (),
    ) -> NDArray[np.float64]:
        """Calibrated, seen from the prompt's side, under interventions; (T)."""
        cut = [Edge.parse(edge) for edge in edges]
        network: Network = without_edges(self.circuit.network, cut)
        changes: dict[Any, Any] = {}
        for name, what in (nodes or {}).items():
            node = Node.parse(name)
            if what["kind"] == "ablate":
                network = without_node(network, node)
            else:
                changes[node.site] = change(node.index, what)
        ids = np.array([Tokenizer.from_json(self.circuit.tokenizer).encode(text)])
        logits = forward(network, ids, dtype=np.float64, replace=changes).logits[0]
        wanted, other = (
            np.logaddexp.reduce(logits[:, self.sets[one]], axis=1) for one in (wants, against)
        )
        scale = self.circuit.calibration
        found: NDArray[np.float64] = scale.scale * (wanted - other) + scale.shift
        return found


def change(index: int, what: Mapping[str, Any]) -> Any:
    def changed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = x.copy()
        y[..., index] = what["value"] if what["kind"] == "clamp" else y[..., index] * what["factor"]
        return y

    return changed
