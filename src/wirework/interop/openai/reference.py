"""The published model computed a second time: plainly, in float64, by the names in the file.

It shares no code with `wirework.model`, so that the two can be compared. Source:
weight_sparse_paper.md §1.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from wirework.interop.openai.config import PublishedConfig

if TYPE_CHECKING:
    from torch import Tensor


def reference_logits(
    config: PublishedConfig, tensors: Mapping[str, Tensor], tokens: Tensor
) -> Tensor:
    """Logits (T, vocabulary) of one prompt, tokens (T), in float64.

    One matrix at a time is widened, so that a large model fits.
    """
    import torch

    def get(name: str, rows: Tensor | slice = slice(None)) -> Tensor:
        # By way of float32, as which the published code holds whatever a file brings.
        return tensors[name][rows].to(torch.float32).to(torch.float64)

    def norm(x: Tensor, name: str) -> Tensor:
        if config.rms_norm:
            return x / (x.square().mean(-1, keepdim=True) + 2.0**-23).sqrt() * get(f"{name}.weight")
        centred = x - x.mean(-1, keepdim=True)
        x = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        x = x * get(f"{name}.weight")
        return x + get(f"{name}.bias") if config.ln_bias else x

    def linear(x: Tensor, name: str) -> Tensor:
        x = x @ get(f"{name}.weight").T
        return x + get(f"{name}.bias") if config.bias else x

    def sparse(x: Tensor, place: str) -> Tensor:
        """The int(afrac * width) entries of largest magnitude, ties to the lower index."""
        if config.afrac is None or place not in config.places:
            return x
        order = x.abs().sort(dim=-1, descending=True, stable=True).indices
        kept = torch.zeros_like(x, dtype=torch.bool)
        kept.scatter_(-1, order[:, : int(config.afrac * x.shape[-1])], True)
        return torch.where(kept, x, 0.0)

    def read(x: Tensor, layer: str, which: int, place: str) -> Tensor:
        """What attention (1) or MLP (2) reads: the positions take part in its AbsTopK."""
        x = norm(x, f"{layer}.ln_{which}")
        if config.d_pos_emb is not None:
            x = torch.cat([x, norm(positions, f"{layer}.ln_p{which}")], -1)
        return sparse(x, place)

    def attention(x: Tensor, layer: str) -> Tensor:
        x = linear(x, f"{layer}.attn.c_attn")
        q, k, v = (
            sparse(part, place).view(length, config.n_head, config.head_width).transpose(0, 1)
            for part, place in zip(x.chunk(3, -1), ("attn_q", "attn_k", "attn_v"), strict=True)
        )
        scores = q @ k.transpose(1, 2) / math.sqrt(config.head_width)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -math.inf)
        if config.sink:
            sink = get(f"{layer}.attn.attn_imp.sink_logit").view(-1, 1, 1)
            scores = torch.cat([sink.expand(-1, length, 1), scores], -1)
        shares = torch.softmax(scores, -1)[..., -length:]
        out = linear((shares @ v).transpose(0, 1).reshape(length, -1), f"{layer}.attn.c_proj")
        return sparse(out, "attn_out")

    def mlp(x: Tensor, layer: str) -> Tensor:
        x = linear(x, f"{layer}.mlp.c_fc")
        if config.activation_type == "gelu":
            x = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
        else:
            x = x.clamp(min=0)
        x = linear(sparse(x, "mlp_neuron"), f"{layer}.mlp.c_proj")
        return sparse(x, "mlp_out")

    def settle(x: Tensor, place: str) -> Tensor:
        return sparse(x.clamp(min=0) if config.residual_activation_type == "relu" else x, place)

    length = len(tokens)
    x = get("transformer.wte.weight", tokens)
    positions = get("transformer.wpe.weight", slice(length))
    if config.d_pos_emb is None:
        x = x + positions
    for index in range(config.n_layer):
        layer = f"transformer.h.{index}"
        x = settle(x + attention(read(x, layer, 1, "attn_in"), layer), "resid_post_attn")
        x = settle(x + mlp(read(x, layer, 2, "mlp_in"), layer), "resid_post_mlp")
    logits = norm(x, "transformer.ln_f") @ get("lm_head.weight").T
    if "final_logits_bias" in tensors:
        logits = logits + get("final_logits_bias")
    if config.enable_bigram_table:
        logits = logits + get("bigram_table", tokens)
    return logits
