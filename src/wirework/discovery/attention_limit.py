"""What a circuit's heads may look at otherwise than the whole model's: a limit on the distance."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from wirework.ablation import (
    CompactModel,
    Holding,
    Keep,
    Look,
    PromptTensors,
    Reference,
    attention_distance,
)
from wirework.ablation.packed import Packed
from wirework.core import Site

_CHUNK = 64
"""Pairs in a pass of the whole model."""


class AttentionLimit:
    """`limit`: highest mean `attention_distance` of a circuit's heads from the whole model's, on
    `prompts` (weight_sparse_paper.md §10.2b); 1 allows everything.

    `whole`: the model with nothing shut, whose queries and keys are computed once for all prompts,
    equal beginnings once.
    """

    def __init__(self, whole: CompactModel, prompts: PromptTensors, limit: float) -> None:
        self.whole = whole
        self.prompts = prompts
        self.limit = limit

    def excess(self, looks: Mapping[int, Look], pairs: Tensor) -> Tensor:
        """How far the distance exceeds the limit, as a share of it, with a gradient.

        `looks`: a run over the prompts of `pairs`, indices of pairs.
        """
        found = self._distances(looks, pairs)
        if not found:
            return torch.zeros(())
        distances = torch.stack(list(found.values())).mean(1)
        opened = torch.cat([look.opened for _, look in sorted(looks.items())])
        return (opened * functional.relu(distances / self.limit - 1)).mean()

    @torch.no_grad()
    def met(self, keep: Keep, holding: Holding, edges: Mapping[Site, Tensor]) -> bool:
        """Whether a set of nodes stays within the limit."""
        kind = self.whole.model.unembedding.weight.dtype
        gates = {site: torch.from_numpy(kept).to(kind) for site, kept in keep.items()}
        reference = holding.reference(self.whole, self.prompts)
        record = Reference(reference.packed if reference else Packed.of(self.prompts))
        self.whole.margins(self.prompts, gates, reference, edges, record)
        found = self._distances(record.looks, torch.arange(len(self.prompts)))
        return not found or float(torch.stack(list(found.values())).mean()) <= self.limit

    def _distances(self, looks: Mapping[int, Look], pairs: Tensor) -> dict[tuple[int, int], Tensor]:
        """Of every head that mixes a kept value."""
        rows = torch.cat([pairs, pairs + len(self.prompts)])
        kind = self.whole.model.unembedding.weight.dtype
        own = {layer: look.to(kind) for layer, look in looks.items() if len(look.heads)}
        whole = {layer: self._look(layer, rows, look) for layer, look in own.items()}
        return attention_distance(self.whole.model, own, whole, self.prompts.last[rows])

    def _look(self, layer: int, rows: Tensor, like: Look) -> Look:
        """What the whole model's attention sees of some prompts, in the shape of `like`."""
        queries, keys = self._seen[layer]
        places = self._packed.rows[rows, : like.keys.shape[2]]
        at = self._packed.ends[rows][:, None] if like.queries.shape[2] == 1 else places
        split = (len(rows), -1, *like.keys.shape[1::2])
        q, k = queries[at].view(split), keys[places].view(split)
        return like._replace(queries=q.transpose(1, 2), keys=k.transpose(1, 2))

    @cached_property
    def _packed(self) -> Packed:
        return Packed.of(self.prompts)

    @cached_property
    def _seen(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Queries and keys of the whole model by layer, in rows of `_packed`; in the last layer
        queries of last tokens alone, elsewhere nothing."""
        packed, count = self._packed, len(self.prompts)
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for pairs in torch.split(torch.arange(count), _CHUNK):
            part = self.prompts.pairs(pairs)
            rows = torch.cat([pairs, pairs + count])
            length = part.tokens.shape[1]
            real = torch.arange(length) <= part.last[:, None]
            for layer, look in self.whole.reference(Packed.of(part)).looks.items():
                q, k = (x.transpose(1, 2).flatten(2) for x in look[:2])
                if layer not in found:
                    shape = (len(packed.tokens), k.shape[2])
                    found[layer] = q.new_zeros(shape), k.new_zeros(shape)
                queries, keys = found[layer]
                own = packed.rows[rows, :length][real]
                keys[own] = k[real]
                if q.shape[1] == 1:
                    queries[packed.ends[rows]] = q[:, 0]
                else:
                    queries[own] = q[real]
        return found
