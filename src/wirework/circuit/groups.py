"""Groups of nodes that a person has made, kept in a small JSON file beside the circuit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirework.circuit.circuit import Circuit
from wirework.circuit.graph import every_node
from wirework.core import Node, WireworkError
from wirework.core.files import read_json, write_json

FORMAT = "wirework-groups"
VERSION = 1


@dataclass(frozen=True)
class Group:
    label: str
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Groups:
    """Groups of nodes of the circuit found in the model with this hash.

    `pinned`: nodes that were picked out besides, in no group. No node stands in two groups, or
    twice in one. Raises `groups-overlap`, `group-empty`.
    """

    model_hash: str
    groups: tuple[Group, ...] = ()
    pinned: frozenset[Node] = frozenset()

    def __post_init__(self) -> None:
        for group in self.groups:
            if not group.nodes:
                raise WireworkError(
                    "group-empty", f"the group {group.label!r} has no nodes",
                    expected="one node or more",
                )  # fmt: skip
        listed = [node for group in self.groups for node in group.nodes] + list(self.pinned)
        twice = sorted(node for node, count in Counter(listed).items() if count > 1)
        if twice:
            raise WireworkError(
                "groups-overlap",
                f"{len(twice)} nodes stand in two places at once",
                expected="every node in one group at most, pinned ones in none",
                got=", ".join(map(str, twice[:4])),
            )

    def require_of(self, circuit: Circuit) -> None:
        """Raises `groups-foreign` where they are of another model or name nodes that were cut."""
        kept = set(every_node(circuit.nodes))
        listed = {node for group in self.groups for node in group.nodes} | self.pinned
        if self.model_hash != circuit.model_hash:
            raise WireworkError(
                "groups-foreign",
                "these groups were made for a circuit of another model",
                expected=f"groups of nodes of model {circuit.model_hash}",
                got=f"model {self.model_hash}",
            )
        if not listed <= kept:
            raise WireworkError(
                "groups-foreign",
                f"these groups name {len(listed - kept)} nodes that the circuit does not hold",
                expected="nodes of the circuit, by the names in its page",
                got=", ".join(str(node) for node in sorted(listed - kept)[:4]),
            )

    def to_json(self) -> dict[str, Any]:
        groups = [{"label": g.label, "nodes": [str(node) for node in g.nodes]} for g in self.groups]
        return {
            "format": FORMAT,
            "version": VERSION,
            "model_hash": self.model_hash,
            "groups": groups,
            "pinned": [str(node) for node in sorted(self.pinned)],
        }

    def save(self, path: Path | str) -> None:
        """Write one JSON file, atomically."""
        write_json(Path(path), self.to_json())

    @classmethod
    def from_json(cls, value: Any, where: str) -> Groups:
        """Inverse of `to_json`; `where` is named in errors. See `load`."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise _foreign(where, "another kind of JSON")
        if value.get("version") != VERSION:
            raise WireworkError(
                "groups-version",
                f"{where} is of a version that this wirework cannot read",
                expected=f"version {VERSION}",
                got=repr(value.get("version"))[:80],
            )
        try:
            groups = tuple(
                Group(str(one["label"]), tuple(Node.parse(name) for name in one["nodes"]))
                for one in value["groups"]
            )
            pinned = frozenset(Node.parse(name) for name in value.get("pinned", ()))
            return cls(str(value["model_hash"]), groups, pinned)
        except (KeyError, TypeError) as error:
            raise _foreign(where, f"{type(error).__name__}: {error}"[:200]) from None

    @classmethod
    def load(cls, path: Path | str) -> Groups:
        """Raises `file-missing`, `file-damaged`, `groups-malformed`, `groups-version`,
        `groups-overlap`, `group-empty`, `node-malformed`, `site-unknown`."""
        return cls.from_json(read_json(Path(path)), str(path))


def _foreign(where: str, got: str) -> WireworkError:
    return WireworkError(
        "groups-malformed", f"{where} does not hold groups of nodes",
        expected="a file written by `wirework graph groups`", got=got,
    )  # fmt: skip


def groups_path(circuit: Path | str) -> Path:
    """Where the groups of a circuit file stand: `quote.circuit` -> `quote.groups.json`."""
    return Path(circuit).with_suffix(".groups.json")
