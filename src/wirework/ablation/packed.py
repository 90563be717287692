"""Prompts of unequal lengths without padding, equal beginnings once; attention from last tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation.score import PromptTensors


@dataclass(frozen=True)
class Packed:
    """B prompts of at most `length` tokens in N rows.

    `tokens` (N) and their `positions` (N); `rows` (B, length): the row of every token, any row
    behind a prompt's end; `places` (N): where among those, flattened, each row stands first;
    `ends` (B): the row of each prompt's last token.
    """

    tokens: Tensor
    positions: Tensor
    rows: Tensor
    places: Tensor
    ends: Tensor

    @classmethod
    def of(cls, prompts: PromptTensors, *, shared: bool = True) -> Packed:
        """`shared`: where prompts begin alike, their tokens are the same rows: no later token is
        seen from there. Otherwise one prompt lies behind the other, each in rows of its own."""
        last = prompts.last.numpy()
        real = np.arange(prompts.tokens.shape[1]) <= last[:, None]
        tokens = np.where(real, prompts.tokens.numpy(), -1)
        new, order = real, np.arange(len(last))
        if shared:
            order = np.lexsort(tokens.T[::-1])
            new = real[order] & ~_like_above(tokens[order])
        rows = np.empty(real.shape, dtype=np.int64)
        numbers = np.where(new, new.cumsum().reshape(new.shape) - 1, 0)
        rows[order] = np.maximum.accumulate(numbers, 0)
        inverse = np.argsort(order)
        places = np.flatnonzero(new[inverse])
        places = places[np.argsort(rows.flat[places])]
        return cls(
            torch.from_numpy(tokens.flat[places]),
            torch.from_numpy(places % tokens.shape[1]),
            torch.from_numpy(rows),
            torch.from_numpy(places),
            torch.from_numpy(rows[np.arange(len(last)), last]),
        )

    @property
    def length(self) -> int:
        return self.rows.shape[1]

    def at_ends(self, x: Tensor) -> Tensor:
        """x (N, ...) -> its rows of last tokens, (B, ...)."""
        return x.index_select(0, self.ends)

    def pad(self, x: Tensor) -> Tensor:
        """x (N, d) -> (B, length, d), some row or other behind a prompt's end."""
        return x.index_select(0, self.rows.flatten()).view(*self.rows.shape, -1)

    def unpad(self, x: Tensor) -> Tensor:
        """Inverse of `pad`, from (B, length, ...)."""
        return x.flatten(0, 1).index_select(0, self.places)


def _like_above(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row of tokens (B, T), in lexical order, is as the one above up to each place."""
    like = np.zeros(tokens.shape, dtype=np.bool_)
    like[1:] = np.logical_and.accumulate(tokens[1:] == tokens[:-1], axis=1)
    return like


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
