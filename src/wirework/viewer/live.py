"""Any prompt through the circuit and the whole model: what both answer, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.data import Tokenizer
from wirework.engine import Network, forward
from wirework.tasks import Task
from wirework.viewer.examples import answer_sets
from wirework.viewer.margins import answer_scores
from wirework.viewer.numbers import short

_TOP = 8


@dataclass(frozen=True, eq=False)
class WholeModel:
    """A circuit beside the network of the model that it was found in (`Checkpoint.sparse()`).

    `context`: the most tokens that a prompt may have.
    """

    circuit: Circuit
    network: Network
    context: int

    def answer(self, prompt: str) -> dict[str, Any]:
        """At the last token of the prompt: `sets`, lse of the logits of every answer set in the
        `model` and, where it runs alone, the `circuit`, both uncalibrated; `answers`, the logits
        of their tokens one by one; `top`, the model's likeliest tokens. `tokens`: the prompt's.

        Raises `prompt-empty`, `prompt-too-long` and `text-not-unicode`.
        """
        ids = self._tokenizer.encode(prompt)
        self._check(ids)
        rows, last = np.array([ids], dtype=np.int64), np.array([len(ids) - 1])
        whole = forward(self.network, rows, last=last).logits
        alone = self.circuit.logits(rows, last=last) if self.circuit.runs_alone else None

        def both(tokens: tuple[int, ...]) -> dict[str, float | int | None]:
            lone = self.circuit.network.answers
            return {
                "model": short(float(answer_scores(whole, self.network.answers, tokens)[0])),
                "circuit": (
                    None if alone is None else short(float(answer_scores(alone, lone, tokens)[0]))
                ),
            }

        text = self._tokenizer.token_text
        return {
            "tokens": [text(token) for token in ids],
            "sets": [{"name": name, **both(tokens)} for name, tokens in self._sets.items()],
            "answers": [
                {"set": name, "text": text(token), **both((token,))}
                for name, tokens in self._sets.items()
                for token in tokens
            ],
            "top": self._top(whole[0].astype(np.float64)),
        }

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_json(self.circuit.tokenizer)

    @cached_property
    def _sets(self) -> dict[str, tuple[int, ...]]:
        task = Task.from_json(self.circuit.task)
        return answer_sets(task, task.encode(self._tokenizer, self.circuit.network.context))

    def _check(self, ids: list[int]) -> None:
        if not ids:
            raise WireworkError(
                "prompt-empty", "there is nothing to answer", expected="at least one character"
            )
        if len(ids) > self.context:
            raise WireworkError(
                "prompt-too-long", "the prompt has more tokens than the model can read",
                expected=f"at most {self.context} tokens", got=f"{len(ids)} tokens",
            )  # fmt: skip

    def _top(self, logits: NDArray[np.float64]) -> list[dict[str, Any]]:
        shares = np.exp(logits - np.logaddexp.reduce(logits))
        best = np.argsort(-logits, kind="stable")[:_TOP]
        return [
            {
                "text": self._tokenizer.token_text(int(self.network.answers[column])),
                "logit": short(float(logits[column])),
                "share": short(float(shares[column])),
            }
            for column in best
        ]
