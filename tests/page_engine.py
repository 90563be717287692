"""The page's engine in a real browser: its modules, served to Chromium out of their folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route

from wirework.viewer import page as viewer_page

FOLDER = Path(viewer_page.__file__).with_name("page")
ADDRESS = "http://modules.test"
KINDS = {".js": "text/javascript"}


def open_modules(browser: Browser) -> Page:
    """An empty page that can import the modules; nothing leaves the machine."""
    page = browser.new_page()
    page.route(f"{ADDRESS}/**", _serve)
    page.goto(f"{ADDRESS}/")
    return page


def _serve(route: Route) -> None:
    name = route.request.url.removeprefix(f"{ADDRESS}/")
    if not name:
        route.fulfill(body="<!DOCTYPE html><title>modules</title>", content_type="text/html")
    else:
        route.fulfill(path=FOLDER / name, content_type=KINDS[Path(name).suffix])


def start_engine(page: Page, program: Mapping[str, Any]) -> None:
    """Make `engine` of a program, a global of the page."""
    page.evaluate(
        "async (program) => {"
        " const { createEngine } = await import('/engine.js');"
        " globalThis.engine = await createEngine(program); }",
        program,
    )


RUN = """([ids, interventions, heads, sets]) => {
  const run = engine.run(Int32Array.from(ids), interventions);
  return {
    nodes: engine.nodes.map((_, i) => Array.from(run.node(i))),
    logits: ids.map((_, t) => Array.from(run.logits(t))),
    attention: heads.map(([layer, head]) => Array.from(run.attention(layer, head))),
    margins: sets.map(([wants, against, side]) => Array.from(run.margin(wants, against, side))),
  };
}"""


def run_engine(
    page: Page,
    ids: list[int],
    interventions: Mapping[str, Any] | None = None,
    *,
    heads: list[tuple[int, int]] | None = None,
    sets: list[tuple[str, str, int]] | None = None,
) -> dict[str, Any]:
    """One run: `nodes` (node, T), `logits` (T, O), `attention` (head, T * T), `margins`."""
    found: dict[str, Any] = page.evaluate(RUN, [ids, interventions or {}, heads or [], sets or []])
    return found
