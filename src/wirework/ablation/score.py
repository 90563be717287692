"""A model on a task: the answer margin of every prompt, the two-sided loss, the accuracy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wirework.circuit import Calibration
from wirework.model import Taps, Transformer
from wirework.tasks import Prompts


@dataclass(frozen=True)
class PromptTensors:
    """`Prompts` as tensors: rows [0:N] are prompts, rows [N:2N] their counterfactuals.

    tokens (2N, T); last (2N) the position of each row's last token; wanted, other (2N, A) answer
    tokens, padded with -1; side (2N) is +1 for prompts and -1 for counterfactuals; template (2N).
    """

    tokens: Tensor
    last: Tensor
    wanted: Tensor
    other: Tensor
    side: Tensor
    template: Tensor

    @classmethod
    def of(cls, prompts: Prompts) -> PromptTensors:
        side = np.repeat(np.array([1, -1]), len(prompts))
        answers = (prompts.wanted, prompts.other)
        arrays = (prompts.tokens, prompts.last, *answers, side, prompts.template)
        return cls(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.tokens) // 2

    def rows(self, index: Tensor) -> PromptTensors:
        """Some rows, cut to the longest of them."""
        last = self.last[index]
        tokens = self.tokens[index, : int(last.max()) + 1]
        answers = self.wanted[index], self.other[index]
        return PromptTensors(tokens, last, *answers, self.side[index], self.template[index])

    def pairs(self, index: Tensor) -> PromptTensors:
        """Some pairs, both sides of each."""
        return self.rows(torch.cat([index, index + len(self)]))

    def first(self, count: int) -> PromptTensors:
        """`count` pairs, evenly spread, or all where there are fewer."""
        if count >= len(self):
            return self
        return self.pairs(torch.arange(count) * len(self) // count)

    def chunks(self, size: int) -> Iterator[tuple[Tensor, PromptTensors]]:
        """All rows in pieces of like length, each with the indices of its rows."""
        order = torch.argsort(self.last, stable=True)
        for index in torch.split(order, size):
            yield index, self.rows(index)


def margins(model: Transformer, prompts: PromptTensors, taps: Taps | None = None) -> Tensor:
    """lse(wanted logits) - lse(other logits) at each row's last token, (2N), in one pass.

    A set of one answer on each side is the published logit difference.
    """
    final = model.read_out(prompts.tokens, taps)
    rows = torch.arange(len(prompts.last))
    logits = model.unembed(final[rows, prompts.last], prompts.tokens[rows, prompts.last])
    return answer_margins(logits, prompts.wanted, prompts.other)


def answer_margins(logits: Tensor, wanted: Tensor, other: Tensor) -> Tensor:
    """lse(wanted logits) - lse(other logits), (B), of logits (B, O) and columns (B, A); -1 is
    no column."""
    return _set_score(logits, wanted) - _set_score(logits, other)


def _set_score(logits: Tensor, answers: Tensor) -> Tensor:
    chosen = logits.gather(1, answers.clamp_min(0))
    return chosen.masked_fill(answers < 0, -torch.inf).logsumexp(-1)


@torch.no_grad()
def all_margins(
    model: Transformer,
    prompts: PromptTensors,
    taps: Callable[[], Taps] | None = None,
    chunk: int = 128,
) -> Tensor:
    """`margins` of any number of prompts, in pieces; `taps` makes fresh taps for each piece."""
    result = torch.empty(len(prompts.last), dtype=model.unembedding.weight.dtype)
    for index, piece in prompts.chunks(chunk):
        result[index] = margins(model, piece, taps() if taps else None)
    return result


def calibrated(values: Tensor, side: Tensor, calibration: Calibration) -> Tensor:
    """Margins after scale and shift; the shift favours the prompts' side over the other."""
    return calibration.scale * values + calibration.shift * side.to(values.dtype)


def two_sided_loss(values: Tensor) -> Tensor:
    """Mean over both sides of -log p(wanted | wanted or other), in nats (design §4)."""
    return functional.softplus(-values).mean()


@dataclass(frozen=True)
class TaskScore:
    """`margins` (2N) of the wanted answers, calibrated; `loss` in nats; `accuracy` in [0, 1].

    `template` (2N) says which prompts are alike.
    """

    margins: NDArray[np.float64]
    template: NDArray[np.int64]

    @property
    def losses(self) -> NDArray[np.float64]:
        return np.logaddexp(0, -self.margins)

    @property
    def loss(self) -> float:
        return float(self.losses.mean())

    def by_template(self) -> dict[int, float]:
        """Mean loss of the prompts of each template."""
        return {int(i): float(self.losses[self.template == i].mean()) for i in set(self.template)}

    @property
    def accuracy(self) -> float:
        return float((self.margins > 0).mean())


def score(
    model: Transformer,
    prompts: PromptTensors,
    taps: Callable[[], Taps] | None = None,
    calibration: Calibration | None = None,
) -> TaskScore:
    values = all_margins(model, prompts, taps).double()
    return score_of(values, prompts, calibration or Calibration())


def score_of(values: Tensor, prompts: PromptTensors, calibration: Calibration) -> TaskScore:
    """The score of margins (2N) that are known already."""
    margins = calibrated(values.double(), prompts.side, calibration)
    return TaskScore(margins.numpy(), prompts.template.numpy())


@contextlib.contextmanager
def frozen(model: Transformer) -> Iterator[Transformer]:
    """Inside, no weight of the model takes a gradient."""
    before = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield model
    finally:
        for parameter, flag in zip(model.parameters(), before, strict=True):
            parameter.requires_grad_(flag)
