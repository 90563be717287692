"""A circuit in the DOT language, which Graphviz draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from wirework.interop.circuit_graph import GraphLink, GraphNode

_POSITIVE, _NEGATIVE, _OTHER = "#0072B2", "#D55E00", "#999999"
"""Blue and vermilion (Okabe and Ito), which colour-blind readers tell apart."""

_THICKEST = 3.0


def to_dot(nodes: Sequence[GraphNode], links: Sequence[GraphLink], *, title: str = "") -> str:
    """The text of a .dot file: places as columns from left to right, weights by colour and width.

    Links that have no weight of their own are dashed.
    """
    heaviest = max((abs(link.weight) for link in links if link.weight is not None), default=0.0)
    lines = [
        "digraph circuit {",
        f"  graph [rankdir=LR, label={quoted(title)}, labelloc=t, ranksep=1];",
        '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=10, height=0.3];',
        "  edge [arrowsize=0.5];",
    ]
    for _, column in groupby(nodes, key=lambda node: (node.layer, node.kind)):
        lines.append("  { rank=same;")
        lines += [f"    {quoted(node.name)} [{_attributes(_look(node))}];" for node in column]
        lines.append("  }")
    for link in links:
        ends = f"{quoted(link.source)} -> {quoted(link.target)}"
        lines.append(f"  {ends} [{_attributes(_line(link, heaviest))}];")
    return "\n".join([*lines, "}", ""])


def _look(node: GraphNode) -> dict[str, str]:
    head = node.text if node.kind in ("token", "answer") else node.name
    label = f"{head}\n{node.text}" if node.text and head != node.text else head
    look = {"label": label, "kind": node.kind}
    if node.effect is not None:
        look["effect"] = repr(node.effect)
    if node.kind in ("token", "answer"):
        look["shape"] = "plaintext"
    return look


def _line(link: GraphLink, heaviest: float) -> dict[str, str]:
    look = {"kind": link.kind}
    if link.weight is None:
        look |= {"color": _OTHER, "style": "dashed"}
    else:
        share = abs(link.weight) / heaviest if heaviest else 0.0
        width = 0.3 + (_THICKEST - 0.3) * (share if math.isfinite(share) else 1.0)
        look |= {
            "color": _POSITIVE if link.weight > 0 else _NEGATIVE,
            "penwidth": f"{width:.2f}",
            "value": repr(link.weight),
        }
    if link.effect is not None:
        look["effect"] = repr(link.effect)
    return look


def _attributes(values: dict[str, str]) -> str:
    return ", ".join(f"{name}={quoted(value)}" for name, value in values.items())


def quoted(text: str) -> str:
    """A DOT string that shows exactly this text: backslashes, quotes and lines are escaped, and
    control characters, which Graphviz refuses, stand as U+FFFD."""
    shown = "".join("\ufffd" if ord(c) < 32 and c not in "\n\t" else c for c in text)
    shown = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\t", " ").replace("\n", "\\n")
    return f'"{shown}"'
