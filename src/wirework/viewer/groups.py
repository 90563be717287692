"""Nodes that can be drawn as one box: grouped by hand, or alike and shown to act as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from wirework.circuit import Groups
from wirework.viewer.activity import Activity, unity
from wirework.viewer.numbers import short

AS_ONE = 0.9
"""The least `unity` of a group that acts as one."""

MADE, JOINED, NAMED = "made by hand", "joined to the same", "same label"


def page_groups(
    drawing: Mapping[str, Any],
    labels: Mapping[str, str],
    activity: Activity | None,
    made: Groups | None = None,
) -> list[dict[str, Any]]:
    """Groups `made` by hand, and of the other nodes those found; no node stands in two.

    A group has `members` (indices of nodes, rising), `label` ("" for one that was found), `why`,
    `unity`, and the `tokens` it was measured on. `unity` is None where there is nothing to
    measure: one node alone, or no `activity`.
    """
    indices = {node["name"]: index for index, node in enumerate(drawing["nodes"])}
    groups = [
        _group(sorted(indices[str(node)] for node in group.nodes), MADE, activity, group.label)
        for group in (made.groups if made is not None else ())
    ]
    if activity is not None:
        taken = {member for group in groups for member in group["members"]}
        groups += find_groups(drawing, labels, activity, taken)
    return sorted(groups, key=lambda group: group["members"][0])


def _group(
    members: list[int], why: str, activity: Activity | None, label: str = ""
) -> dict[str, Any]:
    found = {"members": members, "label": label, "why": why}
    if activity is None or len(members) < 2:
        return {**found, "unity": None, "tokens": 0}
    values = activity.values[:, members]
    return {**found, "unity": short(unity(values)), "tokens": len(values)}


def named_boxes(made: Groups | None) -> set[str]:
    """Nodes in whose boxes the groups stand when they are folded: the first of every place."""
    found = set()
    for group in made.groups if made is not None else ():
        sites = {node.site for node in group.nodes}
        found |= {str(min(node for node in group.nodes if node.site == site)) for site in sites}
    return found


def find_groups(
    drawing: Mapping[str, Any],
    labels: Mapping[str, str],
    activity: Activity,
    taken: Collection[int] = frozenset(),
) -> list[dict[str, Any]]:
    """Groups of two or more nodes that are not `taken`, as in `page_groups`.

    Candidates are nodes of one place that are joined to the same nodes and answers, in and out, or
    else have the same label (`labels`: name -> text). Of these, a node joins the first group with
    which it acts as one: whose `unity` on the task's prompts stays at `AS_ONE` or more.
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
    used = set(taken)
    for why, keys in ((JOINED, alike), (NAMED, named)):
        classes: dict[Any, list[int]] = {}
        for index, key in enumerate(keys):
            if index not in used:
                classes.setdefault(key, []).append(index)
        for members in classes.values():
            for group in _as_one(members, activity):
                found.append(_group(group, why, activity))
                used.update(group)
    return found


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
