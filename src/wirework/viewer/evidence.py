"""Evidence about nodes and edges, as another package gives it, checked and cut for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirework.circuit import Circuit
from wirework.core import Node, WireworkError
from wirework.viewer.numbers import short, shorts

_VERSIONS = (1, 2, 3, 4)
"""Version 2 brought effects of edges, version 3 labels of nodes, version 4 predicates of edges."""

_BEFORE, _AFTER = 16, 6
"""Tokens shown around the one at which the node is strongest."""

_SHOWN = {"top": 8, "random": 4}


def show_evidence(circuit: Circuit, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """`nodes`: by name, `top` and `random` examples, each with `tokens`, `values`, `position`; the
    node's `effect` on the answer margin and its `label` (`_label`), None where nobody measured it.
    `edges`: in the circuit's order [effect on the margin, on the loss], None where not measured;
    empty where no edge was. `matters`: by name of an edge, in words when the weight matters.

    Raises `evidence-malformed`, and `evidence-foreign` for nodes that the circuit does not hold.
    """
    try:
        if evidence["version"] not in _VERSIONS:
            raise ValueError(f"version {evidence['version']!r}")
        found, labels = evidence["nodes"], evidence.get("labels", {})
        nodes = {
            str(name): _node(found.get(name, {}), labels.get(name)) for name in {**found, **labels}
        }
        effects = {
            str(found["edge"]): [short(float(found["margin"])), short(float(found["loss"]))]
            for found in evidence.get("edges", ())
        }
        predicates = evidence.get("predicates", {}).items()
        matters = {str(edge): _predicate(found) for edge, found in predicates}
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WireworkError(
            "evidence-malformed",
            "this is not an evidence file",
            expected=f"version 1 to {_VERSIONS[-1]}, nodes with tokens, values and a position",
            got=f"{type(error).__name__}: {error}"[:200],
        ) from None
    kept = {str(Node(site, i)) for site, indices in circuit.nodes.items() for i in indices}
    if foreign := sorted({*nodes} - kept):
        raise WireworkError(
            "evidence-foreign",
            f"the evidence is about {len(foreign)} nodes that the circuit does not hold",
            expected="evidence that was gathered for this circuit",
            got=", ".join(foreign[:4]),
            hint="remove the evidence file, or gather it anew: wirework view CIRCUIT --model RUN",
        )
    edges = [effects.get(str(edge)) for edge, _ in circuit.edges()] if effects else []
    return {"nodes": nodes, "edges": edges, "matters": matters}


def _node(found: Mapping[str, Any], label: Mapping[str, Any] | None) -> dict[str, Any]:
    effect = found.get("effect")
    return {
        **{
            kind: [_window(example) for example in found.get(kind, ())[:count]]
            for kind, count in _SHOWN.items()
        },
        "effect": None if effect is None else short(float(effect)),
        "label": None if label is None else _label(label),
    }


def _label(label: Mapping[str, Any]) -> dict[str, Any]:
    """`text`; `unexplained`, why it does not count as one, empty where it does; the score on
    held-out text with its interval; `control`: the same for shuffled labels. Scores are None for a
    node that does not change in the text."""
    scores = [(label[name], label[control]) for name, control in _SCORES]
    found = [pair for pair in scores if pair[0] is not None and _terms(pair[0]) == label["label"]]
    best, control = found[0] if found else (None, None)
    share = label["share"]
    return {
        "text": "" if best is None else str(label["label"]),
        "unexplained": str(label["unexplained"]),
        "off": best is not None and best["direction"] == "off",
        "scores": None if best is None else {name: short(float(best[name])) for name in _NUMBERS},
        "control": None if control is None else short(float(control["f1"])),
        "share": {name: _number(share[name]) for name in ("value", "low", "high", "control")},
        "reason": str(share["reason"]),
    }


def _predicate(found: Mapping[str, Any]) -> str:
    """When a weight matters to text at large, or why nobody can say."""
    if found["unexplained"]:
        return f"When it matters to text at large is unexplained: {found['unexplained']}"
    best, control = found["best"], found["control"]
    rolled = "none" if control is None else f"{float(control['score']):.2f}"
    return (
        f"In text at large it matters where {_terms(best)} (score {float(best['score']):.2f}, "
        f"{float(best['low']):.2f} to {float(best['high']):.2f}; rolled labels: {rolled})"
    )


_SCORES = (("pair", "pair_control"), ("single", "control"))
_NUMBERS = ("f1", "low", "high", "precision", "recall", "mcc", "base_rate", "chance_f1")


def _terms(score: Mapping[str, Any]) -> str:
    """As the label is written."""
    return " and ".join(("not " if t["negated"] else "") + t["feature"] for t in score["terms"])


def _number(value: Any) -> float | int | None:
    return None if value is None else short(float(value))


def box_labels(shown: Mapping[str, Any]) -> dict[str, str]:
    """By name of a node that a label explains: its text, as `show_evidence` gave it."""
    return {
        name: ("off for " if found["label"]["off"] else "") + found["label"]["text"]
        for name, found in shown["nodes"].items()
        if found["label"] is not None and not found["label"]["unexplained"]
    }


def _window(example: Mapping[str, Any]) -> dict[str, Any]:
    tokens, values = example["tokens"], [float(value) for value in example["values"]]
    position = int(example["position"])
    if len(tokens) != len(values) or not 0 <= position < len(tokens):
        raise ValueError(f"{len(tokens)} tokens, {len(values)} values, position {position}")
    first, last = max(0, position - _BEFORE), position + _AFTER + 1
    return {
        "tokens": [str(token) for token in tokens[first:last]],
        "values": shorts(values[first:last]),
        "position": position - first,
        "cut": [first > 0, last < len(tokens)],
    }
