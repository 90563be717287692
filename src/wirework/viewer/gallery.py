"""All circuits below a folder on one page: small drawings, verdicts, which nodes tasks share."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wirework.circuit import Circuit, every_node
from wirework.core import Node, WireworkError
from wirework.core.files import write_text
from wirework.core.progress import StartProgress, silent
from wirework.data import Tokenizer
from wirework.tasks import Task
from wirework.viewer.beside import evidence_beside, groups_beside, load_circuit, report_beside
from wirework.viewer.drawing import draw
from wirework.viewer.examples import answer_sets
from wirework.viewer.numbers import share, short, shown
from wirework.viewer.page import document, render_page
from wirework.viewer.size_curve import ranked_curve

MOST_CIRCUITS = 500
_STYLES = ("base.css", "panels.css", "gallery.css")
_SHOWN_LINES = 300
_SHOWN_NODES = 120


@dataclass(frozen=True)
class Entry:
    """One circuit of a gallery. `file`: its path below the folder; `name`: a name for its page,
    of letters, digits, `.`, `_` and `-`; `shown`: what the gallery says of it; `nodes`: kept."""

    file: str
    name: str
    model: str
    task: str
    nodes: frozenset[str]
    shown: Mapping[str, Any]


@dataclass(frozen=True)
class Gallery:
    """What was found in a folder: circuits, and files that are none (path, what is wrong)."""

    folder: Path
    entries: tuple[Entry, ...]
    damaged: tuple[tuple[str, str], ...]

    def page(self, address: Callable[[Entry], str]) -> str:
        """The gallery as an HTML page; `address`: where the page of a circuit is."""
        content = {
            "title": f"circuits in {self.folder.name or self.folder}",
            "damaged": [{"file": file, "fault": fault} for file, fault in self.damaged],
            "circuits": [{**entry.shown, "href": address(entry)} for entry in self.entries],
            "maps": _maps(self.entries),
        }
        return document(content, main="gallery.js", styles=_STYLES)

    def circuit_page(self, entry: Entry, *, examples: int = 12) -> str:
        """The page of one circuit, with its report, evidence and groups where they lie beside it.
        Its `seen_in` names the other circuits of its model and task that hold a node."""
        path = self.folder / entry.file
        circuit = load_circuit(path)
        rivals = [
            other
            for other in self.entries
            if (other.model, other.task) == (entry.model, entry.task) and other != entry
        ]
        seen = {
            str(node): [other.file for other in rivals if str(node) in other.nodes]
            for node in every_node(circuit.nodes)
        }
        evidence = evidence_beside(path)
        return render_page(
            circuit, report=report_beside(path, circuit), evidence=evidence,
            groups=groups_beside(path), examples=examples,
            more={"seen_in": seen, "sizes": ranked_curve(circuit, evidence)},
        )  # fmt: skip


def find_circuits(folder: Path | str, *, start: StartProgress = silent) -> Gallery:
    """Every `.circuit` file below a folder, by path; what cannot be read is told beside them.

    Raises `file-missing`, `gallery-empty` where there is none, `gallery-too-large` beyond
    `MOST_CIRCUITS`.
    """
    root = Path(folder).resolve()
    if not root.is_dir():
        raise WireworkError(
            "file-missing", f"there is no folder {folder}", expected="a folder with .circuit files"
        )
    files = sorted(path for path in root.rglob("*.circuit") if path.is_file())
    if not files:
        raise WireworkError(
            "gallery-empty", f"there is no circuit in {folder}",
            expected="a folder with .circuit files, at any depth",
            hint="wirework sweep RUN --tasks all --out runs/sweep",
        )  # fmt: skip
    if len(files) > MOST_CIRCUITS:
        raise WireworkError(
            "gallery-too-large", f"{folder} holds too many circuits for one page",
            expected=f"at most {MOST_CIRCUITS}", got=f"{len(files)}",
        )  # fmt: skip
    entries: list[Entry] = []
    damaged: list[tuple[str, str]] = []
    with start("gallery", len(files)) as progress:
        for path in files:
            file = path.relative_to(root).as_posix()
            try:
                entries.append(_entry(path, file, f"{len(entries):03d}-{_safe(file)}", root))
            except WireworkError as error:
                said = error.message.replace(str(path), file)
                damaged.append((file, f"{said} ({error.code})"))
            progress.advance()
    return Gallery(root, tuple(entries), tuple(damaged))


def export_gallery(
    folder: Path | str, out: Path, *, examples: int = 12, start: StartProgress = silent
) -> Gallery:
    """Write the gallery to the HTML file `out`, and each circuit's page into a folder beside it,
    `OUT-pages`. Raises those of `find_circuits`."""
    gallery = find_circuits(folder, start=start)
    pages = out.with_name(f"{out.stem}-pages")
    with start("pages", len(gallery.entries)) as progress:
        for entry in gallery.entries:
            page = gallery.circuit_page(entry, examples=examples)
            write_text(pages / f"{entry.name}.html", page)
            progress.advance()
    write_text(out, gallery.page(lambda entry: f"{_quoted(pages.name)}/{entry.name}.html"))
    return gallery


def _safe(file: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", file.removesuffix(".circuit"))[-80:]


def _quoted(name: str) -> str:
    return "".join(
        char if re.fullmatch(r"[A-Za-z0-9._-]", char) else
        "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
        for char in name
    )  # fmt: skip


def _entry(path: Path, file: str, name: str, root: Path) -> Entry:
    if not path.resolve().is_relative_to(root):
        raise WireworkError("gallery-outside", "a link that leads out of the folder")
    circuit = load_circuit(path)
    report = report_beside(path, circuit)
    losses, size = circuit.losses, circuit.sizes
    missed = [] if report is None else [
        measure for measure, found in report.measures.items() if found.passed is False
    ]  # fmt: skip
    task = str(circuit.task.get("name", ""))
    told = {
        "file": file,
        "task": task,
        "seed": str(circuit.recipe.get("seed", "")),
        "nodes": size.nodes,
        "edges": size.edges,
        "loss": short(losses.get("task_loss", float("nan"))),
        "loss_text": shown(losses.get("task_loss")),
        "accuracy": share(losses.get("task_accuracy")),
        "model": f"{circuit.model_hash[:12]}, step {circuit.model_step:,}",
        "verdict": None if report is None else report.verdict,
        "passed": None if report is None else report.passed,
        "missed": missed,
        "drawing": _small(circuit),
    }
    nodes = frozenset(str(node) for node in every_node(circuit.nodes))
    return Entry(file, name, circuit.model_hash, task, nodes, told)


def _small(circuit: Circuit) -> dict[str, Any]:
    """A drawing of boxes and weights alone: places as shares of width and height; of the lines the
    heaviest, [from, to, weight]."""
    task = Task.from_json(circuit.task)
    encoded = task.encode(Tokenizer.from_json(circuit.tokenizer), circuit.network.context)
    whole = draw(circuit, answer_sets(task, encoded))
    wide, high = max(1, len(whole["columns"]) - 1), whole["height"] or 1.0
    count = len(whole["nodes"]) + len(whole["answers"])
    lines = [
        [line["source"], line["target"], line["weight"]]
        for line in [*whole["edges"], *whole["links"]]
        if line["kind"] in ("edge", "unembedding", "residual")
    ]
    heaviest = sorted(lines, key=lambda line: -abs(line[2] or 0))[:_SHOWN_LINES]
    return {
        "points": [[round(c / wide, 3), round(y / high, 3)] for c, y in whole["points"][:count]],
        "answers": len(whole["answers"]),
        "lines": heaviest,
    }


# -- which tasks share which nodes


def _maps(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """For each model with several circuits: by task and node, the share of the task's circuits
    that hold the node. Nodes of two circuits at least; beyond `_SHOWN_NODES` the most shared."""
    found = []
    for model in dict.fromkeys(entry.model for entry in entries):
        here = [entry for entry in entries if entry.model == model]
        tasks = sorted({entry.task for entry in here})
        held = {node: sum(node in entry.nodes for entry in here) for node in _all_nodes(here)}
        shared = [node for node, count in held.items() if count > 1]
        most = sorted(shared, key=lambda node: (-held[node], Node.parse(node)))[:_SHOWN_NODES]
        nodes = sorted(most, key=Node.parse)
        if nodes:
            found.append(
                {
                    "model": here[0].shown["model"],
                    "circuits": len(here),
                    "tasks": [_row(task, [e for e in here if e.task == task], nodes)
                              for task in tasks],
                    "nodes": nodes,
                    "tasks_of": [len({e.task for e in here if node in e.nodes}) for node in nodes],
                    "shared": len(shared),
                }
            )  # fmt: skip
    return found


def _all_nodes(entries: Collection[Entry]) -> list[str]:
    return sorted({node for entry in entries for node in entry.nodes}, key=Node.parse)


def _row(task: str, circuits: list[Entry], nodes: list[str]) -> dict[str, Any]:
    counts = [sum(node in entry.nodes for entry in circuits) for node in nodes]
    return {"task": task, "circuits": len(circuits), "counts": counts}
