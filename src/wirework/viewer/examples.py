"""Prompts of the task, run through the circuit alone: what every node does at every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit, every_node
from wirework.data import Tokenizer
from wirework.engine import Trace
from wirework.tasks import NO_TOKEN, EncodedTask, Prompts, Task
from wirework.viewer.numbers import short, shorts


def answer_sets(task: Task, encoded: EncodedTask) -> dict[str, tuple[int, ...]]:
    """Name of every answer set that the task uses -> all its token ids, rising."""
    found: dict[str, set[int]] = {}
    for split, prompts in (
        (task.fit, encoded.fit),
        (task.select, encoded.select),
        (task.report, encoded.report),
    ):
        sides = [pair.answer for pair in split] + [pair.counter_answer for pair in split]
        for name, wanted in zip(sides, prompts.wanted, strict=True):
            found.setdefault(name, set()).update(int(token) for token in wanted)
    return {name: tuple(sorted(found[name] - {NO_TOKEN})) for name in task.answers if name in found}


def chosen_pairs(task: Task, count: int) -> list[int]:
    """Pairs of `report`, by turns from every template, so that few show much; first come first."""
    turns: dict[str, int] = {}
    order = []
    for index, pair in enumerate(task.report):
        turn = turns[pair.template] = turns.get(pair.template, -1) + 1
        order.append((turn, index))
    return [index for _, index in sorted(order)[:count]]


def show_examples(
    circuit: Circuit, task: Task, report: Prompts, pairs: Sequence[int]
) -> list[dict[str, Any]]:
    """One value for each of `pairs`: its template and two sides, prompt and counterfactual.

    A side has `tokens`, the set that it `wants`, and if the circuit runs alone `values` (node by
    token), `margins` (by token, calibrated), `attention` (see `_attention`).
    """
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    found = []
    for index in pairs:
        pair = task.report[index]
        prompts = report.take([index])
        trace = None
        if circuit.runs_alone:
            trace = circuit.trace(prompts.tokens, np.float64, record=True)
        wants = (pair.answer, pair.counter_answer)
        found.append(
            {
                "template": pair.template,
                "sides": [
                    {
                        "wants": wants[row],
                        "against": wants[1 - row],
                        **_side(circuit, tokenizer, prompts, trace, row),
                    }
                    for row in (0, 1)
                ],
            }
        )
    return found


def _side(
    circuit: Circuit, tokenizer: Tokenizer, prompts: Prompts, trace: Trace | None, row: int
) -> dict[str, Any]:
    length = int(prompts.last[row]) + 1
    texts = [tokenizer.token_text(int(token)) for token in prompts.tokens[row, :length]]
    if trace is None:
        return {"tokens": texts}
    one = replace(
        trace,
        logits=trace.logits[row, :length],
        sites={site: values[row, :length] for site, values in trace.sites.items()},
        attention={k: v[row, :, :length, :length] for k, v in trace.attention.items()},
        sink={k: v[row, :, :length] for k, v in trace.sink.items()},
    )
    nodes = every_node(circuit.nodes)
    margin = _margins(circuit, one.logits, prompts.wanted[row], prompts.other[row])
    scale, shift = circuit.calibration.scale, circuit.calibration.shift
    return {
        "tokens": texts,
        "values": [shorts(one.sites[node.site][:, node.index]) for node in nodes],
        "margins": shorts(scale * margin + (shift if row == 0 else -shift)),
        "raw_margin": short(float(margin[-1])),
        "attention": _attention(circuit, one),
    }


def _margins(
    circuit: Circuit,
    logits: NDArray[np.floating[Any]],
    wanted: NDArray[np.int64],
    other: NDArray[np.int64],
) -> NDArray[np.float64]:
    """lse(wanted logits) - lse(other logits) at every position, (T)."""
    columns = {int(token): column for column, token in enumerate(circuit.network.answers)}
    sides = []
    for tokens in (wanted, other):
        chosen = [columns[int(token)] for token in tokens if token != NO_TOKEN]
        sides.append(np.logaddexp.reduce(logits[:, chosen].astype(np.float64), axis=1))
    return np.asarray(sides[0] - sides[1], dtype=np.float64)


def kept_heads(circuit: Circuit) -> list[tuple[int, int]]:
    """(layer, head) of every head with a kept value channel: the ones that move something."""
    width = circuit.network.d_head
    heads = {
        (site.layer, index // width)
        for site, kept in circuit.nodes.items()
        if site.kind == "attn.v" and site.layer is not None
        for index in kept
    }
    return sorted(heads)


def show_heads(circuit: Circuit) -> list[dict[str, Any]]:
    """By head of `kept_heads`: its place, and whether a kept query or key steers it."""
    width = circuit.network.d_head
    steered = {
        (site.layer, index // width)
        for site, kept in circuit.nodes.items()
        if site.kind in ("attn.q", "attn.k")
        for index in kept
    }
    return [
        {"layer": layer, "head": head, "steered": (layer, head) in steered}
        for layer, head in kept_heads(circuit)
    ]


def _attention(circuit: Circuit, trace: Trace) -> list[dict[str, Any]]:
    """By head of `kept_heads`: `weights`, for every token its attention on the tokens up to it;
    `sink`: the share that stands on no token."""
    return [
        {
            "weights": [shorts(row[: t + 1]) for t, row in enumerate(trace.attention[layer][head])],
            "sink": shorts(trace.sink[layer][head]),
        }
        for layer, head in kept_heads(circuit)
    ]


def largest_values(
    circuit: Circuit, examples: Sequence[Mapping[str, Any]]
) -> list[float | int | None]:
    """By node, its largest magnitude on the examples: the darkest colour. 0 without values."""
    count = sum(len(kept) for kept in circuit.nodes.values())
    rows = [side["values"] for pair in examples for side in pair["sides"] if "values" in side]
    return [
        short(max((abs(v) for values in rows for v in values[node] if v is not None), default=0))
        for node in range(count)
    ]
