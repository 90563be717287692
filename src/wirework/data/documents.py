"""What a source yields (documents and what was passed over), and the corpus configuration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from wirework.core import Config

Reason = Literal["empty", "not-text", "not-python", "unreadable", "bad-row", "no-column"]


@dataclass(frozen=True)
class SourceFile:
    """A file and its name relative to the source, with forward slashes."""

    name: str
    path: Path


@dataclass(frozen=True)
class Document:
    """One file, or one row of a table (`name` is then `file:line`)."""

    name: str
    text: str


@dataclass(frozen=True)
class Skipped:
    """A file or row that is not used: counted and named, never fatal."""

    name: str
    reason: Reason
    detail: str = ""


class CorpusConfig(Config):
    """Which text, cut how.

    `source`: `python-stdlib` (the running interpreter's own library), a file, a folder, a glob
    (`src/**/*.py`), a `.jsonl` or `.parquet` table, or `hf:NAME_OR_FOLDER[:split]`.
    `column` is the text column of a table, `subset` the configuration of a Hugging Face data set.
    `max_bytes`: at most so much text; files are picked by a seeded hash of their names, rows of
    a table are taken in their order. `packages`: installed distributions whose Python text is
    read beside the source; `packages_from`: the folder that `pip install --target` put them into,
    None for the running environment.
    """

    source: str = Field(default="python-stdlib", min_length=1)
    column: str = Field(default="text", min_length=1)
    subset: str | None = None
    vocab_size: int = Field(default=2048, ge=257)
    validation_share: float = Field(default=0.03, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    max_bytes: int | None = Field(default=None, ge=1)
    packages: tuple[str, ...] = ()
    packages_from: str | None = None


def seeded_share(seed: int, purpose: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    text = f"{seed}:{purpose}:{name}".encode("utf-8", errors="surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big") / 2**48
