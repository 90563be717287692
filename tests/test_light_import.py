"""Packages without torch stay without it, and the command line answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from floors import FLOORS
from source_tree import ROOT

HEAVY = {"torch", "numba", "matplotlib", "sklearn", "transformers", "datasets", "scipy"}
HELP_SECONDS = 1.5
LIGHT = [name for name, floor in FLOORS.items() if floor.torch != "yes"]
HELP = "import sys; sys.argv = ['wirework', '--help']; from wirework.cli import main; main()"


def modules_loaded_by(code: str, among: set[str]) -> set[str]:
    """Which of the top-level modules `among` a fresh interpreter holds after running `code`."""
    program = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))\n" + code
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return among & set(json.loads(done.stderr.splitlines()[-1]))


def fastest(code: str, runs: int = 3) -> float:
    """Seconds of the fastest of some runs: the machine may be busy with something else."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@pytest.mark.parametrize(
    "package", [name for name in LIGHT if (ROOT / "src/wirework" / name / "__init__.py").exists()]
)
def test_the_package_does_not_import_torch(package: str) -> None:
    assert modules_loaded_by(f"import wirework.{package}", {"torch"}) == set()


def test_the_top_imports_nothing_heavy() -> None:
    assert modules_loaded_by("import wirework", HEAVY) == set()


def test_help_imports_nothing_heavy() -> None:
    assert modules_loaded_by(HELP, HEAVY) == set()


def test_help_is_fast() -> None:
    assert fastest(HELP) < HELP_SECONDS


def test_a_heavy_import_would_be_seen() -> None:
    code = "import wirework.core, matplotlib"
    assert modules_loaded_by(code, HEAVY | {"wirework"}) >= {"matplotlib", "wirework"}


def test_a_slow_start_would_be_seen() -> None:
    assert fastest(f"import time; time.sleep({HELP_SECONDS})", runs=1) >= HELP_SECONDS
