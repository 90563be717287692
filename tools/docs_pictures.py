"""Take the pictures of the page that the docs show, of what `make demo` left in runs/demo.

Those of a gallery and a comparison are of pages (`wirework view ... --export`) that are named.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from find_chromium import MISSING, find_chromium


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"))
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--compare", type=Path)
    wanted = parser.parse_args()
    program = find_chromium()
    if program is None:
        sys.exit(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 960}, color_scheme="light")
        page.goto((wanted.demo / "quote.html").resolve().as_uri())
        page.wait_for_selector(".ranking[aria-busy=false]")
        page.wait_for_timeout(500)
        page.screenshot(path=wanted.out / "page.png")
        _cut_what_matters_most(page)
        page.screenshot(path=wanted.out / "cut.png")
        page.locator("section.report").screenshot(path=wanted.out / "report.png")
        for name, file in (("gallery", wanted.gallery), ("compare", wanted.compare)):
            if file is not None:
                page.goto(file.resolve().as_uri())
                page.wait_for_selector("html[data-ready]", state="attached")
                page.wait_for_timeout(500)
                page.screenshot(path=wanted.out / f"{name}.png")
        browser.close()
    for path in wanted.out.glob("*.png"):
        # A third of the bytes.
        Image.open(path).quantize(128).save(path, optimize=True)


def _cut_what_matters_most(page: Page) -> None:
    page.locator(".ranking button").first.click()
    page.locator(".controls").get_by_role("button", name="cut", exact=True).click()
    page.wait_for_selector(".ranking[aria-busy=false]")
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(500)


if __name__ == "__main__":
    main()
