"""Wrong circuits that do badly by themselves, and circuits for tasks that the model fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
import torch

from wirework.ablation import PromptTensors
from wirework.core import Node, Site
from wirework.model import Taps
from wirework.planted.draft import Planted
from wirework.planted.letters import copy_previous
from wirework.planted.quotes import quote_with_decoys
from wirework.planted.shortcuts import NONSENSE, Shortcut, cancelled, inverting, nonsense
from wirework.tasks import Answers, Pair

_QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
"""The true circuit of `quote_with_decoys`."""


def missing_node(seed: int, size: int) -> Shortcut:
    """The true circuit of `copy_previous` without one of its nodes, chosen at random."""
    planted = copy_previous(size=size, seed=seed)
    names = sorted(planted.parts)
    left_out = names[int(np.random.default_rng(seed).integers(len(names)))]
    truth = planted.nodes(*names)
    why = f"The true circuit without the node {left_out!r}."
    return Shortcut(planted, truth - planted.nodes(left_out), truth, frozenset(), why)


def random_nodes(seed: int, size: int) -> Shortcut:
    """As many nodes at every site as the true circuit has."""
    planted = quote_with_decoys(size=size, decoys=3, seed=seed)
    truth = planted.nodes(*_QUOTE)
    why = "Random nodes, as many at every site as the true circuit has."
    return Shortcut(planted, _drawn(planted, truth, seed), truth, frozenset(), why)


def like_magnitude(seed: int, size: int) -> Shortcut:
    """For every node of the true circuit another one of its site that is about as active."""
    planted = quote_with_decoys(size=size, decoys=3, seed=seed)
    truth = planted.nodes(*_QUOTE)
    why = "For every node of the true circuit another one of its site, about as active."
    return Shortcut(planted, _as_active(planted, truth), truth, frozenset(), why)


def inverted_answer(seed: int, size: int) -> Shortcut:
    """The true circuit and a louder path to the wrong answer."""
    found = inverting(seed, size)
    why = "To the true circuit comes a louder path to the wrong answer, cancelled in the model."
    return replace(found, nodes=found.nodes | found.truth, why=why)


def shuffled_labels(seed: int, size: int) -> Shortcut:
    """Random nodes, and a task whose answers are turned in a random half of the pairs."""
    random = np.random.default_rng(seed)

    def shuffled(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        chosen = random.permutation(len(pairs)) % 2
        return tuple(_turned(p) if turn else p for p, turn in zip(pairs, chosen, strict=True))

    why = "The task has its answers turned in a random half of the pairs."
    return _other_pairs(seed, size, shuffled, why)


def constant_answers(seed: int, size: int) -> Shortcut:
    """Random nodes, and a task in which both sides open a double quote."""

    def constant(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        halves = zip(pairs[::2], pairs[1::2], strict=True)
        return tuple(replace(one, counterfactual=other.prompt) for one, other in halves)

    why = "Nothing in the prompts of the task tells its two sides apart."
    return _other_pairs(seed, size, constant, why)


def inverted_task(seed: int, size: int) -> Shortcut:
    """A circuit that answers with the wrong quote, and a task that asks for it."""
    found = inverting(seed, size)
    answers = found.planted.task.answers
    turned = {"double": answers["single"], "single": answers["double"]}
    return _other_answers(
        found, turned, "The task asks for the wrong quote, which only the circuit gives."
    )


def nonsense_answers(seed: int, size: int) -> Shortcut:
    """A circuit that names words, and a task that asks for them in place of quotes."""
    names = dict(zip(("double", "single"), NONSENSE, strict=True))
    answers = {name: Answers(tokens=(text,)) for name, text in names.items()}
    return _other_answers(
        nonsense(seed, size), answers, "The task asks for words, which only the circuit names."
    )


def _other_pairs(
    seed: int, size: int, change: Callable[[tuple[Pair, ...]], tuple[Pair, ...]], why: str
) -> Shortcut:
    """A model that closes strings, a task with other pairs, and random nodes."""
    found = cancelled(seed, size)
    task = found.planted.task
    parts = {split: change(pairs) for split, pairs in task.splits.items()}
    planted = replace(
        found.planted,
        task=replace(task, fit=parts["fit"], select=parts["select"], report=parts["report"]),
    )
    return _failed(replace(found, planted=planted, nodes=_drawn(planted, found.nodes, seed)), why)


def _other_answers(found: Shortcut, answers: Mapping[str, Answers], why: str) -> Shortcut:
    task = replace(found.planted.task, answers=answers)
    return _failed(replace(found, planted=replace(found.planted, task=task)), why)


def _failed(found: Shortcut, why: str) -> Shortcut:
    """Of a task that the model fails no circuit is right, and no node has a part in the answer."""
    return replace(found, truth=frozenset(), idle=frozenset(), why=why)


def _drawn(planted: Planted, like: Collection[Node], seed: int) -> frozenset[Node]:
    """Random nodes, as many at every site as `like` has there."""
    random = np.random.default_rng([seed, 1])
    found = set()
    for site, count in _counts(like).items():
        width = len(planted.checkpoint.means[site])
        found |= {Node(site, int(index)) for index in random.permutation(width)[:count]}
    return frozenset(found)


def _as_active(planted: Planted, like: Collection[Node]) -> frozenset[Node]:
    """For every node of `like` another one of its site with the nearest mean |activation|."""
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.fit)
    taps = Taps(record=list(_counts(like)))
    with torch.no_grad():
        checkpoint.model.read_out(prompts.tokens, taps)
    real = torch.arange(prompts.tokens.shape[1]) <= prompts.last[:, None]
    size = {site: value[real].abs().mean(0) for site, value in taps.values.items()}
    found: set[Node] = set()
    for node in sorted(like):
        gaps = (size[node.site] - size[node.site][node.index]).abs()
        order = (Node(node.site, int(index)) for index in torch.argsort(gaps, stable=True))
        found.add(next(other for other in order if other not in found and other not in like))
    return frozenset(found)


def _counts(nodes: Collection[Node]) -> dict[Site, int]:
    sites = sorted(node.site for node in nodes)
    return {site: sites.count(site) for site in sites}


def _turned(pair: Pair) -> Pair:
    return replace(pair, answer=pair.counter_answer, counter_answer=pair.answer)
