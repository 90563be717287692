"""Tasks that no model has learned, made from one that it has; a model that has learned nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirework.core import WireworkError
from wirework.core.errors import unknown_choice
from wirework.data import Tokenizer
from wirework.model import Checkpoint, Transformer, reference_means
from wirework.tasks import SPLITS, Answers, Complaint, Pair, Prompts, Task

NULL_KINDS = ("nonsense", "shuffled", "constant", "inverted")
"""`nonsense`: the answers are random tokens that have nothing to do with the prompts; the sides
still differ (weight_sparse_paper.md §10.2 a). `inverted`: every side wants the other's answers.
`shuffled`: half of the pairs of each split, drawn at random, are inverted, so that only who knows
each prompt can answer. `constant`: both sides want the answers of the first."""

_SCREEN = 16
"""Prompts on which a random token is tried before all of them."""


def null_task(task: Task, kind: str, tokenizer: Tokenizer, *, seed: int) -> Task:
    """The same prompts with other answers; encodes where `task` does.

    Raises `null-unknown`; `null-no-token` where no token of the vocabulary can stand after all
    prompts.
    """
    named = replace(task, name=f"{task.name} ({kind})", description=f"{kind}: {task.description}")
    random = np.random.default_rng([seed, 4])
    if kind == "nonsense":
        return replace(named, answers=_nonsense(task, tokenizer, random))
    if kind == "inverted":
        return _each_pair(named, lambda pairs: [_inverted(pair) for pair in pairs])
    if kind == "shuffled":
        return _each_pair(named, lambda pairs: _half_inverted(pairs, random))
    if kind == "constant":
        return ConstantTask(**{f.name: getattr(named, f.name) for f in fields(Task)})
    raise unknown_choice("null-unknown", "null task", kind, NULL_KINDS)


@dataclass(frozen=True)
class ConstantTask(Task):
    """A task both sides of which want the answers of the first; a file cannot say so."""

    def encode_leniently(
        self, tokenizer: Tokenizer, context: int | None
    ) -> tuple[dict[Any, Prompts | None], list[Complaint]]:
        parts, complaints = super().encode_leniently(tokenizer, context)
        constant = {split: part and _constant(part) for split, part in parts.items()}
        return constant, complaints

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "constant": True}


def reinitialised(checkpoint: Checkpoint, text: Iterable[Tensor], *, seed: int) -> Checkpoint:
    """The same architecture and sparsity pattern with weights that mean nothing.

    The nonzero values of every parameter that is trained change places among themselves, so that
    their spread stays too. Reference means are computed again, over `text`: batches of tokens
    (B, T).
    """
    model = Transformer(checkpoint.config)
    model.load_state_dict(checkpoint.model.state_dict())
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                places = parameter.flatten().nonzero()[:, 0]
                values = parameter.flatten()[places]
                order = torch.randperm(len(places), generator=random)
                parameter.view(-1)[places] = values[order]
    record = {**checkpoint.record, "reinitialised": seed}
    return Checkpoint(model, checkpoint.tokenizer, reference_means(model, text), 0, {}, record)


def _each_pair(task: Task, change: Callable[[Sequence[Pair]], list[Pair]]) -> Task:
    fit, select, report = (tuple(change(task.splits[split])) for split in SPLITS)
    return replace(task, fit=fit, select=select, report=report)


def _inverted(pair: Pair) -> Pair:
    return replace(pair, answer=pair.counter_answer, counter_answer=pair.answer)


def _half_inverted(pairs: Sequence[Pair], random: np.random.Generator) -> list[Pair]:
    chosen = random.permutation(len(pairs)) < len(pairs) // 2
    return [_inverted(p) if other else p for p, other in zip(pairs, chosen, strict=True)]


def _constant(prompts: Prompts) -> Prompts:
    half = len(prompts)
    wanted, other = (np.tile(x[:half], (2, 1)) for x in (prompts.wanted, prompts.other))
    return replace(prompts, wanted=wanted, other=other)


def _nonsense(task: Task, tokenizer: Tokenizer, random: np.random.Generator) -> dict[str, Answers]:
    """One token of its own for every named set of answers, none that any set holds."""
    pairs = [pair for split in SPLITS for pair in task.splits[split]]
    prompts = [text for pair in pairs for text in (pair.prompt, pair.counterfactual)]
    encoded = tokenizer.encode_many(prompts)
    few = slice(None, None, -(-len(prompts) // _SCREEN))

    def follows(token: int, which: slice) -> bool:
        text = tokenizer.token_text(token)
        continued = tokenizer.encode_many([prompt + text for prompt in prompts[which]])
        return continued == [[*ids, token] for ids in encoded[which]]

    meant = {*task.encode(tokenizer, None).answer_tokens().tolist(), tokenizer.end_of_text}
    tokens = (int(token) for token in random.permutation(tokenizer.vocab_size))
    free = (token for token in tokens if token not in meant)
    fit = (token for token in free if follows(token, few) and follows(token, slice(None)))
    found = dict(zip(task.answers, fit, strict=False))
    if len(found) < len(task.answers):
        raise WireworkError(
            "null-no-token",
            f"too few tokens can stand after every prompt of {task.name}",
            expected=f"{len(task.answers)} that are no answers of the task",
            got=str(len(found)),
        )
    return {name: Answers(tokens=(tokenizer.token_text(t),)) for name, t in found.items()}
