"""Nodes that can be drawn as one box: alike in the drawing, and shown to act as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wirework.viewer.activity import Activity, unity
from wirework.viewer.numbers import short

AS_ONE = 0.9
"""The least `unity` of a group that is offered."""

JOINED, NAMED = "joined to the same", "same label"


def find_groups(
    drawing: Mapping[str, Any], labels: Mapping[str, str], activity: Activity
) -> list[dict[str, Any]]:
    """Groups of two or more nodes; no node stands in two.

    Candidates are nodes of one place that are joined to the same nodes and answers, in and out, or
    else have the same label (`labels`: name -> text). Of these, a node joins the first group with
    which it acts as one: whose `unity` on the task's prompts stays at `AS_ONE` or more. A group has
    `members` (indices of nodes, rising), `why`, `unity`, and the `tokens` it was measured on.
    """
    nodes: Sequence[Mapping[str, Any]] = drawing["nodes"]
    joined: list[set[tuple[str, int | None, bool]]] = [set() for _ in nodes]
    for line in (*drawing["edges"], *drawing["links"]):
        source, target, kind = line["source"], line["target"], line["kind"]
        if target < len(nodes):
            joined[target].add((kind, source, False))
        if source is not None:
            joined[source].add((kind, target, True))
    places = [node["name"].rpartition(":")[0] for node in nodes]
    alike = [(place, frozenset(ends)) for place, ends in zip(places, joined, strict=True)]
    named = [
        (place, labels.get(node["name"], str(index)))
        for index, (place, node) in enumerate(zip(places, nodes, strict=True))
    ]
    found: list[dict[str, Any]] = []
    taken: set[int] = set()
    for why, keys in ((JOINED, alike), (NAMED, named)):
        classes: dict[Any, list[int]] = {}
        for index, key in enumerate(keys):
            if index not in taken:
                classes.setdefault(key, []).append(index)
        for members in classes.values():
            for group in _as_one(members, activity):
                value = short(unity(activity.values[:, group]))
                found.append(
                    {"members": group, "why": why, "unity": value, "tokens": len(activity.values)}
                )
                taken.update(group)
    return sorted(found, key=lambda group: group["members"][0])


def _as_one(candidates: Sequence[int], activity: Activity) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in candidates if len(candidates) > 1 else ():
        for group in groups:
            if unity(activity.values[:, [*group, index]]) >= AS_ONE:
                group.append(index)
                break
        else:
            groups.append([index])
    return [group for group in groups if len(group) > 1]
