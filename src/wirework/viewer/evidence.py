"""Top examples of nodes, as another package gives them, checked and cut for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wirework.circuit import Circuit
from wirework.core import Node, WireworkError
from wirework.viewer.numbers import shorts

VERSION = 4
_BEFORE, _AFTER = 16, 6
"""Tokens shown around the one at which the node is strongest."""

_SHOWN = {"top": 8, "random": 4}


def show_evidence(circuit: Circuit, evidence: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By node name: `top` and `random` examples, each with `tokens`, `values`, `position`.

    Raises `evidence-malformed`, and `evidence-foreign` for nodes that the circuit does not hold.
    """
    try:
        if evidence["version"] not in range(1, VERSION + 1):
            raise ValueError(f"version {evidence['version']!r}")
        nodes = {
            str(name): {
                kind: [_window(example) for example in lists.get(kind, ())[:count]]
                for kind, count in _SHOWN.items()
            }
            for name, lists in evidence["nodes"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise WireworkError(
            "evidence-malformed",
            "this is not an evidence file",
            expected=f"version 1 to {VERSION}, nodes with lists of tokens, values and a position",
            got=f"{type(error).__name__}: {error}"[:200],
        ) from None
    kept = {str(Node(site, i)) for site, indices in circuit.nodes.items() for i in indices}
    if foreign := sorted(set(nodes) - kept):
        raise WireworkError(
            "evidence-foreign",
            f"the evidence is about {len(foreign)} nodes that the circuit does not hold",
            expected="evidence that was gathered for this circuit",
            got=", ".join(foreign[:4]),
        )
    return nodes


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
