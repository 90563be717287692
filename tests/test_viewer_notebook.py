"""The example notebook in a real JupyterLab: its cells are run, its page is clicked."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Browser, Frame, Page

from browser import Visit
from jupyter_server import Jupyter, start_jupyter
from source_tree import ROOT

NOTEBOOK = ROOT / "examples" / "circuit_in_a_notebook.ipynb"
PATIENCE_MS = 60_000


def test_the_example_is_clean() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) > 3
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    (tmp_path / "notebooks").mkdir()
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    last = {**notebook["cells"][-1], "id": "kernel", "source": "import os\nprint(os.getpid())"}
    notebook["cells"].append(last)
    text = json.dumps(notebook)
    (tmp_path / "notebooks" / NOTEBOOK.name).write_text(text, encoding="utf-8")
    with start_jupyter(tmp_path) as found:
        yield found


@dataclass(frozen=True)
class Lab:
    """A notebook that is open in JupyterLab."""

    page: Page

    def run(self, index: int) -> str:
        """Run a code cell and give what it printed."""
        cell = self.page.locator(".jp-CodeCell").nth(index)
        editor = cell.locator(".cm-content")
        # A notebook that is still being laid out loses clicks.
        while not cell.and_(self.page.locator(".jp-mod-active")).count():
            editor.click()
            self.page.wait_for_timeout(300)
        editor.press("Shift+Enter")
        cell.get_by_text(f"[{index + 1}]:").first.wait_for()
        assert cell.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        return "\n".join(cell.locator(".jp-OutputArea-output pre").all_inner_texts())

    def frame(self) -> Frame:
        """The circuit's page, once the circuit runs in it."""
        handle = self.page.wait_for_selector(".jp-OutputArea iframe", state="attached")
        assert handle
        handle.scroll_into_view_if_needed()
        found = handle.content_frame()
        assert found
        found.wait_for_selector("html[data-engine=ready]", state="attached")
        return found


@contextlib.contextmanager
def open_lab(browser: Browser, jupyter: Jupyter) -> Iterator[Lab]:
    """The example, its kernel started; in the end nothing but the server was asked."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    visit = Visit(page)
    visit.listen()
    page.on("websocket", lambda socket: visit.requests.append(socket.url))
    page.goto(jupyter.lab(NOTEBOOK.name))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    yield Lab(page)
    own = (jupyter.address, jupyter.address.replace("http:", "ws:"), "about:srcdoc", "data:")
    foreign = [url for url in visit.requests if not url.removeprefix("blob:").startswith(own)]
    assert (foreign, visit.complaints, visit.dialogs) == ([], [], [])


@pytest.mark.long
def test_a_notebook_shows_the_page_and_hears_it(browser: Browser, jupyter: Jupyter) -> None:
    with open_lab(browser, jupyter) as lab:
        assert "task_loss" in lab.run(0)
        lab.run(1)
        frame = lab.frame()
        assert frame.locator(".box.node").count() == 23
        assert frame.evaluate("origin") == "null"
        frame.locator(".box[aria-label^='1.mlp.neuron:511,']").click()
        frame.locator(".controls").get_by_role("button", name="cut", exact=True).click()
        # The page writes its state a fifth of a second after the last change.
        frame.wait_for_timeout(1000)
        printed = lab.run(2)
        assert "1.mlp.neuron:511" in printed.splitlines()[0]
        assert "{'1.mlp.neuron:511': {'kind': 'ablate'}}" in printed
        lab.run(3)
        frame = lab.frame()
        frame.locator(".change-name", has_text="cut 0.attn.v:8").wait_for()
        assert frame.locator(".change-name").count() == 1
        assert frame.locator(".panel h2").first.inner_text() == "0.attn.v:8"
        assert frame.locator("textarea").first.input_value() == "for item in items:\n"
        link = lab.run(4).strip().partition("#")[2]
        assert link == lab.frame().evaluate("location.hash.slice(1)")
        # Far away, the notebook may take the cell out of the page; it comes back as it was.
        kernel = int(lab.run(5))
        again = lab.frame().locator(".change-name", has_text="cut 0.attn.v:8")
        again.wait_for()
        os.kill(kernel, 0)
    jupyter.call("api/shutdown", "POST")
    until_gone(kernel)


def until_gone(process: int) -> None:
    for _ in range(300):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError(f"process {process} still runs")
