"""What every test shares: no network, repeatable property tests, the browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from browser import start_browser
from find_chromium import MISSING, find_chromium

# The same examples on every run: a failure seen once is seen again.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    # Before any test imports the libraries that read these.
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", MPLBACKEND="Agg")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # One worker a core: threads beside them would spin in each other's way.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Path of the Chromium that browser tests drive."""
    program = find_chromium()
    assert program is not None, MISSING
    return program


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """One Chromium for all tests of a file; every visit has a context of its own."""
    with start_browser(chromium) as browser:
        yield browser
