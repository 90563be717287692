"""The folder of the other circuits of a task: what was searched, what came of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from wirework.circuit import Circuit
from wirework.core import Config, Node, WireworkError
from wirework.core.files import read_json, write_json

LOG = "searches.json"


class ForbiddenSearch(Config):
    """One search: what it was forbidden, and the file of what it found, if it found anything."""

    forbidden: tuple[str, ...]
    circuit: str | None = Field(pattern=r"^alternative-[0-9]+\.circuit$")


class SearchLog(Config):
    """`identity`: hash of the first circuit, model, task, settings and seed."""

    version: Literal[1] = 1
    identity: str
    searches: tuple[ForbiddenSearch, ...] = ()


class AlternativesFolder:
    """`searches.json`: every search that is done. `alternative-N.circuit`: what was found, in the
    order found. `.state` only while a search is under way. All written atomically."""

    def __init__(self, path: Path, log: SearchLog) -> None:
        self.path = path
        self._identity = log.identity
        self._searches = {search.forbidden: search for search in log.searches}

    @classmethod
    def begin(cls, path: Path, identity: str, *, resume: bool) -> Self:
        """A new folder, or with `resume` one that is there. Raises `alternatives-exist`,
        `path-occupied`, `resume-mismatch`, `file-damaged`, `config-invalid`."""
        if (path / LOG).exists():
            if not resume:
                raise WireworkError(
                    "alternatives-exist", f"{path} already holds alternatives of a circuit",
                    expected="a new folder", got=str(path),
                    hint="--resume to go on with them, or another --out",
                )  # fmt: skip
            log = SearchLog.parse(read_json(path / LOG), str(path / LOG))
            if log.identity != identity:
                raise WireworkError(
                    "resume-mismatch", f"{path} holds alternatives of another circuit or search",
                    expected="the same circuit, model, task, settings and seed",
                    got=f"those of search {log.identity[:12]}", hint="another --out",
                )  # fmt: skip
            return cls(path, log)
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise WireworkError(
                "path-occupied", f"{path} holds something other than alternatives",
                expected="a new folder, or one of alternatives", got=str(path),
                hint=f"{path}-alternatives",
            )  # fmt: skip
        write_json(path / LOG, SearchLog(identity=identity).plain())
        return cls(path, SearchLog(identity=identity))

    @property
    def state(self) -> Path:
        """Where a search under way saves its gates."""
        return self.path / ".state"

    @property
    def done(self) -> int:
        """Searches that are done."""
        return len(self._searches)

    def holds(self, forbidden: Collection[Node]) -> bool:
        """Whether this search is done, and what it found still there."""
        search = self._searches.get(_names(forbidden))
        if search is None:
            return False
        return search.circuit is None or (self.path / search.circuit).exists()

    def circuit(self, forbidden: Collection[Node]) -> Circuit | None:
        """What a search that is done found. Raises what `Circuit.load` raises."""
        name = self._searches[_names(forbidden)].circuit
        return None if name is None else Circuit.load(self.path / name)

    def add(self, forbidden: Collection[Node], circuit: Circuit | None, number: int) -> None:
        """Keep what a search found, as alternative `number`; its state is no longer needed."""
        place = None if circuit is None else alternative_path(self.path, number)
        if circuit is not None and place is not None:
            circuit.save(place)
        names = _names(forbidden)
        self._searches[names] = ForbiddenSearch(
            forbidden=names, circuit=None if place is None else place.name
        )
        log = SearchLog(identity=self._identity, searches=tuple(self._searches.values()))
        write_json(self.path / LOG, log.plain())
        self.state.unlink(missing_ok=True)


def alternative_path(folder: Path, number: int) -> Path:
    """Where the alternative with this number (from 1) stands."""
    return folder / f"alternative-{number}.circuit"


def _names(forbidden: Collection[Node]) -> tuple[str, ...]:
    return tuple(str(node) for node in sorted(forbidden))
