"""Circuit and whole model before prompts of one's own making."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, calibrated
from wirework.tasks import Pair
from wirework.tasks.complaint import Source
from wirework.tasks.encode import Findings as Complaints
from wirework.tasks.encode import Prompts, encode_pairs
from wirework.validation.subject import Subject


@dataclass(frozen=True)
class Judged:
    """Margins of the answers that are right, (2, N) each: row 0 for the prompts of the pairs, row
    1 for their counterfactuals. `circuit`: calibrated."""

    pairs: tuple[Pair, ...]
    circuit: NDArray[np.float64]
    model: NDArray[np.float64]

    @property
    def apart(self) -> NDArray[np.bool_]:
        """Where the two give different answers, (2, N)."""
        return np.not_equal(self.circuit > 0, self.model > 0)

    def example(self, side: int, index: int) -> dict[str, Any]:
        """One prompt with what is said to it, as JSON values."""
        pair = self.pairs[index]
        return {
            "text": (pair.prompt, pair.counterfactual)[side],
            "answer": (pair.answer, pair.counter_answer)[side],
            "circuit": round(float(self.circuit[side, index]), 4),
            "model": round(float(self.model[side, index]), 4),
        }


def judge(subject: Subject, pairs: Sequence[Pair]) -> Judged:
    """Both on every pair that can be asked, in order.

    Left out: prompts that are too long for the model or whose last token the answer would join,
    answers of which a token is none of the circuit's, and under resample ablation pairs of unequal
    lengths.
    """
    asked, prompts = _encoded(subject, pairs)
    if prompts is None:
        nothing = np.empty((2, 0))
        return Judged((), nothing, nothing)
    alone = calibrated(
        subject.circuit_margins(prompts), prompts.side, subject.circuit.calibration
    )  # fmt: skip
    whole = subject.margins(None, prompts)
    shape = (2, len(asked))
    return Judged(asked, alone.numpy().reshape(shape), whole.numpy().reshape(shape))


def encode(subject: Subject, pairs: Sequence[Pair]) -> PromptTensors:
    """Pairs that `judge` has not left out, as tensors."""
    asked, prompts = _encoded(subject, pairs)
    assert prompts is not None and len(asked) == len(pairs), "a pair that cannot be asked"
    return prompts


def _encoded(
    subject: Subject, pairs: Sequence[Pair]
) -> tuple[tuple[Pair, ...], PromptTensors | None]:
    rows, complaints = _as_tokens(subject, pairs)
    bad = {
        pair
        for key, first in complaints.first.items() if first.level == "error"
        for pair in complaints.pairs[key]
    }  # fmt: skip
    if bad:
        pairs = [pair for pair in pairs if pair not in bad]
        rows, _ = _as_tokens(subject, pairs)
    if rows is None:
        return (), None
    assert len(rows) == len(pairs)
    known = np.append(subject.circuit.network.answers, -1)
    usable = np.isin(rows.wanted, known).all(axis=1) & np.isin(rows.other, known).all(axis=1)
    usable = usable.reshape(2, -1).all(axis=0)
    if subject.holding.config.kind == "resample":
        first, second = rows.last.reshape(2, -1)
        usable &= first == second
    index = np.flatnonzero(usable)
    if not len(index):
        return (), None
    return tuple(pairs[int(i)] for i in index), PromptTensors.of(rows.take(index))


def _as_tokens(subject: Subject, pairs: Sequence[Pair]) -> tuple[Prompts | None, Complaints]:
    complaints = Complaints(Source(subject.task.name))
    rows = encode_pairs(
        pairs,
        subject.task.answers,
        subject.checkpoint.tokenizer,
        templates=list(dict.fromkeys(pair.template for pair in pairs)),
        context=subject.checkpoint.config.context,
        findings=complaints,
    )
    return rows, complaints
