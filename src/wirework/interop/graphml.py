"""A circuit as GraphML, which Gephi, yEd, Cytoscape and networkx read."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

from wirework.interop.circuit_graph import GraphLink, GraphNode

_SPACE = "http://graphml.graphdrawing.org/xmlns"
_NODE_KEYS = {
    "kind": "string", "layer": "int", "index": "int", "head": "int", "text": "string",
    "effect": "double",
}  # fmt: skip
_LINK_KEYS = {"kind": "string", "weight": "double", "effect": "double"}
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_graphml(nodes: Sequence[GraphNode], links: Sequence[GraphLink]) -> str:
    """The text of a .graphml file. What does not apply to a node or a link, is not known or is no
    finite number is left out."""
    root = ElementTree.Element("graphml", xmlns=_SPACE)
    for kind, keys in (("node", _NODE_KEYS), ("edge", _LINK_KEYS)):
        for name, type_ in keys.items():
            parts = {"id": f"{kind}.{name}", "for": kind, "attr.name": name, "attr.type": type_}
            ElementTree.SubElement(root, "key", parts)
    graph = ElementTree.SubElement(root, "graph", id="circuit", edgedefault="directed")
    for node in nodes:
        element = ElementTree.SubElement(graph, "node", id=node.name)
        _data(element, "node", {name: getattr(node, name) for name in _NODE_KEYS})
    for number, link in enumerate(links):
        ends = {"id": f"e{number}", "source": link.source, "target": link.target}
        element = ElementTree.SubElement(graph, "edge", ends)
        _data(element, "edge", {name: getattr(link, name) for name in _LINK_KEYS})
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _data(
    element: ElementTree.Element, kind: str, values: dict[str, str | int | float | None]
) -> None:
    for name, value in values.items():
        if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
            continue
        data = ElementTree.SubElement(element, "data", key=f"{kind}.{name}")
        data.text = _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else repr(value)
