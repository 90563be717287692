"""Groups there and back: the `supernodes` and `pinnedIds` of an attribution graph.

A graph shows a node once for every position at which it is not zero; our groups name nodes. So a
group becomes a supernode of all its places, and a supernode becomes a group of all its nodes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from wirework.circuit.groups import Group, Groups
from wirework.core import Node, WireworkError
from wirework.interop.neuronpedia.ids import parse_feature_id

KEPT = "wirework_groups"
"""The key under which an exported graph keeps its groups whole."""

LAYERS = "wirework_layers"
"""The key of its metadata for the number of layers, on which the ids of nodes depend."""


def query_params(groups: Groups | None, places: Mapping[Node, Sequence[str]]) -> dict[str, Any]:
    """`qParams` of a graph; `places`: ids of every node that it shows. Grouped nodes are pinned:
    the viewers show supernodes of pinned nodes only."""
    supernodes, pinned = [], []
    if groups is not None:
        for group in groups.groups:
            ids = [place for node in group.nodes for place in places.get(node, ())]
            pinned += ids
            if ids:
                supernodes.append([group.label, *ids])
        pinned += [place for node in sorted(groups.pinned) for place in places.get(node, ())]
    return {
        "pinnedIds": pinned,
        "supernodes": supernodes,
        "linkType": "both",
        "clickedId": "",
        "sg_pos": "",
    }


@dataclass(frozen=True)
class ReadGroups:
    """Groups as a viewer saved them, with `remarks` on what has no counterpart here."""

    groups: Groups
    remarks: tuple[str, ...]


def read_groups(graph: Any) -> ReadGroups:
    """Supernodes and pinned nodes of a graph that this program wrote and a viewer saved.

    A node whose places stand in several supernodes joins the one that has most of them, the first
    of equal ones. Nodes of a group that this prompt could not show stay with its other nodes.
    Raises `graph-foreign`, `graph-groups-malformed`.
    """
    n_layer, kept, shown = _origin(graph)
    supernodes, pins = _parameters(graph)
    remarks: list[str] = []
    votes: dict[Node, Counter[int]] = {}
    for number, (label, ids) in enumerate(supernodes):
        for node in _nodes(ids, n_layer, shown, label, remarks):
            votes.setdefault(node, Counter())[number] += 1
    members: list[list[Node]] = [[] for _ in supernodes]
    for node, counts in votes.items():
        if len(counts) > 1:
            remarks.append(f"{node} stands in {len(counts)} supernodes and joins one")
        members[max(counts, key=lambda number: (counts[number], -number))].append(node)
    groups = [
        Group(label, tuple(nodes))
        for (label, _), nodes in zip(supernodes, members, strict=True)
        if nodes
    ]
    visible = {found[0] for one in shown if (found := parse_feature_id(one, n_layer))}
    groups = _with_hidden(groups, kept, visible)
    pinned = {*_nodes(pins, n_layer, shown, "pinned", remarks), *(kept.pinned - visible)}
    pinned -= {node for group in groups for node in group.nodes}
    return ReadGroups(Groups(kept.model_hash, tuple(groups), frozenset(pinned)), tuple(remarks))


def _origin(graph: Any) -> tuple[int, Groups, set[str]]:
    """Layers of the model, the groups that the graph was written with, the ids that it shows."""
    try:
        n_layer = int(graph["metadata"][LAYERS])
        kept = graph[KEPT]
        shown = {str(node["node_id"]) for node in graph["nodes"]}
    except (KeyError, TypeError, ValueError) as error:
        raise WireworkError(
            "graph-foreign",
            "this graph was not written by wirework",
            expected="a graph of `wirework graph export`, as a viewer saved it",
            got=f"{type(error).__name__}: {error}"[:200],
        ) from None
    return n_layer, Groups.from_json(kept, "the graph"), shown


def _parameters(graph: Any) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """Supernodes and pinned ids. The local page saves them as they stand in its address: a JSON
    text, and ids with commas between them."""
    try:
        params = graph["qParams"]
        supernodes, pinned = params.get("supernodes") or [], params.get("pinnedIds") or []
        if isinstance(supernodes, str):
            supernodes = json.loads(supernodes)
        if isinstance(pinned, str):
            pinned = pinned.split(",")
        if not _texts(pinned) or not all(_texts(one) and one for one in supernodes):
            raise TypeError("supernodes that are no lists of texts")
        return [(one[0], one[1:]) for one in supernodes], pinned
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise WireworkError(
            "graph-groups-malformed",
            "the graph's supernodes cannot be read",
            expected="qParams with supernodes [label, id, ...] and pinnedIds [id, ...]",
            got=f"{type(error).__name__}: {error}"[:200],
        ) from None


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _nodes(
    ids: Sequence[str], n_layer: int, shown: Collection[str], where: str, remarks: list[str]
) -> list[Node]:
    """The node of every id; a remark for ids that are no nodes of the circuit."""
    found = [parse_feature_id(one, n_layer) if one in shown else None for one in ids]
    passed = [one for one, place in zip(ids, found, strict=True) if place is None]
    if passed:
        named = ", ".join(passed[:4])
        remarks.append(f"{where}: {len(passed)} ids are no nodes of the circuit: {named}")
    return [place[0] for place in found if place is not None]


def _with_hidden(groups: list[Group], kept: Groups, visible: Collection[Node]) -> list[Group]:
    """With the nodes of the exported groups that the graph could not show, because they are zero
    at every position of its prompt or were left out; in the order of the exported groups."""
    found = list(groups)
    home = {node: i for i, group in enumerate(groups) for node in group.nodes}
    rank: dict[int, int] = {}
    for number, old in enumerate(kept.groups):
        hidden = tuple(node for node in old.nodes if node not in visible)
        seen = Counter(home[node] for node in old.nodes if node in home)
        if seen:
            place = max(seen, key=lambda one: (seen[one], -one))
            # Nodes of the old group first, in the order in which they stood.
            order = {node: rank for rank, node in enumerate(old.nodes)}
            nodes = sorted((*found[place].nodes, *hidden), key=lambda n: order.get(n, len(order)))
            found[place] = replace(found[place], nodes=tuple(nodes))
            rank.setdefault(place, number)
        elif len(hidden) == len(old.nodes):
            rank[len(found)] = number
            found.append(old)
    places = sorted(range(len(found)), key=lambda place: rank.get(place, len(kept.groups)))
    return [found[place] for place in places]
