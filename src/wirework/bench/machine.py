"""The machine that a measurement was taken on, how busy it was, and how many threads are used."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import numba
import torch

from wirework.core import WireworkError


def describe_machine() -> dict[str, Any]:
    """`cpu`, `cores`, `threads`, `gib` of memory, `load` (of the last minute), `system`."""
    return {
        "cpu": _cpu(),
        "bf16_unit": any(
            torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16")
        ),
        "cores": os.cpu_count(),
        "threads": min(torch.get_num_threads(), numba.get_num_threads()),
        "gib": _gib(),
        "load": _load(),
        "system": platform.platform(),
    }


def notes_on(machine: dict[str, Any]) -> list[dict[str, str]]:
    """What makes the figures doubtful: `machine-busy` where others use the machine."""
    load, cores = machine["load"], machine["cores"]
    if load is None or load <= cores / 2:
        return []
    busy = WireworkError(
        "machine-busy",
        "other work ran on this machine when the measurement began, so its figures are doubtful",
        expected=f"a load average of at most {cores / 2:g}",
        got=f"{load:.1f}",
        hint="the same command once the machine is idle",
    )
    return [busy.to_json()]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None  # a system that does not tell


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None
