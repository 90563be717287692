"""The folder that circuit-tracer's local server shows: graphs, their list, details of features.

Layout: circuit_tools.md §4.1. The page asks for the details at an address that it makes of `scan`;
`./data/features/NAME` is the one that reaches the folder itself, so that no other is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from wirework.circuit import Circuit, every_node
from wirework.core import Node, WireworkError
from wirework.core.files import read_json, write_json, write_text
from wirework.interop.evidence import Examples
from wirework.interop.neuronpedia.features import feature_details, feature_number
from wirework.interop.neuronpedia.graph import Graph, graph_text, slug_of

LIST = "graph-metadata.json"


def write_graph_folder(
    folder: Path | str,
    circuit: Circuit,
    graph: Graph,
    examples: Mapping[Node, Examples] | None = None,
) -> Path:
    """Add a graph (made with `GraphConfig(local=True)`) to a folder; the path of its file.

    Other graphs of the folder stay. Files are written one by one, the list of graphs last. Raises
    `graph-saved-over` where the file holds groups that a viewer saved, `graph-list-malformed`,
    `graph-too-large`, `disk-full`, `path-not-writable`.
    """
    place, metadata = Path(folder), graph["metadata"]
    listed = _listed(place / LIST)
    name = slug_of(metadata["scan"])
    whole = {**graph, "metadata": {**metadata, "scan": f"./data/features/{name}"}}
    text, target = graph_text(whole), place / f"{metadata['slug']}.json"
    _spare(target, graph)
    for node in every_node(circuit.nodes):
        details = feature_details(circuit, node, (examples or {}).get(node))
        write_json(place / "features" / name / f"{feature_number(circuit, node)}.json", details)
    write_text(target, text)
    others = [one for one in listed if one.get("slug") != metadata["slug"]]
    write_json(place / LIST, {"graphs": [*others, whole["metadata"]]})
    return target


def address(graph: Graph, host: str = "http://localhost:8041") -> str:
    """Where the local server shows a graph. Its page takes groups from the address only."""
    params = graph["qParams"]
    query = {"slug": graph["metadata"]["slug"]}
    if params["supernodes"]:
        query["pinnedIds"] = ",".join(params["pinnedIds"])
        query["supernodes"] = json.dumps(params["supernodes"], ensure_ascii=False)
    return f"{host}/index.html?{urlencode(query, quote_via=quote)}"


def _listed(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    value = read_json(path)
    graphs = value.get("graphs") if isinstance(value, dict) else None
    if not isinstance(graphs, list) or not all(isinstance(one, dict) for one in graphs):
        raise WireworkError(
            "graph-list-malformed", f"{path} is no list of graphs",
            expected='{"graphs": [metadata, ...]}', got=str(value)[:80],
        )  # fmt: skip
    return graphs


def _spare(path: Path, graph: Graph) -> None:
    """Refuse to write over what a viewer saved."""
    if not path.exists():
        return
    old = read_json(path)
    saved = old.get("qParams") if isinstance(old, dict) else None
    if saved != graph["qParams"]:
        raise WireworkError(
            "graph-saved-over",
            f"{path} holds groups that would be lost",
            expected="a new name, or a graph whose groups are the same",
            got="groups that a viewer saved, or a file of another program",
            hint=f"wirework graph groups {path} CIRCUIT, or --slug NAME",
        )
