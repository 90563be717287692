"""`wirework explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from wirework.cli.circuits import CIRCUIT
from wirework.cli.explain_model import ModelQuestion
from wirework.cli.options import JSON, SEED
from wirework.cli.probe_reading import FEATURES, MAX_BYTES, TEXT
from wirework.cli.session import Session, session, settle_process

if TYPE_CHECKING:
    from wirework.explain import EdgeEffect, HeadSummary
    from wirework.explain.head_summary import PartSummary

_LEAST = 0.005
"""A part of a channel below this share of its largest is not listed, but with `--json`."""


def explain(
    circuit: CIRCUIT,
    edges: Annotated[
        bool, typer.Option("--edges", help="Only what cutting each edge alone costs.")
    ] = False,
    query_key: Annotated[
        bool, typer.Option("--query-key", help="Only why each head looks where it looks.")
    ] = False,
    labels: Annotated[
        bool, typer.Option("--labels", help="Only what feature each node tells; needs --model.")
    ] = False,
    weights: Annotated[
        int | None,
        typer.Option(
            "--weights",
            min=1,
            metavar="N",
            help="Only when the N edges with the largest effect matter in text; needs --model.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model that the circuit is of.")] = None,
    features: FEATURES = "python+characters",
    text: TEXT = "python-stdlib",
    max_bytes: MAX_BYTES = 300_000,
    pairs: Annotated[
        int, typer.Option(min=1, help="Pairs of the task's split `report` to measure on.")
    ] = 128,
    seed: SEED = 0,
    as_json: JSON = False,
) -> None:
    """What the parts of a circuit do: the exact effect of every edge, attention scores by channel,
    and, with a model, labels of its nodes and predicates of its edges, which are kept in the
    evidence file beside it.

    Example: wirework explain quote.circuit --labels --model runs/tiny
    """
    with session(as_json) as run:
        settle_process()
        if labels or weights is not None:
            asked = ModelQuestion(circuit, model, features, text, max_bytes, pairs, seed)
            asked.answer(run, labels, weights)
            return
        from wirework.ablation import PromptTensors
        from wirework.circuit import Circuit
        from wirework.data import Tokenizer
        from wirework.explain import edge_effects, summarise_heads
        from wirework.tasks import Task

        found = Circuit.load(circuit)
        tokenizer = Tokenizer.from_json(found.tokenizer)
        encoded = Task.from_json(found.task).encode(tokenizer, found.network.context)
        prompts = PromptTensors.of(encoded.report).first(pairs)
        value: dict[str, Any] = {"circuit": str(circuit), "pairs": len(prompts)}
        both = edges == query_key
        if edges or both:
            effects = edge_effects(found, prompts, start=run.progress)
            value["edges"] = [effect.to_json() for effect in effects]
            _show_edges(run, effects, len(prompts))
        if query_key or both:
            heads = summarise_heads(found, prompts.tokens.numpy(), prompts.last.numpy())
            value["heads"] = [head.to_json() for head in heads]
            for head in heads:
                _show_head(run, head)
            if not heads and not as_json:
                run.show("no head: the circuit keeps no value channel", None)
        if as_json:
            run.show("", value)


def _show_edges(run: Session, effects: tuple[EdgeEffect, ...], pairs: int) -> None:
    if run.as_json:
        return
    table = Table("edge", box=None, title=f"Each edge cut alone, on {pairs} pairs of report",
                  title_justify="left")  # fmt: skip
    for name in ("weight", "task_loss", "margin"):
        table.add_column(name, justify="right")
    for effect in effects:
        numbers = (f"{effect.weight:+.4f}", f"{effect.loss:+.4f}", f"{effect.margin:+.4f}")
        table.add_row(str(effect.edge), *numbers)
    run.show(table, None)


def _show_head(run: Session, head: HeadSummary) -> None:
    if run.as_json:
        return
    looks = ", ".join(f"{text!r} {share:.0%}" for text, share in head.looks_at)
    sink = "no sink" if head.sink is None else f"sink {head.sink:+.3f} takes {head.on_sink:.0%}"
    run.show(
        f"\nlayer {head.layer}, head {head.head}, at the last token: looks at {looks}\n"
        f"  {head.attention:.0%} of its attention is there; {sink}; "
        f"constant part of the score {head.constant:+.3f}",
        None,
    )
    table = Table("part of q k / sqrt(d_head)", box=None)
    for name in ("share", "weight", "there", "elsewhere"):
        table.add_column(name, justify="right")
    for channel in head.channels:
        name = f"{head.layer}.attn.q:{channel.index} x {head.layer}.attn.k:{channel.index}"
        table.add_row(name, f"{channel.share:.1%}", "", f"{channel.there:+.4f}",
                      f"{channel.elsewhere:+.4f}")  # fmt: skip
        for side, parts in (("q", channel.query), ("k", channel.key)):
            if parts is None:
                table.add_row(f"  {side}: held at a constant")
            for part in _worth(parts or ()):
                weight = "" if part.weight is None else f"{part.weight:+.4f}"
                elsewhere = "" if part.elsewhere is None else f"{part.elsewhere:+.4f}"
                table.add_row(f"  {side}: {part.source}", "", weight, f"{part.there:+.4f}",
                              elsewhere)  # fmt: skip
    run.show(table, None)


def _worth(parts: tuple[PartSummary, ...]) -> list[PartSummary]:
    """The parts that are large enough to be listed, the largest first."""
    sizes = [max(abs(part.there), abs(part.elsewhere or 0.0)) for part in parts]
    least = _LEAST * max(sizes, default=0.0)
    listed = [(size, part) for size, part in zip(sizes, parts, strict=True) if size > least]
    return [part for _, part in sorted(listed, key=lambda pair: -pair[0])]
