"""How soon the page of a large circuit answers, and how smoothly its drawing moves.

    python benchmarks/viewer_speed.py [quote.html ...] [--chromium /usr/bin/chromium]

Without a page, those of two random circuits, with about 3,000 and 6,000 edges. In a real browser,
which draws without a GPU. `interactive`: seconds from opening the file until the page has been
built and painted. `panning`: frames a second while a drag moves the drawing in every frame, up and
down and across, by the browser's own timings; beside it a blank page in the same run, turn by turn.
Needs `playwright` and a Chromium.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from wirework.viewer import export_page

TURNS = 3

_READY = """() => new Promise((done) => {
  const look = () => {
    if (!document.documentElement.dataset.ready) return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() / 1000)));
  };
  look();
})"""

_FRAMES = """(moving) => new Promise((done) => {
  const frame = document.querySelector(".frame");
  const times = [];
  const places = new Set();
  const send = (type, x, y) => frame.dispatchEvent(new PointerEvent(type, {
    pointerId: 1, clientX: x, clientY: y, bubbles: true, pointerType: "mouse", buttons: 1 }));
  if (moving) {
    frame.setPointerCapture = () => {};
    send("pointerdown", 300, 300);
  }
  const step = (now) => {
    times.push(now);
    const turn = times.length / 20;
    if (moving) send("pointermove", 300 + 150 * Math.sin(turn), 300 + 250 * Math.sin(2.3 * turn));
    if (moving) places.add(document.querySelector(".circuit").style.transform);
    if (times.length <= 90) return requestAnimationFrame(step);
    if (moving) send("pointerup", 300, 300);
    if (moving && places.size < 60) throw new Error(`seen at ${places.size} places only`);
    done(times.slice(1).map((time, index) => time - times[index]));
  };
  requestAnimationFrame(step);
})"""


def measure(browser: Browser, file: Path, *, turns: int = TURNS) -> dict[str, Any]:
    """`interactive`: seconds, the median; `panning`, `blank`: frames a second, from the mean frame
    of all turns; `slowest`: seconds of the slowest frame while panning."""
    opened: list[float] = []
    moved: list[float] = []
    still: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.html"
        blank.write_text("<!DOCTYPE html><title>blank</title>", encoding="utf-8")
        for _ in range(turns):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(file.resolve().as_uri(), wait_until="commit")
            opened.append(float(page.evaluate(_READY)))
            page.evaluate("document.querySelector('.frame').scrollIntoView()")
            _zoom_in(page)
            moved += page.evaluate(_FRAMES, True)
            page.goto(blank.as_uri())
            still += page.evaluate(_FRAMES, False)
            page.close()
    return {
        "interactive": statistics.median(opened),
        "panning": 1000 / statistics.mean(moved),
        "blank": 1000 / statistics.mean(still),
        "slowest": max(moved) / 1000,
    }


def _zoom_in(page: Page) -> None:
    """So far that there is somewhere to go."""
    for _ in range(3):
        page.get_by_role("button", name="zoom in").click()


def random_pages(folder: Path) -> list[Path]:
    """Pages of large random circuits, as the tests draw them, named by their edges."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    draw = import_module("viewer_circuits").random_circuit
    found = []
    for layers in (2, 4):
        circuit = draw(3, size=5, layers=layers)
        found.append(folder / f"{circuit.n_edges}-edges.html")
        export_page(found[-1], circuit, examples=4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path, nargs="*")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--turns", type=int, default=TURNS)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=wanted.chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for page in wanted.page or random_pages(Path(folder)):
            print(json.dumps({"page": page.name, **measure(browser, page, turns=wanted.turns)}))
        browser.close()


if __name__ == "__main__":
    main()
