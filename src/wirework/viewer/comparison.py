"""Two circuits as one drawing: what they share, what only one of them has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from wirework.circuit import Circuit
from wirework.core import Node
from wirework.core.files import write_text
from wirework.core.names import READ_SITES, WRITE_SITES
from wirework.data import Tokenizer
from wirework.tasks import Task
from wirework.viewer.drawing import draw
from wirework.viewer.examples import answer_sets
from wirework.viewer.layout import Box, Line, place
from wirework.viewer.numbers import share, short, shown
from wirework.viewer.page import document

BOTH, LEFT, RIGHT = "both", "left", "right"
_HEIGHTS = {"node": 30.0, "answer": 40.0, "tokens": 9.0}
_STYLES = ("base.css", "panels.css", "compare.css")


def comparison_content(left: Circuit, right: Circuit, names: tuple[str, str]) -> dict[str, Any]:
    """The data of a page that lays `right` over `left`; `names`: what the user calls the two.

    Nodes, weights and links are the same where their names are: a channel of one model is not that
    of another, which `notes` then says. Raises what `page_content` raises about a task.
    """
    graphs = [left.graph(), right.graph()]
    nodes, edges = graphs[0].jaccard(graphs[1])
    return {
        "title": f"{names[0]} and {names[1]}",
        "names": list(names),
        "circuits": [_about(circuit) for circuit in (left, right)],
        "notes": _notes(left, right),
        "shares": [
            _overlap("nodes", graphs[0].nodes, graphs[1].nodes, nodes),
            _overlap("edges", graphs[0].edges, graphs[1].edges, edges),
        ],
        "drawing": _union([_drawing(left), _drawing(right)]),
    }


def comparison_page(left: Circuit, right: Circuit, names: tuple[str, str]) -> str:
    """The same as an HTML page."""
    content = comparison_content(left, right, names)
    return document(content, main="compare.js", styles=_STYLES)


def export_comparison(
    path: Path | str, left: Circuit, right: Circuit, names: tuple[str, str]
) -> None:
    write_text(Path(path), comparison_page(left, right, names))


def _about(circuit: Circuit) -> dict[str, str]:
    losses = circuit.losses
    return {
        "task": str(circuit.task.get("name", "")),
        "nodes": f"{circuit.n_nodes:,}",
        "edges": f"{circuit.n_edges:,}",
        "loss": shown(losses.get("task_loss")),
        "accuracy": share(losses.get("task_accuracy")),
        "model": f"{circuit.model_hash[:12]}, step {circuit.model_step:,}",
        "seed": str(circuit.recipe.get("seed", "–")),
    }


def _notes(left: Circuit, right: Circuit) -> list[str]:
    notes = []
    if left.model_hash != right.model_hash:
        notes.append(
            "The two were found in models with other weights. Equal names are equal places: they "
            "mean the same channel only in checkpoints of one run."
        )
    if left.task.get("name") != right.task.get("name"):
        notes.append("The two do different tasks.")
    if left.ablation != right.ablation:
        notes.append(f"What was cut is held otherwise: {left.ablation} and {right.ablation}.")
    return notes


def _overlap(
    what: str, left: Collection[Any], right: Collection[Any], jaccard: float
) -> dict[str, Any]:
    common = len(set(left) & set(right))
    return {
        "what": what,
        BOTH: common,
        LEFT: len(left) - common,
        RIGHT: len(right) - common,
        "jaccard": shown(jaccard),
    }


def _drawing(circuit: Circuit) -> dict[str, Any]:
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    return draw(circuit, answer_sets(task, encoded))


# -- the union


def _union(drawings: list[dict[str, Any]]) -> dict[str, Any]:
    """Nodes, edges and links of both in one layout; each says in which it is (`in`)."""
    nodes = _sorted_nodes(drawings)
    answers = _joined([{one["name"]: one for one in drawing["answers"]} for drawing in drawings])
    columns, column_of = _columns(drawings)
    boxes = {name: Box(column_of[name], _HEIGHTS["node"], _wires(name)) for name in nodes}
    boxes |= {f"answer {name}": Box(len(columns) - 1, _HEIGHTS["answer"]) for name in answers}
    edges = _joined([_lines(drawing, "edges") for drawing in drawings])
    links = _joined([_lines(drawing, "links") for drawing in drawings])
    for _, source, target in links:
        if source is None:
            channel = Node.parse(target).index
            boxes[f"tokens {channel}"] = Box(0, _HEIGHTS["tokens"], frozenset([channel]))
    index = {name: position for position, name in enumerate(boxes)}
    ends = [*edges, *links]
    layout = place(list(boxes.values()), [_line(index, *line) for line in ends])
    drawn = [
        {
            "kind": kind,
            "source": None if source is None else index[source],
            "target": index[target],
            "route": route,
            **_sides([line and short(line["weight"]) for line in {**edges, **links}[key]]),
        }
        for key, route in zip(ends, layout.routes, strict=True)
        for kind, source, target in [key]
    ]
    return {
        "columns": columns,
        "points": [[c, round(y, 1)] for c, y in zip(layout.columns, layout.y, strict=True)],
        "height": round(layout.height, 1),
        "nodes": [
            {
                **{key: node[key] for key in ("name", "label", "words")},
                "in": _where(pair),
            }
            for pair in nodes.values()
            for node in [pair[0] or pair[1]]
        ],
        "answers": [{"name": name, "in": _where(pair)} for name, pair in answers.items()],
        "edges": drawn[: len(edges)],
        "links": drawn[len(edges) :],
    }


def _joined(sides: list[dict[Any, Any]]) -> dict[Any, list[Any]]:
    """Key -> what the left and the right have there, None where nothing."""
    keys = dict.fromkeys([*sides[0], *sides[1]])
    return {key: [side.get(key) for side in sides] for key in keys}


def _sorted_nodes(drawings: list[dict[str, Any]]) -> dict[str, list[Any]]:
    found = _joined([{node["name"]: node for node in drawing["nodes"]} for drawing in drawings])
    return dict(sorted(found.items(), key=lambda item: Node.parse(item[0])))


def _where(pair: list[Any]) -> str:
    if pair[0] is None:
        return RIGHT
    return LEFT if pair[1] is None else BOTH


def _sides(weights: list[Any]) -> dict[str, Any]:
    return {"in": _where(weights), LEFT: weights[0], RIGHT: weights[1]}


def _columns(
    drawings: list[dict[str, Any]],
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The columns of both in order of computation, and the column of every node."""
    first: dict[tuple[Any, str], Any] = {}
    place_of: dict[str, tuple[Any, str]] = {}
    heads: dict[tuple[Any, str], dict[str, Any]] = {}
    for drawing in drawings:
        for node, (column, _) in zip(drawing["nodes"], drawing["points"], strict=False):
            head = drawing["columns"][column]
            key = (head["layer"], head["heading"])
            site = Node.parse(node["name"]).site
            first[key] = min(first.get(key, site), site)
            heads[key], place_of[node["name"]] = head, key
    order = sorted(first, key=lambda key: first[key])
    ends = drawings[0]["columns"]
    columns = [ends[0], *(heads[key] for key in order), ends[-1]]
    return columns, {name: order.index(key) + 1 for name, key in place_of.items()}


def _lines(drawing: dict[str, Any], kind: str) -> dict[tuple[str, str | None, str], Any]:
    """(kind, source, target) by name -> line; the tokens are no box and have no name."""
    names = [node["name"] for node in drawing["nodes"]]
    names += [f"answer {answer['name']}" for answer in drawing["answers"]]
    return {
        (
            line["kind"],
            None if line["source"] is None else names[line["source"]],
            names[line["target"]],
        ): line
        for line in drawing[kind]
    }


def _line(index: Mapping[str, int], kind: str, source: str | None, target: str) -> Line:
    wired = kind in ("embedding", "residual")
    channel = Node.parse(target).index if wired else None
    return Line(index[source or f"tokens {channel}"], index[target], channel)


def _wires(name: str) -> frozenset[int]:
    node = Node.parse(name)
    residual = node.site.kind in (*READ_SITES, *WRITE_SITES)
    return frozenset([node.index]) if residual else frozenset()
