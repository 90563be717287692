"""Prompts of the task that the page has at hand, its answer sets, and heads to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wirework.circuit import Circuit
from wirework.data import Tokenizer
from wirework.tasks import NO_TOKEN, EncodedTask, Task


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


def show_examples(circuit: Circuit, task: Task, pairs: Sequence[int]) -> list[dict[str, Any]]:
    """Prompts at hand: for each of `pairs`, of `report`, its template and its two sides.

    A side, prompt or counterfactual, has its `text`, the `ids` and texts of its `tokens`, and the
    answer sets that it `wants` and is compared `against`. The page runs the circuit on it.
    """
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    found = []
    for index in pairs:
        pair = task.report[index]
        sides = (
            (pair.prompt, pair.answer, pair.counter_answer),
            (pair.counterfactual, pair.counter_answer, pair.answer),
        )
        found.append(
            {"template": pair.template, "sides": [_side(tokenizer, *side) for side in sides]}
        )
    return found


def _side(tokenizer: Tokenizer, text: str, wants: str, against: str) -> dict[str, Any]:
    ids = tokenizer.encode(text)
    tokens = [tokenizer.token_text(token) for token in ids]
    return {"text": text, "ids": ids, "tokens": tokens, "wants": wants, "against": against}


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
