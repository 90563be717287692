"""`wirework view`: a circuit, two of them or a folder of them, as a page or served live."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.circuits import model_of
from wirework.cli.options import JSON
from wirework.cli.session import Session, require_targets, session
from wirework.core import WireworkError

if TYPE_CHECKING:
    from wirework.circuit import Circuit
    from wirework.model import Checkpoint

Pages = Mapping[str, Callable[[], str]]


def view(
    circuit: Annotated[Path | None, typer.Argument(help="A .circuit file.")] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write an HTML file instead of serving.")
    ] = None,
    other: Annotated[
        Path | None, typer.Option("--with", help="A second circuit, laid over the first.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option("--gallery", help="A folder: all circuits below it.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="A validation report.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Adds examples of text; served, it answers prompts too."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Pairs of the task to show.")] = 12,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server; 0: a free one.")
    ] = 0,
    open_: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open a browser. Default: only when serving."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Look at a circuit: a page that needs no network, served on this machine or as a file.

    Without --export a server answers on this machine alone until Ctrl-C; with --model it answers
    any prompt by the whole model too.

    Example: wirework view quote.circuit --model runs/tiny --export quote.html
    """
    with session(as_json) as run:
        _check(circuit, other, gallery, model, report)
        require_targets(export)
        if gallery is not None:
            if export is not None:
                _export_gallery(run, gallery, export, examples, bool(open_))
                return
            pages, answer = _gallery_pages(run, gallery, examples), None
        elif other is not None:
            assert circuit is not None
            pages, answer = {"/": _comparison(circuit, other)}, None
        else:
            assert circuit is not None
            pages, answer = _circuit(run, circuit, report, model, examples, live=export is None)
        if export is not None:
            _write(run, export, pages["/"](), bool(open_))
        else:
            _serve(run, pages, answer, port, open_ is not False and not as_json)


def _check(
    circuit: Path | None, other: Path | None, gallery: Path | None, model: str | None,
    report: Path | None,
) -> None:  # fmt: skip
    if (circuit is None) == (gallery is None):
        raise WireworkError(
            "view-what", "there has to be one thing to look at",
            expected="a circuit or --gallery FOLDER", got="neither" if circuit is None else "both",
            hint="wirework view quote.circuit",
        )  # fmt: skip
    if (other is not None or gallery is not None) and (model is not None or report is not None):
        raise WireworkError(
            "view-options", "a model and a report belong to a single circuit",
            expected="--model and --report without --with and --gallery",
        )  # fmt: skip
    if other is not None and gallery is not None:
        raise WireworkError(
            "view-options", "two circuits are compared, or a folder is shown",
            expected="--with or --gallery",
        )  # fmt: skip


def _circuit(
    run: Session, place: Path, report: Path | None, model: str | None, examples: int, *, live: bool
) -> tuple[Pages, Callable[[str], Mapping[str, Any]] | None]:
    from wirework.core import Report
    from wirework.viewer import render_page
    from wirework.viewer.beside import (
        evidence_beside,
        groups_beside,
        load_circuit,
        require_report_of,
    )
    from wirework.viewer.server import ASK
    from wirework.viewer.size_curve import measured_effects, size_curve

    found = load_circuit(place)
    loaded = None if report is None else Report.load(report)
    if loaded is not None:
        require_report_of(loaded, found)
    evidence, groups, answer = evidence_beside(place), groups_beside(place), None
    if model is not None:
        checkpoint = model_of(found, place, model)
        if live:
            from wirework.viewer.live import WholeModel

            whole = WholeModel(found, checkpoint.sparse(), checkpoint.config.context)
            answer = whole.answer
        evidence = _gathered(run, found, place, checkpoint, model)
    sizes = size_curve(found, measured_effects(evidence), start=run.progress)
    more = {"sizes": sizes, **({} if answer is None else {"live": ASK})}
    page = render_page(
        found, report=loaded, evidence=evidence, groups=groups, examples=examples, more=more
    )
    return {"/": lambda: page}, answer


def _gathered(
    run: Session, circuit: Circuit, place: Path, checkpoint: Checkpoint, model: str
) -> dict[str, Any]:
    """The evidence beside the circuit; text examples and effects are added where it has none of
    this circuit, and kept."""
    from wirework.circuit import every_node
    from wirework.explain import Evidence, evidence_path, top_examples
    from wirework.training.runs import training_windows

    kept = evidence_path(place)
    known = Evidence.load(kept) if kept.exists() else Evidence(circuit.model_hash, {})
    nodes = set(every_node(circuit.nodes))
    if set(known.nodes) != nodes:
        require_targets(kept)
        windows = training_windows(model, checkpoint.config.context)
        found = top_examples(circuit, checkpoint, windows, seed=0, start=run.progress)
        labels = {node: label for node, label in known.labels.items() if node in nodes}
        known = replace(found, labels=labels, predicates=known.predicates)
        known.save(kept)
    return known.to_json()


def _comparison(left: Path, right: Path) -> Callable[[], str]:
    from wirework.viewer.beside import load_circuit
    from wirework.viewer.comparison import comparison_page

    names = (left.stem, right.stem) if left.stem != right.stem else (str(left), str(right))
    page = comparison_page(load_circuit(left), load_circuit(right), names)
    return lambda: page


def _gallery_pages(run: Session, folder: Path, examples: int) -> Pages:
    """The gallery, and the page of each circuit, made when it is first asked for."""
    from functools import partial

    from wirework.viewer.gallery import find_circuits

    found = find_circuits(folder, start=run.progress)
    start = found.page(lambda entry: f"/circuit/{entry.name}")
    pages: dict[str, Callable[[], str]] = {
        f"/circuit/{entry.name}": partial(found.circuit_page, entry, examples=examples)
        for entry in found.entries
    }
    return {"/": lambda: start, **pages}


def _export_gallery(run: Session, folder: Path, out: Path, examples: int, open_: bool) -> None:
    from wirework.viewer.gallery import export_gallery

    found = export_gallery(folder, out, examples=examples, start=run.progress)
    value = {
        "page": str(out),
        "circuits": len(found.entries),
        "damaged": dict(found.damaged),
    }
    lines = [f"{out}: {len(found.entries)} circuits"]
    lines += [f"  not shown: {file}: {fault}" for file, fault in found.damaged]
    run.show("\n".join(lines), value)
    if open_:
        typer.launch(out.resolve().as_uri())


def _write(run: Session, out: Path, page: str, open_: bool) -> None:
    from wirework.core.files import write_text

    write_text(out, page)
    run.show(f"{out}: {out.stat().st_size / 1e6:.2f} MB", {"page": str(out)})
    if open_:
        typer.launch(out.resolve().as_uri())


def _serve(
    run: Session, pages: Pages, answer: Callable[[str], Mapping[str, Any]] | None, port: int,
    open_: bool,
) -> None:  # fmt: skip
    from wirework.viewer.server import address_of, create_app, open_socket, serve

    taken = open_socket(port)
    address = address_of(taken)

    def ready() -> None:
        run.show(f"{address}  (Ctrl-C ends it)", {"address": address, "live": answer is not None})
        if open_:
            threading.Thread(target=typer.launch, args=(address,), daemon=True).start()

    serve(create_app(pages, taken.getsockname()[1], answer), taken, ready)
