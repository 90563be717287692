"""`wirework info`: what a run, a checkpoint, a published model or a circuit is; the presets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from wirework.cli.options import JSON
from wirework.cli.session import Session, session


def info(
    name: Annotated[
        str,
        typer.Argument(
            metavar="X",
            help="A run, a checkpoint, reference/NAME, openai:DIR or a circuit; "
            "or the word presets or reference.",
        ),
    ],
    as_json: JSON = False,
) -> None:
    """Say what a run, a checkpoint or a circuit is; list the presets or the reference models.

    Example: wirework info runs/tiny
    """
    with session(as_json) as run:
        if name.endswith(".circuit") or Path(name).is_file():
            from wirework.circuit import Circuit

            circuit = Circuit.load(Path(name))
            values = {**circuit.info(), "provenance": dict(circuit.provenance)}
            run.show(str(circuit) + _circuit_rest(values), values)
        elif name == "presets":
            _show_presets(run)
        elif name == "reference":
            _show_references(run)
        else:
            values = _run_info(name)
            run.show(_run_text(values), values)


def _show_presets(run: Session) -> None:
    from wirework.training import preset, preset_names
    from wirework.training.size import size_of

    table = Table("preset", "parameters", "nonzeros", "density", "tokens", box=None)
    values = []
    for name in preset_names():
        config = preset(name)
        size = size_of(config)
        tokens = config.steps * config.batch * config.model.context
        values.append(
            {
                "name": name, "parameters": size.parameters, "projected_weights": size.projected,
                "nonzeros": size.nonzeros, "density": size.density, "tokens": tokens,
            }
        )  # fmt: skip
        shown = (
            f"{size.parameters:,}",
            f"{size.nonzeros:,}",
            f"{size.density:.2%}",
            f"{tokens:.2g}",
        )
        table.add_row(name, *shown)
    run.show(table, values)


def _show_references(run: Session) -> None:
    from wirework.training.reference_models import reference_cards

    columns = ("nonzeros", "density", "val_loss", "bits/byte", "dead neurons", "tokens")
    cards = reference_cards()
    table = Table(box=None)
    table.add_column("model", min_width=max((len(card["name"]) for card in cards), default=0))
    for column in columns:
        table.add_column(column)
    for card in cards:
        table.add_row(
            card["name"],
            f"{card['nonzeros']:,}",
            f"{card['density']:.2%}",
            f"{card['val_loss']:.3f}",
            f"{card['val_bits_per_byte']:.3f}",
            f"{card['dead_neurons']:.0f} of {card['neurons']}",
            f"{card['tokens']:.3g}",
        )
    run.show(table, cards)


def _circuit_rest(values: dict[str, Any]) -> str:
    shown = ("task_loss_raw", "task_accuracy", "model_loss", "model_accuracy", "runs_alone")
    lines = []
    for key in shown:
        value = values.get(key)
        if value is not None:
            text = f"{value:.4f}" if isinstance(value, float) else str(value).lower()
            lines.append(f"  {key:<17}  {text}")
    return "\n" + "\n".join(lines)


def _run_info(name: str) -> dict[str, Any]:
    from wirework.training.runs import load_checkpoint

    checkpoint = load_checkpoint(name)
    model = checkpoint.model
    matrices = {}
    for matrix in model.projected():
        nonzero, size = int(matrix.weight.count_nonzero()), matrix.weight.numel()
        matrices[matrix.name] = {"nonzeros": nonzero, "size": size, "density": nonzero / size}
    projected = sum(entry["size"] for entry in matrices.values())
    nonzeros = sum(entry["nonzeros"] for entry in matrices.values())
    beside = {"bigram": 0, "biases": 0, "gains": 0, "sinks": 0, "positions": 0}
    for parameter_name, parameter in model.named_parameters():
        kind = _kind_beside(parameter_name, matrices)
        if kind:
            beside[kind] += int(parameter.count_nonzero())
    return {
        "model_hash": checkpoint.hash(),
        "step": checkpoint.step,
        "config": checkpoint.record.get("config", {}) or {"model": checkpoint.config.plain()},
        "density": nonzeros / projected,
        "nonzeros": nonzeros,
        "projected_weights": projected,
        "matrices": matrices,
        "beside": beside,
        "losses": checkpoint.losses,
        "record": {k: v for k, v in checkpoint.record.items() if k != "config"},
    }


def _kind_beside(name: str, projected: dict[str, Any]) -> str | None:
    if name in projected:
        return None
    last = name.rpartition(".")[2]
    return {"bias": "biases", "gain": "gains", "sink": "sinks"}.get(last, last)


def _run_text(values: dict[str, Any]) -> str:
    lines = [
        f"model {values['model_hash'][:12]}, step {values['step']}",
        f"  projected weights  {values['projected_weights']:,}",
        f"  nonzeros           {values['nonzeros']:,} ({values['density']:.2%})",
    ]
    lines += [
        f"  {kind:<18} {count:,} (beside)" for kind, count in values["beside"].items() if count
    ]
    lines += [f"  {name:<18} {value:.5g}" for name, value in values["losses"].items()]
    published = values["record"].get("openai", {})
    lines += [f"  {remark}" for remark in published.get("remarks", [])]
    lines += [f"  {published['parity']}"] if published else []
    lines.append("  matrices")
    for name, entry in values["matrices"].items():
        lines.append(
            f"    {name:<28} {entry['nonzeros']:>9,} of {entry['size']:>9,}  {entry['density']:.2%}"
        )
    return "\n".join(lines)
