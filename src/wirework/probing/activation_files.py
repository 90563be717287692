"""The folder of stored activations: a manifest, the rows, one .npy file a site, what is done.

    manifest.json   what was asked for: hashes of model and data, sites, windows, number format
    rows.npy        (n,) int64: the flat tokens that are stored, rising
    SITE.npy        (n, channels) of every site, one row a token; plain NumPy files
    progress.json   the rows that are written so far, chunk by chunk, with their checksums

A chunk counts once `progress.json` names it, so that an interrupted collection goes on behind it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wirework.core import Config, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.files import disk_errors, read_json, write_bytes, write_json

FORMAT, VERSION = "wirework activations", 1
MANIFEST, PROGRESS, ROWS = "manifest.json", "progress.json", "rows.npy"


class Manifest(Config):
    """What a folder of activations holds, once it is complete.

    `model`, `data`: sha256 of the source and of the tokens; `source`: what else the source says
    of itself. `tokens`: how many there are in all; `n`: how many rows are stored, `rows` their
    sha256. `sites`: names and widths. `context`, `overlap`: the windows. `batch`, `chunk_bytes`
    decide the last bits of the numbers, so that to go on means to keep them.
    """

    model: str
    data: str
    source: dict[str, Any]
    tokens: int = Field(ge=1)
    n: int = Field(ge=1)
    rows: str
    sites: tuple[tuple[str, int], ...] = Field(min_length=1)
    dtype: Literal["float16", "float32"]
    context: int = Field(ge=1)
    overlap: int = Field(ge=0)
    batch: int = Field(ge=1)
    chunk_bytes: int = Field(ge=1)

    @property
    def row_bytes(self) -> int:
        """What one token takes on disk, over all sites."""
        return sum(width for _, width in self.sites) * np.dtype(self.dtype).itemsize

    def width(self, site: str) -> int:
        """Raises `site-absent`."""
        widths = dict(self.sites)
        if site not in widths:
            raise unknown_choice("site-absent", "site in these activations", site, widths)
        return widths[site]


class Progress(Config):
    """`ends`: the number of rows that are written, after every chunk; `sha256` of every chunk."""

    ends: tuple[int, ...] = ()
    sha256: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return self.ends[-1] if self.ends else 0


class ActivationFolder:
    """Reads and writes the files of a folder of activations."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def begin(self, manifest: Manifest, rows: NDArray[np.int64], *, resume: bool) -> Progress:
        """Make the files, or find out how far they are.

        Raises `activations-exist`, `path-occupied`, `resume-mismatch`, `activations-damaged`, and
        `disk-full`, `path-not-writable`.
        """
        self._clear_drafts()
        if (self.path / MANIFEST).is_file():
            if not resume:
                raise WireworkError(
                    "activations-exist", f"{self.path} already holds activations",
                    expected="a new folder", got=str(self.path),
                    hint="resume=True to go on with them, or another folder",
                )  # fmt: skip
            self._require_same(manifest)
            progress = self.progress()
        elif self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise WireworkError(
                "path-occupied", f"{self.path} holds something other than activations",
                expected="a new folder, or one of activations", got=str(self.path),
                hint=f"{self.path}-activations",
            )  # fmt: skip
        else:
            plain = {"format": FORMAT, "version": VERSION, **manifest.plain()}
            write_json(self.path / MANIFEST, plain)
            progress = Progress()
        if not progress.ends:
            self._make_files(manifest, rows)
        self.require_files(manifest)
        return progress

    def _clear_drafts(self) -> None:
        """Take away what a process that was killed amid an atomic write has left."""
        drafts = {p for name in (MANIFEST, PROGRESS, ROWS) for p in self.path.glob(f".{name}.*")}
        if (self.path / MANIFEST).is_file() or drafts.issuperset(self.path.glob("*")):
            for draft in drafts:
                draft.unlink()

    def _require_same(self, manifest: Manifest) -> None:
        before, now = self.manifest().plain(), manifest.plain()
        other = [name for name, value in now.items() if before[name] != value]
        if other:
            raise WireworkError(
                "resume-mismatch", f"{self.path} was begun otherwise",
                expected=", ".join(f"{name} = {_short(before[name])}" for name in other),
                got=", ".join(f"{name} = {_short(now[name])}" for name in other),
                hint="the same model, data and options, or another folder",
            )  # fmt: skip

    def _make_files(self, manifest: Manifest, rows: NDArray[np.int64]) -> None:
        buffer = io.BytesIO()
        np.save(buffer, rows, allow_pickle=False)
        write_bytes(self.path / ROWS, buffer.getvalue())
        for site, _ in manifest.sites:
            path, header = self.site_path(site), site_header(manifest, site)
            with disk_errors(path), path.open("wb") as file:
                file.write(header)
                file.truncate(len(header) + site_bytes(manifest, site))

    def append(
        self, manifest: Manifest, progress: Progress, values: Mapping[str, NDArray[Any]]
    ) -> Progress:
        """Write the next rows of every site, then say so. Raises `disk-full`."""
        digest, count = hashlib.sha256(), 0
        for site, width in manifest.sites:
            block = np.ascontiguousarray(values[site], dtype=_stored(manifest))
            count = len(block)
            assert block.shape == (count, width)
            path = self.site_path(site)
            with disk_errors(path), path.open("r+b") as file:
                header = len(site_header(manifest, site))
                file.seek(header + progress.rows * width * block.itemsize)
                file.write(block.data)
                file.flush()
                os.fsync(file.fileno())
            digest.update(block.data)
        done = Progress(
            ends=(*progress.ends, progress.rows + count),
            sha256=(*progress.sha256, digest.hexdigest()),
        )
        write_json(self.path / PROGRESS, done.plain())
        return done

    def manifest(self) -> Manifest:
        """Raises `folder-missing`, `activations-foreign`, `activations-version`, `file-damaged`,
        `config-invalid`, `config-unknown-key`."""
        path = self.path / MANIFEST
        if not self.path.is_dir():
            raise WireworkError("folder-missing", f"there is no folder {self.path}")
        value = read_json(path) if path.is_file() else None
        if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
            raise WireworkError(
                "activations-foreign", f"{self.path} is no folder of activations",
                expected=f"a folder that `collect` wrote, with {MANIFEST}",
                got=", ".join(sorted(p.name for p in self.path.iterdir())[:6]) or "an empty folder",
            )  # fmt: skip
        version = value.pop("version", None)
        if version != VERSION:
            raise WireworkError(
                "activations-version", f"{path} is of a version that this wirework cannot read",
                expected=f"version {VERSION}", got=f"version {version}",
                hint="a newer wirework, or collect the activations again",
            )  # fmt: skip
        return Manifest.parse(value, str(path))

    def progress(self) -> Progress:
        """Raises `file-damaged`, `config-invalid`."""
        path = self.path / PROGRESS
        if not path.is_file():
            return Progress()
        value = read_json(path)
        if not isinstance(value, dict):
            raise damaged(path, "no table of chunks")
        return Progress.parse(value, str(path))

    def rows(self, manifest: Manifest) -> NDArray[np.int64]:
        """Raises `activations-damaged` where they are not those of the manifest."""
        path = self.path / ROWS
        try:
            rows: NDArray[np.int64] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(path, str(error)) from None
        if rows_hash(rows) != manifest.rows or rows.shape != (manifest.n,):
            raise damaged(path, "other rows than the manifest names")
        return rows

    def require_files(self, manifest: Manifest) -> None:
        """Raises `activations-damaged` where a file of a site has another size or header."""
        for site, _ in manifest.sites:
            path, header = self.site_path(site), site_header(manifest, site)
            if not path.is_file():
                raise damaged(path, "no such file")
            with path.open("rb") as file:
                found = file.read(len(header))
            size = path.stat().st_size
            if found != header or size != len(header) + site_bytes(manifest, site):
                raise damaged(path, f"{size} bytes, or another header")

    def values(self, manifest: Manifest, site: str) -> NDArray[Any]:
        """(n, channels) of a site, left on disk."""
        return np.memmap(
            self.site_path(site), dtype=_stored(manifest), mode="r",
            offset=len(site_header(manifest, site)), shape=(manifest.n, manifest.width(site)),
        )  # fmt: skip

    def site_path(self, site: str) -> Path:
        return self.path / f"{quote(site, safe='')}.npy"


def site_header(manifest: Manifest, site: str) -> bytes:
    """How the .npy file of a site begins."""
    shape = (manifest.n, manifest.width(site))
    descr = np.lib.format.dtype_to_descr(_stored(manifest))
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


def site_bytes(manifest: Manifest, site: str) -> int:
    """What the numbers of a site take on disk."""
    return manifest.n * manifest.width(site) * _stored(manifest).itemsize


def rows_hash(rows: NDArray[np.int64]) -> str:
    """sha256 of row numbers."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def damaged(path: Path, got: str) -> WireworkError:
    """The error for a file that is not what `collect` wrote."""
    return WireworkError(
        "activations-damaged", f"{path} is not the file that was written",
        expected="the file as `collect` left it", got=got,
        hint="collect the activations again, in a new folder",
    )  # fmt: skip


def _stored(manifest: Manifest) -> np.dtype[Any]:
    return np.dtype(manifest.dtype).newbyteorder("<")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
