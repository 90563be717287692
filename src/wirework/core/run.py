"""Where an artefact came from: commit, versions, configuration, seed, machine."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("wirework", "torch", "numpy", "numba", "tokenizers", "safetensors")


@dataclass(frozen=True)
class RunRecord:
    """Provenance of one artefact. Holds no time of day, so that equal runs have equal bytes."""

    commit: str
    versions: dict[str, str]
    seed: int | None
    device: str
    dtype: str
    threads: int
    inputs: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""

    @classmethod
    def collect(
        cls,
        *,
        seed: int | None,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int = 1,
        inputs: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        config_hash: str = "",
    ) -> RunRecord:
        return cls(
            commit=source_commit(),
            versions=library_versions(),
            seed=seed,
            device=device,
            dtype=dtype,
            threads=threads,
            inputs=dict(inputs or {}),
            config=dict(config or {}),
            config_hash=config_hash,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers depend on, without importing them."""
    versions = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def source_commit() -> str:
    """The git commit of this source tree, with `+` where it has been edited; else `unknown`."""
    here = Path(__file__).resolve().parents[3]
    if not (here / ".git").exists():
        return "unknown"
    try:
        head = _git(here, "rev-parse", "HEAD")
        edited = _git(here, "status", "--porcelain", "--untracked-files=no", "--", "src")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if edited else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    return done.stdout.strip()
