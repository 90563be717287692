"""`wirework discover | validate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.options import JSON, RESUME, SEED, SETTINGS
from wirework.cli.session import Session, require_targets, session, settle_process

if TYPE_CHECKING:
    from wirework.circuit import Circuit
    from wirework.core import Report
    from wirework.model import Checkpoint

CIRCUIT = Annotated[Path, typer.Argument(help="A .circuit file.")]
MODEL = Annotated[str, typer.Option("--model", help="The run in which the circuit was found.")]

_GROUPS_HELP = (
    "Only this group of tests; may be repeated: fit (loss, accuracy), controls (random circuits), "
    "exactness (the same numbers), subsets (the rest restored), mechanism (works alike), "
    "hypotheses (p-values), nulls (searches in vain), inputs (prompts changed), exhaustive (every "
    "prompt of a domain), stability (searches again). Default: all but stability, which takes as "
    "long as several searches."
)


def discover(
    model: Annotated[str, typer.Argument(help="A run, RUN@STEP, or a checkpoint folder.")],
    task: Annotated[str, typer.Argument(help="A shipped task or a file of your own.")],
    out: Annotated[Path, typer.Option("--out", help="The .circuit file to write.")],
    target_loss: Annotated[float, typer.Option(help="Task loss in nats to meet.")] = 0.15,
    settings: SETTINGS = None,
    seed: SEED = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Search from this many seeds; keep the fewest edges.")
    ] = 1,
    unlearned_ok: Annotated[
        bool, typer.Option("--unlearned-ok", help="Go on though the model misses the target.")
    ] = False,
    resume: RESUME = False,
    as_json: JSON = False,
) -> None:
    """Find the smallest circuit that carries a task.

    Example: wirework discover runs/tiny python/single_double_quote --out runs/tiny/quote.circuit
    """
    with session(as_json) as run:
        settle_process()
        out = _circuit_path(out)
        require_targets(out)
        from wirework.discovery import DiscoveryConfig, discover
        from wirework.tasks import load_task
        from wirework.tasks.check import refuse_local
        from wirework.training.runs import count_models, load_checkpoint

        config = DiscoveryConfig.parse({"target_loss": target_loss}).override(settings or [])
        asked = load_task(task)
        checkpoint = load_checkpoint(model)
        refuse_local(asked, checkpoint.tokenizer, count_models(model))
        found = []
        for number in range(seed, seed + seeds):
            state = _state_path(out, number)
            if not resume:
                state.unlink(missing_ok=True)
            found.append(
                discover(
                    checkpoint, asked, config=config, seed=number, state=state,
                    unlearned_ok=unlearned_ok, start=run.progress,
                )
            )  # fmt: skip
            _tell_found(run, number, found[-1])
        best = min(found, key=lambda circuit: (circuit.n_edges, circuit.n_nodes))
        best.save(out)
        for number in range(seed, seed + seeds):
            _state_path(out, number).unlink(missing_ok=True)
        _show_found(run, out, best, found)


def _circuit_path(out: Path) -> Path:
    return out if out.suffix == ".circuit" else out.with_name(out.name + ".circuit")


def _state_path(out: Path, seed: int) -> Path:
    return out.with_name(f".{out.stem}.seed-{seed}.state")


def _tell_found(run: Session, seed: int, circuit: Circuit) -> None:
    loss, accuracy = circuit.losses["task_loss"], circuit.losses["task_accuracy"]
    run.tell(
        f"seed {seed}: {circuit.n_nodes} nodes, {circuit.n_edges} edges, "
        f"task_loss {loss:.3f}, task_accuracy {accuracy:.3f}"
    )


def _show_found(run: Session, out: Path, best: Circuit, found: list[Circuit]) -> None:
    from statistics import median

    edges = [circuit.n_edges for circuit in found]
    lines = [str(best), f"  saved as           {out}"]
    if len(found) > 1:
        lines.append(f"  edges by seed      {edges}, median {median(edges):g}")
    value: dict[str, Any] = {**best.info(), "circuit": str(out), "edges_by_seed": edges}
    run.show("\n".join(lines), {**value, "median_edges": median(edges)})


def validate(
    circuit: CIRCUIT,
    model: MODEL,
    out: Annotated[Path | None, typer.Option("--out", help="Write the report as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw its curves: a .png or .svg file.")
    ] = None,
    badge: Annotated[
        Path | None, typer.Option("--badge", help="Draw its verdict: an .svg file.")
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help=_GROUPS_HELP),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only what is answered quickly.")] = False,
    settings: SETTINGS = None,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """Test a circuit against its model; exit code 1 if a bar is missed.

    Example: wirework validate quote.circuit --model runs/tiny --out report.json
    """
    with session(as_json) as run:
        settle_process()
        require_targets(out, badge, picture=plot)
        from wirework.circuit import Circuit
        from wirework.validation import validate
        from wirework.validation.groups import require_curves, usual_config

        groups = [*(group or []), *(["quick"] if quick else [])]
        config = usual_config(groups).override(settings or [])
        if plot is not None:
            require_curves(groups)

        found = Circuit.load(circuit)
        checkpoint = model_of(found, circuit, model)
        report = validate(
            found, checkpoint, groups=groups, config=config, seed=seed, start=run.progress,
            announce=lambda times: run.tell(_times(times)),
        )  # fmt: skip
        run.show(f"{report}\n{_verdict(report)}", report.to_json())
        if out is not None:
            report.save(out)
        _draw(report, plot, badge, task=str(found.task["name"]))
        if not report.passed:
            raise typer.Exit(1)


def model_of(found: Circuit, place: Path, model: str) -> Checkpoint:
    """Open the model that a circuit was found in; `place`: the circuit's file.

    Raises `circuit-model-mismatch` and those of `load_checkpoint`.
    """
    from wirework.ablation import require_model_of
    from wirework.training.runs import load_checkpoint, name_of_model

    checkpoint = load_checkpoint(model)
    require_model_of(
        found, checkpoint, circuit_name=str(place), model_name=model,
        right_model=partial(name_of_model, found.model_hash, found.model_step, near=model),
    )  # fmt: skip
    return checkpoint


def _draw(report: Report, plot: Path | None, badge: Path | None, *, task: str) -> None:
    from wirework.core.files import write_text
    from wirework.plots import badge as badge_of
    from wirework.plots import draw_validation

    if plot is not None:
        draw_validation(report, plot, title=task)
    if badge is not None:
        write_text(badge, badge_of(report, task=task))


def _verdict(report: Report) -> str:
    """The verdict in words, with what every missed bar would mean."""
    missed = report.details["verdict"]["missed"]
    lacking = ", ".join(report.details["verdict"]["lacking"])
    lines = [
        f"  {one['measure']} {report[one['measure']].value:.3g}: {one['says']}"
        + (" (decisive)" if one["decisive"] else "")
        for one in missed
    ]
    if report.verdict == "undecided":
        lines.append(f"  not measured: {lacking} (wirework validate --quick measures what decides)")
    return "\n".join([f"{report.verdict}" + (", because" if lines else ""), *lines])


def _times(seconds: Mapping[str, float]) -> str:
    total = sum(seconds.values())
    parts = ", ".join(f"{name} {time:.0f} s" for name, time in seconds.items())
    return f"about {total:.0f} s here: {parts}"
