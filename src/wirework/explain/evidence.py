"""Evidence about the nodes and edges of a circuit as plain data, in a JSON file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wirework.core import Edge, Node, WireworkError
from wirework.core.files import read_json, write_json
from wirework.explain.effects import EdgeEffect
from wirework.explain.node_label import NodeLabel
from wirework.explain.weight_predicate import WeightPredicate

VERSION = 4
"""Version 1 knew nothing of edges, version 2 nothing of labels, version 3 nothing of predicates."""


@dataclass(frozen=True)
class Example:
    """A piece of text with a node's activation at every token of it.

    `position`: index of the token that the example was chosen for.
    """

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    position: int


@dataclass(frozen=True)
class NodeEvidence:
    """`effect`: change of the circuit's mean answer margin on `report` when this node is cut;
    negative where the node helps. `top`: examples of the largest magnitude, the largest first.
    `random`: examples drawn evenly from all texts in which the node is not zero."""

    effect: float
    top: tuple[Example, ...]
    random: tuple[Example, ...]


@dataclass(frozen=True)
class Evidence:
    """For every node of the circuit found in the model with this hash.

    `edges`: exact effects on the split `report` of the task, what helps most first; empty where
    nobody measured them. `labels`: what the nodes tell (`label_nodes`); `predicates`: when edges
    matter in the whole model (`weight_predicates`); both empty where nobody asked.
    """

    model_hash: str
    nodes: Mapping[Node, NodeEvidence]
    edges: tuple[EdgeEffect, ...] = ()
    labels: Mapping[Node, NodeLabel] = field(default_factory=dict)
    predicates: Mapping[Edge, WeightPredicate] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        nodes = {str(node): asdict(found) for node, found in self.nodes.items()}
        edges = [effect.to_json() for effect in self.edges]
        labels = {str(node): label.to_json() for node, label in self.labels.items()}
        predicates = {str(edge): found.to_json() for edge, found in self.predicates.items()}
        return {
            "version": VERSION,
            "model_hash": self.model_hash,
            "nodes": nodes,
            "edges": edges,
            "labels": labels,
            "predicates": predicates,
        }

    def save(self, path: Path | str) -> None:
        """Write one JSON file, atomically."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: Path | str) -> Evidence:
        """Raises `file-missing`, `file-damaged`, `evidence-version`, `evidence-foreign`."""
        value = read_json(Path(path))
        version = value.get("version", VERSION) if isinstance(value, dict) else VERSION
        if version not in range(1, VERSION + 1):
            raise WireworkError(
                "evidence-version",
                f"{path} is of a version that this wirework cannot read",
                expected=f"version 1 to {VERSION}",
                got=str(version)[:80],
            )
        try:
            nodes = {Node.parse(name): _node(found) for name, found in value["nodes"].items()}
            edges = tuple(_edge(item) for item in (value["edges"] if version >= 2 else ()))
            told = value["labels"] if version >= 3 else {}
            labels = {Node.parse(name): NodeLabel.from_json(found) for name, found in told.items()}
            when = value["predicates"] if version >= 4 else {}
            predicates = {
                Edge.parse(name): WeightPredicate.from_json(found) for name, found in when.items()
            }
            return cls(str(value["model_hash"]), nodes, edges, labels, predicates)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WireworkError(
                "evidence-foreign",
                f"{path} is not evidence about a circuit",
                expected="a file written by wirework",
                got=f"{type(error).__name__}: {error}"[:200],
            ) from None


def _edge(value: Any) -> EdgeEffect:
    numbers = (float(value[name]) for name in ("weight", "loss", "margin"))
    return EdgeEffect(Edge.parse(value["edge"]), *numbers)


def _node(value: Any) -> NodeEvidence:
    return NodeEvidence(
        effect=float(value["effect"]),
        top=tuple(_example(item) for item in value["top"]),
        random=tuple(_example(item) for item in value["random"]),
    )


def _example(value: Any) -> Example:
    return Example(
        tokens=tuple(str(token) for token in value["tokens"]),
        values=tuple(float(number) for number in value["values"]),
        position=int(value["position"]),
    )


def evidence_path(circuit: Path | str) -> Path:
    """Where the evidence about a circuit file stands: `quote.circuit` -> `quote.evidence.json`."""
    return Path(circuit).with_suffix(".evidence.json")
