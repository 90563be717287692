"""What an evidence file tells about the nodes and edges of a circuit, for other tools' files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wirework.circuit import Circuit
from wirework.core import Edge, Node, WireworkError

Examples = dict[str, list[tuple[list[str], list[float], int]]]
"""`top` and `random`: pieces of text as tokens, values and the position they were chosen for."""


@dataclass(frozen=True)
class Told:
    """By node: `labels`, what it tells, with its held-out F1; `effects` on the answer margin when
    it is cut; `examples`. By edge: `edge_effects` on the answer margin. Empty where nobody asked.
    """

    labels: Mapping[Node, str] = field(default_factory=dict)
    effects: Mapping[Node, float] = field(default_factory=dict)
    edge_effects: Mapping[Edge, float] = field(default_factory=dict)
    examples: Mapping[Node, Examples] = field(default_factory=dict)


def read_evidence(circuit: Circuit, evidence: Mapping[str, Any]) -> Told:
    """From the JSON of an evidence file, of any version.

    Raises `evidence-malformed`, and `evidence-foreign` where it was gathered for another circuit.
    """
    try:
        nodes = {Node.parse(name): found for name, found in evidence["nodes"].items()}
        named = {Node.parse(name): found for name, found in evidence.get("labels", {}).items()}
        told = Told(
            labels={node: label for node, found in named.items() if (label := _label(found))},
            effects={
                node: float(found["effect"])
                for node, found in nodes.items()
                if found.get("effect") is not None
            },
            edge_effects={
                Edge.parse(found["edge"]): float(found["margin"])
                for found in evidence.get("edges", ())
            },
            examples={node: _examples(found) for node, found in nodes.items()},
        )
        model_hash = str(evidence["model_hash"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WireworkError(
            "evidence-malformed",
            "this is not evidence about a circuit",
            expected="a file of `wirework explain`, with nodes, edges and labels",
            got=f"{type(error).__name__}: {error}"[:200],
        ) from None
    kept = {Node(site, index) for site, found in circuit.nodes.items() for index in found}
    foreign = sorted({*nodes, *named} - kept)
    if foreign or model_hash != circuit.model_hash:
        raise WireworkError(
            "evidence-foreign",
            "the evidence was gathered for another circuit",
            expected=f"evidence about nodes of model {circuit.model_hash[:12]}",
            got=", ".join(map(str, foreign[:4])) or f"model {model_hash[:12]}",
        )
    return told


def _label(found: Mapping[str, Any]) -> str:
    """What a node tells, empty where its label explains nothing."""
    text = found["label"]
    if text is None or found["unexplained"]:
        return ""
    for score in (found["pair"], found["single"]):
        if score is not None and _terms(score) == text:
            side = "off for " if score["direction"] == "off" else ""
            return f"{side}{text}, F1 {float(score['f1']):.2f}"
    return str(text)


def _terms(score: Mapping[str, Any]) -> str:
    return " and ".join(
        ("not " if t["negated"] else "") + str(t["feature"]) for t in score["terms"]
    )


def _examples(found: Mapping[str, Any]) -> Examples:
    return {kind: [_example(one) for one in found.get(kind, ())] for kind in ("top", "random")}


def _example(one: Mapping[str, Any]) -> tuple[list[str], list[float], int]:
    tokens = [str(token) for token in one["tokens"]]
    values = [float(value) for value in one["values"]]
    position = int(one["position"])
    if len(tokens) != len(values) or not 0 <= position < len(tokens):
        raise ValueError(f"{len(tokens)} tokens, {len(values)} values, position {position}")
    return tokens, values, position
