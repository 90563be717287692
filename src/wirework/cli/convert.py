"""`wirework convert`: between our checkpoints and published files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wirework.cli.options import JSON, SEED
from wirework.cli.session import Session, session, settle_process

if TYPE_CHECKING:
    from wirework.model import Checkpoint


def convert(
    model: Annotated[str, typer.Argument(help="A run, a checkpoint, or openai:DIR.")],
    target: Annotated[str, typer.Argument(help="A folder for a checkpoint, or openai:DIR.")],
    means_from: Annotated[
        str | None,
        typer.Option("--means-from", help="Text to average activations over: as corpus.source."),
    ] = None,
    windows: Annotated[int, typer.Option(min=1, help="Windows of text for --means-from.")] = 256,
    neutral: Annotated[
        list[str] | None,
        typer.Option("--neutral", metavar="KEY", help="Pass over this key of beeg_config.json."),
    ] = None,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """Turn published files into a checkpoint, or a checkpoint into published files.

    Example: wirework convert openai:models/csp_yolo2 runs/yolo2 --means-from python-stdlib
    """
    with session(as_json) as run:
        settle_process()
        from wirework.core.files import require_replaceable
        from wirework.training.runs import OPENAI

        require_replaceable(Path(target.removeprefix(OPENAI)))
        checkpoint = _open(model, neutral or [])
        if means_from is not None:
            from wirework.training.text_means import with_means

            checkpoint = with_means(
                checkpoint, means_from, windows=windows, seed=seed, start=run.progress
            )
        remarks = _save(checkpoint, target)
        _show(run, checkpoint, target, remarks)


def _open(name: str, neutral: list[str]) -> Checkpoint:
    from wirework.interop import openai
    from wirework.training.runs import OPENAI, load_checkpoint

    if name.startswith(OPENAI):
        return openai.read(name.removeprefix(OPENAI), neutral=neutral)
    return load_checkpoint(name)


def _save(checkpoint: Checkpoint, target: str) -> list[str]:
    """Write the target; remarks on what was read before and on what was written."""
    from wirework.interop import openai
    from wirework.training.runs import OPENAI

    about = checkpoint.record.get(openai.RECORD, {})
    remarks = [*about.get("remarks", []), about["parity"]] if about else []
    if not target.startswith(OPENAI):
        checkpoint.save(target)
        return remarks
    folder = target.removeprefix(OPENAI)
    openai.write(checkpoint, folder)
    if checkpoint.means:
        remarks.append("reference means are not part of the published format")
    return [*remarks, f"written {openai.parity(checkpoint.model, Path(folder))}"]


def _show(run: Session, checkpoint: Checkpoint, target: str, remarks: list[str]) -> None:
    lines = [f"{target}: model {checkpoint.hash()[:12]}"]
    lines += [f"  {remark}" for remark in remarks]
    if not checkpoint.means:
        lines.append("  no reference means: circuits need them, see --means-from")
    value: dict[str, Any] = {
        "target": target,
        "model_hash": checkpoint.hash(),
        "remarks": remarks,
        "means": bool(checkpoint.means),
    }
    run.show("\n".join(lines), value)
