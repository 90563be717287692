"""`wirework graph export | check | groups`: circuits for other programs, and what comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.circuits import CIRCUIT
from wirework.cli.options import JSON
from wirework.cli.session import Session, session, settle_process
from wirework.core import WireworkError
from wirework.core.errors import unknown_choice

if TYPE_CHECKING:
    from wirework.circuit import Circuit
    from wirework.interop.evidence import Told
    from wirework.interop.neuronpedia import GraphConfig

graph = typer.Typer(
    help="Circuits for other programs: attribution graphs, GraphML, DOT, pictures; groups of nodes "
    "made in their viewers.",
    no_args_is_help=True, rich_markup_mode=None,
)  # fmt: skip

_FORMATS = {".json": "neuronpedia", ".graphml": "graphml", ".dot": "dot", ".gv": "dot",
            ".svg": "picture", ".png": "picture", "": "circuit-tracer"}  # fmt: skip
"""Ending of --out -> the format that is meant."""

_ATTRIBUTION = ("prompt", "pair", "counterfactual", "groups", "answers", "node-threshold",
                "edge-threshold", "slug", "scan", "features-url")  # fmt: skip
_USED = {
    "neuronpedia": _ATTRIBUTION,
    "circuit-tracer": _ATTRIBUTION[:-1],
    "graphml": ("link",),
    "dot": ("link",),
    "picture": ("width",),
}
"""Format -> the options that it has a use for; all have one for --evidence."""


@graph.command()
def export(
    circuit: CIRCUIT,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="A .json, .graphml, .dot, .svg or .png file, or a folder for "
            "circuit-tracer's server.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="neuronpedia, circuit-tracer, graphml, dot or picture (default: as --out ends).",
        ),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="Graphs: the text to run.")] = None,
    pair: Annotated[
        int | None, typer.Option(min=0, help="Graphs: a pair of the task's `report` (default 0).")
    ] = None,
    counterfactual: Annotated[
        bool, typer.Option("--counterfactual", help="Graphs: the other side of that pair.")
    ] = False,
    evidence: Annotated[
        Path | None, typer.Option(help="Labels, effects, examples (default: the file beside).")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Graphs: groups of nodes (default: the file beside).")
    ] = None,
    answers: Annotated[
        int | None, typer.Option(min=1, help="Graphs: so many answers at most (default 10).")
    ] = None,
    node_threshold: Annotated[
        float | None, typer.Option(help="Graphs: nodes with this share of influence (default 1).")
    ] = None,
    edge_threshold: Annotated[
        float | None, typer.Option(help="Graphs: links with this share of influence (default 1).")
    ] = None,
    slug: Annotated[str | None, typer.Option(help="Graphs: their name in addresses.")] = None,
    scan: Annotated[
        str | None, typer.Option(help="Graphs: the model's name in the viewer.")
    ] = None,
    features_url: Annotated[
        str | None, typer.Option(help="Graphs: where the viewer finds details of features.")
    ] = None,
    link: Annotated[
        list[str] | None,
        typer.Option(
            help="GraphML, DOT: residual, steer, unembedding, embedding or none, beside "
            "weights; may be repeated (default: the first three)."
        ),
    ] = None,
    width: Annotated[float | None, typer.Option(help="Pictures: their width in inches.")] = None,
    as_json: JSON = False,
) -> None:
    """Write a circuit in a format that other programs read.

    Example: wirework graph export quote.circuit --out quote.json --prompt "x = 'abc"
    """
    given: dict[str, Any] = {
        "prompt": prompt, "pair": pair, "counterfactual": counterfactual or None,
        "groups": groups, "answers": answers, "node-threshold": node_threshold,
        "edge-threshold": edge_threshold, "slug": slug, "scan": scan,
        "features-url": features_url, "link": link, "width": width,
    }  # fmt: skip
    with session(as_json) as run:
        settle_process()
        from wirework.circuit import Circuit

        kind = _kind(out, to)
        asked = {name: value for name, value in given.items() if value is not None}
        _refuse_unused(kind, asked)
        found = Circuit.load(circuit)
        told = _told(found, circuit, evidence)
        if kind in ("graphml", "dot"):
            value = _export_plain(found, told, out, kind, asked.get("link"))
        elif kind == "picture":
            value = _export_picture(found, told, out, width)
        else:
            value = _export_graph(found, circuit, told, out, kind, asked)
        _show(run, {"file": str(out), "to": kind, **value})


def _kind(out: Path, to: str | None) -> str:
    kind = to or _FORMATS.get(out.suffix.lower())
    if kind is None:
        raise WireworkError(
            "graph-format", f"{out.name} does not say which format is meant",
            expected=f"a name that ends in {', '.join(filter(None, _FORMATS))}, or --to",
            got=out.suffix, hint=str(out.with_suffix(".graphml")),
        )  # fmt: skip
    if kind not in _USED:
        raise unknown_choice("graph-format", "format", kind, _USED)
    return kind


def _refuse_unused(kind: str, asked: Mapping[str, Any]) -> None:
    unused = [f"--{name}" for name in asked if name not in _USED[kind]]
    if unused:
        raise WireworkError(
            "option-unused", f"{', '.join(unused)} means nothing for {kind}",
            expected=", ".join(f"--{name}" for name in _USED[kind]), got=", ".join(unused),
        )  # fmt: skip
    if "prompt" in asked and ("pair" in asked or "counterfactual" in asked):
        raise WireworkError(
            "prompt-twice", "a graph is of one prompt", expected="--prompt TEXT or --pair NUMBER",
            got="both",
        )  # fmt: skip


def _told(circuit: Circuit, place: Path, named: Path | None) -> Told:
    from wirework.core.files import read_json
    from wirework.explain import evidence_path
    from wirework.interop.evidence import Told, read_evidence

    path = named or evidence_path(place)
    if named is None and not path.exists():
        return Told()
    return read_evidence(circuit, read_json(path))


def _export_plain(
    circuit: Circuit, told: Told, out: Path, kind: str, links: list[str] | None
) -> dict[str, Any]:
    from wirework.core.files import write_text
    from wirework.interop.circuit_graph import USUAL, circuit_graph
    from wirework.interop.dot import to_dot
    from wirework.interop.graphml import to_graphml

    wanted = USUAL if links is None else [link for link in links if link != "none"]
    nodes, joined = circuit_graph(circuit, told, links=wanted)
    if kind == "graphml":
        text = to_graphml(nodes, joined)
    else:
        text = to_dot(nodes, joined, title=str(circuit.task.get("name", "")))
    write_text(out, text)
    return {"nodes": len(nodes), "links": len(joined)}


def _export_picture(circuit: Circuit, told: Told, out: Path, width: float | None) -> dict[str, Any]:
    from wirework.viewer.picture import circuit_picture

    points = circuit_picture(
        circuit,
        out,
        labels={str(node): label for node, label in told.labels.items()},
        effects={str(node): effect for node, effect in told.effects.items()},
        width=width,
    )
    return {"letter_points": round(points, 2)}


def _export_graph(
    circuit: Circuit, place: Path, told: Told, out: Path, kind: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    import numpy as np

    from wirework.circuit.groups import Groups, groups_path
    from wirework.core.files import write_text
    from wirework.data import Tokenizer
    from wirework.interop import neuronpedia

    path = asked.get("groups") or groups_path(place)
    groups = Groups.load(path) if "groups" in asked or path.exists() else None
    config = _config(asked, local=kind == "circuit-tracer")
    tokens = Tokenizer.from_json(circuit.tokenizer).encode(_prompt(circuit, asked))
    whole = neuronpedia.attribution_graph(
        circuit, np.array(tokens, dtype=np.int64), labels=told.labels, groups=groups, config=config
    )
    value: dict[str, Any] = {"nodes": len(whole["nodes"]), "links": len(whole["links"])}
    if kind == "neuronpedia":
        write_text(out, neuronpedia.graph_text(whole))
    else:
        value["graph"] = str(neuronpedia.write_graph_folder(out, circuit, whole, told.examples))
        value["serve"] = f"circuit-tracer start-server --graph_file_dir {out}"
        value["address"] = neuronpedia.address(whole)
    return {**value, "complaints": neuronpedia.check_graph(whole)}


def _config(asked: Mapping[str, Any], *, local: bool) -> GraphConfig:
    from wirework.interop.neuronpedia import GraphConfig

    names = {"answers": "logits"}
    fields = {names.get(name, name.replace("-", "_")): value for name, value in asked.items()}
    known = {name: value for name, value in fields.items() if name in GraphConfig.model_fields}
    return GraphConfig.parse({**known, "local": local, "created_ms": int(time.time() * 1000)})


def _prompt(circuit: Circuit, asked: Mapping[str, Any]) -> str:
    from wirework.tasks import Task

    if "prompt" in asked:
        return str(asked["prompt"])
    pairs = Task.from_json(circuit.task).report
    number: int = asked.get("pair", 0)
    if number >= len(pairs):
        raise WireworkError(
            "pair-unknown", f"the task's split `report` has no pair {number}",
            expected=f"0 to {len(pairs) - 1}", got=str(number),
        )  # fmt: skip
    return pairs[number].counterfactual if "counterfactual" in asked else pairs[number].prompt


def _show(run: Session, value: dict[str, Any]) -> None:
    lines = [f"{value['file']} ({value['to']})"]
    for name, text in value.items():
        if name not in ("file", "to", "complaints"):
            lines.append(f"  {name.replace('_', ' '):<14} {text}")
    lines += [f"  {complaint}" for complaint in value.get("complaints", [])]
    run.show("\n".join(lines), value)


@graph.command()
def check(
    file: Annotated[Path, typer.Argument(help="A graph as JSON, of this or another program.")],
    as_json: JSON = False,
) -> None:
    """Say what is wrong with an attribution graph; exit code 1 if anything is.

    Example: wirework graph check quote.json
    """
    with session(as_json) as run:
        from wirework.interop.neuronpedia import check_graph_file

        complaints = check_graph_file(file)
        lines = complaints or [f"{file}: the viewers can show it"]
        run.show("\n".join(lines), {"file": str(file), "complaints": complaints})
        if complaints:
            raise typer.Exit(1)


@graph.command()
def groups(
    file: Annotated[Path, typer.Argument(help="A graph of `graph export`, saved by a viewer.")],
    circuit: CIRCUIT,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file of groups (default: beside the circuit).")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Read the groups that were made in a viewer back as groups of the circuit's nodes.

    Example: wirework graph groups quote.json quote.circuit
    """
    with session(as_json) as run:
        from wirework.circuit import Circuit
        from wirework.circuit.groups import groups_path
        from wirework.core.files import read_json
        from wirework.interop.neuronpedia import read_groups

        found = read_groups(read_json(file))
        found.groups.require_of(Circuit.load(circuit))
        place = out or groups_path(circuit)
        found.groups.save(place)
        lines = [f"{place}: {len(found.groups.groups)} groups"]
        lines += [f"  {one.label}: {len(one.nodes)} nodes" for one in found.groups.groups]
        if found.groups.pinned:
            lines.append(f"  pinned besides: {len(found.groups.pinned)} nodes")
        lines += [f"  {remark}" for remark in found.remarks]
        value = {**found.groups.to_json(), "file": str(place), "remarks": list(found.remarks)}
        run.show("\n".join(lines), value)
