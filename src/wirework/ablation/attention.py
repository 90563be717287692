"""Where heads look: attention patterns, and how far two runs of a model are apart in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from wirework.model import Transformer
from wirework.model.layers import Layer


class Look(NamedTuple):
    """What the attention of one layer sees in a run over B prompts of at most T tokens.

    `queries` (B, H, T, K), or (B, H, 1, K) of the last tokens alone, `keys` (B, H, T, K); behind a
    prompt's end there is anything. `heads` (n): those that mix a value which is kept, rising;
    `opened` (n): 1, with the gradient of the gates of their values where there are any.
    """

    queries: Tensor
    keys: Tensor
    heads: Tensor
    opened: Tensor

    def to(self, dtype: torch.dtype) -> Look:
        return self._replace(queries=self.queries.to(dtype), keys=self.keys.to(dtype))

    def scores(self, heads: Tensor, last: Tensor) -> Tensor:
        """Of some heads (n), (B, n, queries, T); -inf where a key comes later."""
        q, k = self.queries[:, heads], self.keys[:, heads]
        found = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
        places = torch.arange(k.shape[2])
        hidden: Tensor = places > self._at(last)[..., None]
        return found.masked_fill(hidden[:, None], -torch.inf)

    def counts(self, last: Tensor) -> Tensor:
        """Whether a query is at one of the prompt's own tokens, (B, queries)."""
        return self._at(last) <= last[:, None]

    def shares(self, heads: Tensor, last: Tensor, sink: Tensor | None) -> Tensor:
        """Attention, (B, n, queries, T), with the sink behind where there is one."""
        scores = self.scores(heads, last)
        if sink is not None:
            logit = sink.detach().to(scores.dtype)[heads].view(1, -1, 1, 1)
            scores = torch.cat([scores, logit.expand(*scores.shape[:3], 1)], -1)
        return scores.softmax(-1)

    def _at(self, last: Tensor) -> Tensor:
        """Positions of the queries, (B, queries)."""
        if self.queries.shape[2] == 1:
            return last[:, None]
        return torch.arange(self.queries.shape[2]).expand(len(last), -1)


def attention_distance(
    model: Transformer, pruned: Mapping[int, Look], whole: Mapping[int, Look], last: Tensor
) -> dict[tuple[int, int], Tensor]:
    """Total variation distance between attention patterns, (layer, head) -> (B).

    Half the sum of |share in the one run - share in the other| over keys and sink, 0 to 1, mean
    over the queries whose output counts (weight_sparse_paper.md §10.2b), for every head of
    `pruned` that mixes a kept value. `last` (B): position of every prompt's last token.
    """
    found = {}
    for layer, look in sorted(pruned.items()):
        own = model.layers[layer]
        assert isinstance(own, Layer)
        mine, theirs = (x.shares(look.heads, last, own.attn.sink) for x in (look, whole[layer]))
        counts = look.counts(last)[:, None]
        total = ((mine - theirs).abs().sum(-1) / 2 * counts).sum(-1) / counts.sum(-1)
        for place, head in enumerate(look.heads.tolist()):
            found[layer, head] = total[:, place]
    return found
