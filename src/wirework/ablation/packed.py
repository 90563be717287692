"""Prompts of unequal lengths without padding, and attention from their last tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from wirework.ablation.score import PromptTensors


@dataclass(frozen=True)
class Packed:
    """B prompts, N tokens in all, one prompt after the other.

    `tokens` (N) and their `positions` (N); `places` (N): where each stands among padded rows,
    flattened; `ends` (B): which of the N is the last of its prompt; `length`: of the longest.
    """

    tokens: Tensor
    positions: Tensor
    places: Tensor
    ends: Tensor
    length: int

    @classmethod
    def of(cls, prompts: PromptTensors) -> Packed:
        length = prompts.tokens.shape[1]
        real = torch.arange(length) <= prompts.last[:, None]
        places = real.flatten().nonzero()[:, 0]
        tokens = prompts.tokens.flatten()[places]
        return cls(tokens, places % length, places, real.sum(1).cumsum(0) - 1, length)

    def at_ends(self, x: Tensor) -> Tensor:
        """x (N, ...) -> its rows of last tokens, (B, ...)."""
        return x.index_select(0, self.ends)

    def pad(self, x: Tensor) -> Tensor:
        """x (N, d) -> (B, T, d), zero where no token stands."""
        rows = len(self.ends)
        flat = x.new_zeros(rows * self.length, x.shape[1]).index_copy(0, self.places, x)
        return flat.view(rows, self.length, -1)

    def unpad(self, x: Tensor) -> Tensor:
        """Inverse of `pad`, from (B, T, ...)."""
        return x.flatten(0, 1).index_select(0, self.places)


def attend_from(q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, last: Tensor) -> Tensor:
    """Attention of one query a prompt: q (B, H, K) at position `last` (B), k and v (B, H, T, *).

    Gives (B, H, *), what `attend` gives at that position.
    """
    scores = torch.matmul(k, (q * q.shape[-1] ** -0.5).unsqueeze(-1)).squeeze(-1)
    hidden = torch.arange(k.shape[2]) > last[:, None, None]
    scores = scores.masked_fill(hidden, -torch.inf)
    if sink is not None:
        logit = sink.to(scores.dtype).view(1, -1, 1).expand(*scores.shape[:2], 1)
        scores = torch.cat([logit, scores], -1)
    share = scores.softmax(-1)[..., -k.shape[2] :]
    return torch.matmul(share.unsqueeze(2), v).squeeze(2)
