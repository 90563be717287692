"""The masked model on a task, under any ablation."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from wirework.ablation.compact import CompactModel
from wirework.ablation.gates import Keep
from wirework.ablation.kinds import Holding
from wirework.ablation.score import PromptTensors
from wirework.core import Edge, Site


@torch.no_grad()
def masked_margins(
    whole: CompactModel,
    holding: Holding,
    keep: Keep,
    prompts: PromptTensors,
    *,
    edges: Mapping[Site, Tensor] | None = None,
    chunk: int = 64,
) -> Tensor:
    """Uncalibrated margins with `keep` kept and every other node cut, (2N).

    `whole`: the model with nothing shut; `edges`: masks of its weights (`edge_masks`). Both sides
    of a pair run together, `chunk` pairs at a time, so that one can take its cut values from the
    other. Raises `ablation-lengths`.
    """
    count = len(prompts)
    kind = whole.model.unembedding.weight.dtype
    gates = {site: torch.from_numpy(kept).to(kind) for site, kept in keep.items()}
    result = torch.empty(2 * count, dtype=kind)
    for index in torch.split(torch.arange(count), chunk):
        piece = prompts.pairs(index)
        values = whole.margins(piece, gates, holding.reference(whole, piece), edges)
        result[torch.cat([index, index + count])] = values.to(kind)
    return result


def edge_masks(whole: CompactModel, cut: Collection[Edge]) -> dict[Site, Tensor]:
    """By target site, ones like the weights of `whole` with a zero for every edge of `cut`."""
    masks: dict[Site, Tensor] = {}
    for edge in cut:
        product = whole.products[edge.target.site]
        assert product is not None and not whole.open, "the model with nothing shut"
        mask = masks.setdefault(edge.target.site, torch.ones_like(product[0]))
        mask[edge.target.index, edge.source.index] = 0
    return masks
