"""What is wrong with an attribution graph: its schema and what the viewers ask for beside it.

The rules that no schema states are numbered as in circuit_tools.md §4.1.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wirework.core import WireworkError
from wirework.core.files import read_json
from wirework.interop.neuronpedia.ids import LARGEST, TOKEN_ROW, cantor_inverse
from wirework.interop.neuronpedia.schema import faults, graph_schema

MOST_BYTES = 100 * 1024 * 1024
"""What Neuronpedia takes, and about what a browser can draw."""

FREE = ("embedding", "logit")
"""Kinds of nodes that need no link."""

_NO_FEATURE = (*FREE, "bias", "unknown")
_SHOWN = 3
_MARKUP = re.compile(r"<[A-Za-z/!?]")
_ROW = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")


def check_graph(value: Any) -> list[str]:
    """Complaints about a graph, as plain sentences; none: the viewers can show it.

    Of equal complaints the first three are listed, with the number of the others.
    """
    found: dict[str, list[str]] = {}
    for place, what in faults(graph_schema(), value):
        found.setdefault(what, []).append(place or "the file")
    if not found:
        for place, what in _rules(value):
            found.setdefault(what, []).append(place)
    return [_sentence(what, places) for what, places in found.items()]


def check_graph_file(path: Path | str) -> list[str]:
    """Complaints about a file of a graph. Raises `file-missing`, `file-damaged`."""
    place = Path(path)
    complaints = check_graph(read_json(place))
    return [*_too_large(place.stat().st_size), *complaints]


def require_size(size: int) -> None:
    """Raises `graph-too-large` for more bytes than the viewers take."""
    if complaint := _too_large(size):
        raise WireworkError(
            "graph-too-large", f"the graph is too large: {complaint[0]}",
            expected=f"at most {MOST_BYTES:,} bytes", got=f"{size:,}",
            hint="leave out what hardly matters: --node-threshold 0.8 --edge-threshold 0.98",
        )  # fmt: skip


def _too_large(size: int) -> list[str]:
    if size <= MOST_BYTES:
        return []
    return [f"the file has {size / 2**20:.0f} MB: more than 100 MB is not taken"]


def _sentence(what: str, places: list[str]) -> str:
    shown = ", ".join(places[:_SHOWN])
    more = f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else ""
    return f"{shown}{more}: {what}"


_Found = Iterator[tuple[str, str]]


def _rules(graph: dict[str, Any]) -> _Found:
    nodes, links, length = graph["nodes"], graph["links"], len(graph["metadata"]["prompt_tokens"])
    cantor = graph["metadata"].get("schema_version", 0) >= 1
    for node in nodes:
        yield from _node_rules(node, length, cantor)
    rows = [_row(node["layer"]) for node in nodes if node["feature_type"] != "logit"]
    if not max((row for row in rows if row is not None), default=0) > 0:
        yield "nodes", "no layer above 0, where the page stops with 'No layer found' (rule 2)"
    if length < 2:
        yield "metadata.prompt_tokens", "of one token the local page hides all nodes (rule 4)"
    linked = {link["source"] for link in links} | {link["target"] for link in links}
    for node in nodes:
        if node["node_id"] not in linked and node["feature_type"] not in FREE:
            yield _name(node), "has no links, and is dropped (rule 6)"
    yield from _references(graph)


def _node_rules(node: dict[str, Any], length: int, cantor: bool) -> _Found:
    name, kind, clerp = _name(node), node["feature_type"], node["clerp"]
    row = _row(node["layer"])
    if row is None and node["layer"] != TOKEN_ROW:
        yield name, "a layer that is neither a number nor E (rule 1)"
    if kind == "logit" and not _readable_share(clerp):
        yield name, "the label of a logit without a number in '(p=...)' stops the page (rule 3)"
    if kind == "embedding" and clerp and not clerp.startswith("Emb: "):
        yield name, "the page writes its own label over that of a token (rule 7)"
    if _MARKUP.search(clerp):
        yield name, "a label with markup, which the page runs"
    if not 0 <= node["ctx_idx"] < length:
        yield name, "a position outside the prompt"
    for key in ("influence", "activation"):
        if node.get(key) is not None and not _finite(node[key]):
            yield name, f"an {key} that is no number, which JSON cannot say"
    if node.get("influence") is not None and not 0 <= node["influence"] <= 1:
        yield name, "an influence outside 0 to 1"
    feature = node["feature"]
    if not cantor or feature is None or "error" in kind or kind in _NO_FEATURE:
        return
    if feature < 0 or sum(cantor_inverse(int(feature))) >= LARGEST:
        yield name, f"a layer plus index of {LARGEST:,} or more misleads the page (rule 5)"
    elif row is not None and cantor_inverse(int(feature))[0] != row:
        yield name, "a feature number that is not Cantor's of its layer (schema_version 1)"


def _readable_share(clerp: str) -> bool:
    """Whether the page, which takes what follows the first '(p=', finds a number there."""
    parts = clerp.split("(p=")
    try:
        return len(parts) > 1 and math.isfinite(float(parts[1].split(")")[0]))
    except ValueError:
        return False


def _row(layer: str | int) -> float | None:
    return float(layer) if _ROW.fullmatch(str(layer)) else None


def _finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def _references(graph: dict[str, Any]) -> _Found:
    """Ids that are not what they should be: one node each, and a node for each."""
    nodes = graph["nodes"]
    ids = Counter(node["node_id"] for node in nodes)
    for one, count in ids.items():
        if count > 1:
            yield one, "an id that several nodes share"
    seen: set[tuple[str, str]] = set()
    for index, link in enumerate(graph["links"]):
        ends = (link["source"], link["target"])
        if not all(end in ids for end in ends):
            yield f"links[{index}]", "a link to a node that is not there, which is dropped"
        if ends in seen:
            yield f"links[{index}]", "a second link between the same nodes"
        seen.add(ends)
        if not _finite(link["weight"]):
            yield f"links[{index}]", "a weight that is no number, which JSON cannot say"
    only = graph.get("qk_only_nodes", {})
    for one in ids.keys() & only.keys():
        yield one, "in qk_only_nodes, though it is in nodes"
    for node in nodes:
        for one in _traced(node.get("qk_tracing_results") or {}):
            if one not in ids and one not in only:
                yield _name(node), "qk_tracing_results with an id that is nowhere described"
                break
    yield from _choices(graph["qParams"], ids)


def _traced(results: dict[str, Any]) -> Iterator[str]:
    for key in results:
        if key in ("pair_wise_contributors", *(f"top_{s}_marginal_contributors" for s in "qk")):
            for item in results[key]:
                yield from (str(end) for end in item[:-1])


def _choices(params: dict[str, Any], ids: Counter[str]) -> _Found:
    for one in params.get("pinnedIds", []):
        if one not in ids:
            yield f"pinnedIds {one}", "a node that is not there"
    for index, group in enumerate(params.get("supernodes", [])):
        where = f"supernodes[{index}]"
        if not isinstance(group, list) or not all(isinstance(item, str) for item in group):
            yield where, "is not a list of a label and ids"
        elif len(group) < 2 or not all(one in ids for one in group[1:]):
            yield where, "has no nodes, or names one that is not there"


def _name(node: dict[str, Any]) -> str:
    return f"node {json.dumps(node['node_id'])}"
