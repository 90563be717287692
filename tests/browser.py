"""Chromium for tests: started quiet and headless, with an account of all that a page does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
)
"""Nothing but the page itself may use the network; containers have no sandbox to offer."""


@contextlib.contextmanager
def start_browser(program: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, headless=True, args=list(QUIET)
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that is open. `requests`: addresses asked for; `complaints`: errors and warnings of
    the page and its console; `dialogs`: what the page popped up."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("dialog", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _asked(self, dialog: Dialog) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    @property
    def fetched(self) -> list[str]:
        """Requests that leave the machine or read other files than the page itself."""
        itself = self.page.url.partition("#")[0]
        return [url for url in self.requests if url.partition("#")[0] not in (itself, "data:,")]


@contextlib.contextmanager
def opened(
    browser: Browser,
    address: str,
    *,
    size: tuple[int, int] = (1280, 800),
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Visit]:
    """Open a page in a context of its own and wait until its script has run."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        found = Visit(page)
        found.listen()
        page.goto(address)
        page.wait_for_selector("html[data-ready]", state="attached")
        yield found
    finally:
        context.close()


@contextlib.contextmanager
def visit(
    browser: Browser,
    file: Path,
    *,
    size: tuple[int, int] = (1280, 800),
    scheme: Literal["light", "dark"] = "light",
    fragment: str = "",
) -> Iterator[Visit]:
    """Open the page of a circuit from its file, at a `#fragment`, and wait until it runs."""
    address = file.resolve().as_uri() + fragment
    with opened(browser, address, size=size, scheme=scheme) as found:
        if found.page.locator(".prompts").count():
            # A page of one circuit is drawn before the circuit can run in it.
            found.page.wait_for_selector("html[data-engine]", state="attached")
        # The drawing is laid out when the browser has told its width.
        found.page.wait_for_selector("svg.circuit[width]")
        yield found
