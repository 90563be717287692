"""`wirework explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from wirework.cli.circuits import CIRCUIT
from wirework.cli.options import JSON, SEED
from wirework.cli.probe import FEATURES, MAX_BYTES, TEXT
from wirework.cli.session import Session, session, settle_process
from wirework.core import Node, WireworkError

if TYPE_CHECKING:
    from wirework.explain import EdgeEffect, HeadSummary, NodeLabel
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
    and, with a model, labels of its nodes, which are kept in the evidence file beside it.

    Example: wirework explain quote.circuit --labels --model runs/tiny
    """
    with session(as_json) as run:
        settle_process()
        if labels:
            named = _label(run, circuit, model, features, text, max_bytes, seed)
            run.show(_label_table(named), {str(n): label.to_json() for n, label in named.items()})
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


def _label(
    run: Session, place: Path, model: str | None, features: str, text: str, max_bytes: int,
    seed: int,
) -> Mapping[Node, NodeLabel]:  # fmt: skip
    from wirework.circuit import Circuit
    from wirework.explain import Evidence, evidence_path, label_nodes
    from wirework.explain.token_classes import shipped_features
    from wirework.probing import ProbedModel, feature_set
    from wirework.training import load_checkpoint

    if model is None:
        raise WireworkError(
            "labels-need-model", "labels are looked for in the activations of the whole model",
            expected="--model", hint="wirework explain CIRCUIT --labels --model RUN",
        )  # fmt: skip
    circuit = Circuit.load(place)
    asked = shipped_features(features) or feature_set(features)
    labelled = ProbedModel.load(model).label(asked, text, max_bytes, run.progress)
    found = label_nodes(
        circuit, load_checkpoint(model), labelled, seed=seed, features=asked, start=run.progress
    )
    kept = evidence_path(place)
    known = Evidence.load(kept) if kept.exists() else Evidence(circuit.model_hash, {})
    replace(known, labels=found).save(kept)
    return found


def _label_table(labels: Mapping[Node, NodeLabel]) -> Table:
    table = Table(title="What each node tells, on held-out documents; F1 beside that of always\n"
                  "saying yes; share of its effect on the task that this explains",
                  title_justify="left", box=None)  # fmt: skip
    table.add_column("node", no_wrap=True)
    for name in ("F1", "95%", "yes", "share"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("tells", overflow="fold")
    for node, label in labels.items():
        best, share = label.best, label.share.value
        if best is None or not label.explained:
            table.add_row(str(node), *4 * ("",), f"(unexplained: {label.unexplained})")
            continue
        table.add_row(
            str(node), f"{best.f1:.2f}", f"{best.low:.2f}-{best.high:.2f}",
            f"{best.chance_f1:.2f}", "-" if share is None else f"{share:.0%}",
            f"{'' if best.direction == 'on' else 'off: '}{best}",
        )  # fmt: skip
    return table


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
