"""What every test shares: no network, repeatable property tests, the browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

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
