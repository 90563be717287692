"""Rows of a long measurement, kept one by one so that it can be stopped and gone on with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wirework.core import WireworkError
from wirework.core.files import read_json, require_writable_folder, write_json
from wirework.core.run import library_versions, source_commit

Row = dict[str, Any]


class KeptRows:
    """Rows by name, each a JSON file in `folder`; nothing is kept where that is None.

    Rows belong to a configuration, a commit and the versions of the libraries, all those of a
    folder to the same. Several processes may share a folder, each with rows of its own.
    Raises `rows-foreign`, `file-damaged` and `path-not-writable` before any row is made.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._folder = folder
        settings = {"config": config, "versions": library_versions()}
        self._of = {"commit": source_commit(), "settings": _hash(settings)}
        if folder is not None:
            require_writable_folder(folder)
            for path in sorted(folder.glob("*.json")):
                value = read_json(path)
                # A report may lie beside the rows.
                if isinstance(value, dict) and "of" in value:
                    self._row(path, value)

    def row(self, name: str, make: Callable[[], Row]) -> Row:
        """The row that is kept, or a new one. Raises `rows-foreign`, `file-damaged`."""
        if self._folder is None:
            return make()
        path = self._folder / f"{name.replace('/', '.')}.json"
        if path.exists():
            return self._row(path, read_json(path))
        row = make()
        write_json(path, {"of": self._of, "row": row})
        return row

    def _row(self, path: Path, value: Any) -> Row:
        of = value.get("of") if isinstance(value, dict) else None
        if of != self._of or not isinstance(value.get("row"), dict):
            raise WireworkError(
                "rows-foreign", f"{path} was measured otherwise",
                expected=json.dumps(self._of), got=json.dumps(of),
                hint="another folder for --rows, or the settings and the commit of the first call",
            )  # fmt: skip
        return dict(value["row"])


def _hash(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
