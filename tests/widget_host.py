"""A page that shows a widget as notebooks do, without a notebook.

It has anywidget's interface of `model` (get, set, save_changes, on, off) over the traits of a
Python object.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Frame, Page

from browser import Visit
from wirework.viewer.widget import CircuitWidget

TRAITS = ("_page", "height", "state")

HOST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>host</title>
<style>* { color: rgb(255, 0, 0) !important; } button { display: none; }</style>
<link rel="icon" href="data:,"><body><div class="cell"></div><div class="cell"></div>
<script type="module">
const { esm, traits } = INPUT;
const heard = new Map();
const send = (name) => (heard.get(`change:${name}`) ?? []).forEach((listener) => listener());
const write = (name, value) => {
  if (traits[name] === value) return;
  traits[name] = value;
  send(name);
};
const changed = new Set();
window.model = {
  get: (name) => traits[name],
  set(name, value) { changed.add(name); write(name, value); },
  save_changes() {
    for (const name of changed) window.saved(name, traits[name]);
    changed.clear();
  },
  on: (name, listener) => heard.set(name, [...(heard.get(name) ?? []), listener]),
  off: (name, listener) => heard.set(name, heard.get(name).filter((one) => one !== listener)),
  receive: write,
  heard,
};
const address = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
const { render } = (await import(address)).default;
window.show = (cell) => render({ model, el: document.querySelectorAll(".cell")[cell] });
window.remove = window.show(0);
document.documentElement.dataset.ready = "true";
</script>"""


@dataclass
class Host:
    visit: Visit
    widget: CircuitWidget

    @property
    def page(self) -> Page:
        return self.visit.page

    def frame(self, cell: int = 0) -> Frame:
        """The circuit's page in a cell, once the circuit runs in it."""
        handle = self.page.wait_for_selector(f".cell:nth-of-type({cell + 1}) iframe")
        found = handle.content_frame() if handle else None
        assert found
        found.wait_for_selector("html[data-engine=ready]", state="attached")
        return found

    def set(self, name: str, value: Any) -> None:
        """Set a trait in Python and send what follows from it to the page, as a kernel does."""
        setattr(self.widget, name, value)
        self.page.evaluate("state => model.receive('state', state)", self.widget.state)

    def until(self, name: str, value: Any) -> None:
        """Wait until a trait has a value in Python."""
        for _ in range(200):
            if getattr(self.widget, name) == value:
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{name} is {getattr(self.widget, name)!r}")


@contextlib.contextmanager
def hosted(browser: Browser, folder: Path, widget: CircuitWidget) -> Iterator[Host]:
    """Show a widget; at the end the page has asked for nothing and complained of nothing."""
    traits = {name: getattr(widget, name) for name in TRAITS}
    given = json.dumps({"esm": str(widget._esm), "traits": traits}).replace("<", "\\u003c")
    file = folder / "host.html"
    file.write_text(HOST.replace("INPUT", given), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.expose_function("saved", lambda name, value: setattr(widget, name, value))
        visit = Visit(page)
        visit.listen()
        page.goto(file.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        yield Host(visit, widget)
        fetched = [url for url in visit.fetched if not url.startswith(("blob:", "about:srcdoc"))]
        assert (fetched, visit.complaints, visit.dialogs) == ([], [], [])
    finally:
        context.close()
