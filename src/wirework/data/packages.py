"""Python text of installed distributions, found by name, with their versions and licences."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

from wirework.core.errors import WireworkError, nearest
from wirework.core.files import sha256_file
from wirework.data.documents import CorpusConfig, SourceFile


def package_files(config: CorpusConfig) -> list[SourceFile]:
    """The `.py` files of `config.packages`, as `NAME/path`, sorted; what `pip install` recorded.

    Raises `package-missing`.
    """
    found = []
    for name, distribution in _distributions(config).items():
        for entry in distribution.files or []:
            path = Path(str(distribution.locate_file(entry)))
            if path.suffix == ".py" and ".." not in entry.parts and path.is_file():
                found.append(SourceFile(f"{name}/{entry.as_posix()}", path))
    return sorted(found, key=lambda file: file.name)


def package_records(config: CorpusConfig) -> list[dict[str, Any]]:
    """`name`, `version`, `license`, `files` and one `sha256` over the text of every package."""
    records = []
    files = package_files(config)
    for name, distribution in _distributions(config).items():
        own = [file for file in files if file.name.startswith(f"{name}/")]
        digest = hashlib.sha256()
        for file in own:
            digest.update(f"{file.name} {sha256_file(file.path)}\n".encode())
        records.append(
            {
                "name": name,
                "version": distribution.version,
                "license": _license(distribution),
                "files": len(own),
                "sha256": digest.hexdigest(),
            }
        )
    return records


def _distributions(config: CorpusConfig) -> dict[str, metadata.Distribution]:
    if not config.packages:
        return {}
    where = config.packages_from
    installed = metadata.distributions() if where is None else metadata.distributions(path=[where])
    by_name = {_plain(d.metadata["Name"]): d for d in installed if d.metadata["Name"]}
    missing = [name for name in config.packages if _plain(name) not in by_name]
    if missing:
        target = f"--target {where} " if where else ""
        near = nearest(_plain(missing[0]), list(by_name))
        raise WireworkError(
            "package-missing",
            f"not installed: {', '.join(missing)}",
            expected="names of installed distributions" + (f", such as {near}" if near else ""),
            got=missing[0],
            hint=f"pip install --no-deps {target}{' '.join(missing)}",
        )
    return {_plain(name): by_name[_plain(name)] for name in config.packages}


def _plain(name: str) -> str:
    """Distributions are compared as pip compares them: `Scikit_Learn` is `scikit-learn`."""
    return name.lower().replace("_", "-").replace(".", "-")


def _license(distribution: metadata.Distribution) -> str:
    about = distribution.metadata
    for field in ("License-Expression", "Classifier", "License"):
        lines = about.get_all(field) or []
        if field == "Classifier":
            lines = [c.rpartition("::")[2].strip() for c in lines if c.startswith("License ::")]
        if lines:
            return "; ".join(lines).partition("\n")[0][:80]
    return "unknown"
