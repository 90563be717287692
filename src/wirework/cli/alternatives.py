"""`wirework alternatives`: the other circuits of the same task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from wirework.cli.circuits import CIRCUIT, MODEL, model_of
from wirework.cli.options import JSON, RESUME
from wirework.cli.session import session, settle_process
from wirework.core import Node

if TYPE_CHECKING:
    from wirework.circuit import Circuit
    from wirework.discovery import Alternatives


def alternatives(
    circuit: CIRCUIT,
    model: MODEL,
    most: Annotated[int, typer.Option(min=1, help="Search so many times at most.")] = 64,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for them (default: beside the circuit).")
    ] = None,
    resume: RESUME = False,
    as_json: JSON = False,
) -> None:
    """Look for other circuits of the same task: search again without each node, and so on below.

    Every search is the circuit's own, with nodes forbidden, and takes at least as long.

    Example: wirework alternatives quote.circuit --model runs/tiny --most 16
    """
    with session(as_json) as run:
        settle_process()
        from wirework.circuit import Circuit
        from wirework.discovery import alternatives
        from wirework.discovery.alternatives_folder import alternative_path
        from wirework.tasks import Task
        from wirework.validation.recipe import recipe_of

        first = Circuit.load(circuit)
        checkpoint = model_of(first, circuit, model)
        config, task = recipe_of(first), Task.from_json(first.task)
        folder = out or circuit.with_suffix(".alternatives")
        found = alternatives(
            checkpoint, task, first, config=config, seed=int(first.recipe.get("seed", 0)),
            most=most, folder=folder, resume=resume, start=run.progress,
        )  # fmt: skip
        others = range(1, len(found.circuits))
        places = [circuit, *(alternative_path(folder, number) for number in others)]
        rows = [_row(*one, first) for one in zip(places, found.circuits, strict=True)]
        text = Group(_table(rows), *_told(found), f"saved in {folder}")
        run.show(text, {**_value(found), "folder": str(folder), "circuits": rows})


def _row(place: Path, circuit: Circuit, first: Circuit) -> dict[str, Any]:
    """`shared_nodes`: Jaccard index of the nodes of both."""
    shared, _ = first.graph().jaccard(circuit.graph())
    return {
        "circuit": str(place),
        "nodes": circuit.n_nodes,
        "edges": circuit.n_edges,
        "select_loss": circuit.losses.get("select_loss"),
        "shared_nodes": shared,
    }


def _value(found: Alternatives) -> dict[str, Any]:
    return {
        "complete": found.complete,
        "unique": found.unique,
        "searches": found.searches,
        "left": found.left,
        "needed": _names(found.needed),
        "unasked": _names(found.unasked),
    }


def _table(rows: Iterable[dict[str, Any]]) -> Table:
    table = Table("circuit", box=None)
    for name in ("nodes", "edges", "select loss", "shared nodes"):
        table.add_column(name, justify="right")
    for row in rows:
        loss = row["select_loss"]
        cells = ("-" if loss is None else f"{loss:.4f}", f"{row['shared_nodes']:.2f}")
        table.add_row(Path(row["circuit"]).name, str(row["nodes"]), str(row["edges"]), *cells)
    return table


def _told(found: Alternatives) -> list[str]:
    """How far the searches went, and without which nodes they found nothing."""
    count = len(found.circuits)
    if found.unique:
        said = "complete: no search found another circuit"
    elif found.complete:
        said = f"complete: {count} circuits, and no other that these searches would find"
    else:
        said = f"at least {found.left} searches left: --resume with a higher --most goes on"
    lines = [
        f"{found.searches} searches; {said}",
        f"needed, none found without it: {', '.join(_names(found.needed)) or 'no node'}",
    ]
    if found.unasked:
        lines.append(f"in every circuit, not forbidden yet: {', '.join(_names(found.unasked))}")
    return lines


def _names(nodes: Iterable[Node]) -> list[str]:
    return [str(node) for node in sorted(nodes)]
