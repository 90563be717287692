"""Pages at any address, opened in Chromium, and what axe-core has to say about them."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Page

LOOKS = [
    ((1280, 800), "light"),
    ((390, 844), "dark"),
    *(
        pytest.param(size, scheme, marks=pytest.mark.long)
        for size, scheme in [
            ((1280, 800), "dark"),
            ((1920, 1080), "light"),
            ((1920, 1080), "dark"),
            ((390, 844), "light"),
        ]
    ),
]
"""Sizes and colour schemes: a wide and a narrow page at once, the rest in the long tests."""


def serious(page: Page) -> list[str]:
    """Rules that axe-core finds broken seriously, with the first place of each."""
    page.evaluate((resources.files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8"))
    result: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{found['id']}: {found['nodes'][0]['html'][:160]}"
        for found in result["violations"]
        if found["impact"] in ("serious", "critical")
    ]


def sideways(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    found: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return found
