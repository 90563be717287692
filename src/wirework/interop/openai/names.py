"""The tensors of `final_model.pt`: our name of each and theirs, as one table."""

from __future__ import annotations

import re
from collections.abc import Iterable

WHOLE = {
    "embedding.weight": "transformer.wte.weight",
    "positions": "transformer.wpe.weight",
    "norm_final.gain": "transformer.ln_f.weight",
    "norm_final.bias": "transformer.ln_f.bias",
    "unembedding.weight": "lm_head.weight",
    "logit_bias": "final_logits_bias",
    "bigram": "bigram_table",
}
"""Ours -> theirs, where there is one of the model (weight_sparse_paper.md §1.3)."""

LAYER = {
    "norm_attn.gain": "ln_1.weight",
    "norm_attn.bias": "ln_1.bias",
    "attn.qkv.weight": "attn.c_attn.weight",
    "attn.qkv.bias": "attn.c_attn.bias",
    "attn.out.weight": "attn.c_proj.weight",
    "attn.out.bias": "attn.c_proj.bias",
    "attn.sink": "attn.attn_imp.sink_logit",
    "norm_mlp.gain": "ln_2.weight",
    "norm_mlp.bias": "ln_2.bias",
    "mlp.read.weight": "mlp.c_fc.weight",
    "mlp.read.bias": "mlp.c_fc.bias",
    "mlp.write.weight": "mlp.c_proj.weight",
    "mlp.write.bias": "mlp.c_proj.bias",
    "norm_attn_position.gain": "ln_p1.weight",
    "norm_attn_position.bias": "ln_p1.bias",
    "norm_mlp_position.gain": "ln_p2.weight",
    "norm_mlp_position.bias": "ln_p2.bias",
}
"""Ours -> theirs, where there is one of every layer."""

MASK = "attn.bias"
"""The causal mask that the published code stores with a layer where it does not use `flash`."""

_OURS = re.compile(r"layers\.(\d+)\.(.+)")
_THEIRS = re.compile(r"transformer\.h\.(\d+)\.(.+)")


def published_name(ours: str) -> str:
    """`layers.3.mlp.read.weight` -> `transformer.h.3.mlp.c_fc.weight`."""
    match = _OURS.fullmatch(ours)
    return WHOLE[ours] if match is None else f"transformer.h.{match[1]}.{LAYER[match[2]]}"


def layer_of(theirs: str) -> tuple[int, str] | None:
    """`transformer.h.3.attn.bias` -> (3, `attn.bias`); None for what no layer owns."""
    match = _THEIRS.fullmatch(theirs)
    return None if match is None else (int(match[1]), match[2])


def listed(theirs: Iterable[str]) -> str:
    """Names for people, those of several layers as one: `transformer.h.{0,1}.ln_1.weight`."""
    layers: dict[str, list[int]] = {}
    whole = []
    for name in theirs:
        found = layer_of(name)
        if found is None:
            whole.append(name[:120])
        else:
            layers.setdefault(found[1][:120], []).append(found[0])
    for rest, numbers in layers.items():
        first, last = min(numbers), max(numbers)
        if len(numbers) == 1:
            shown = str(first)
        elif len(numbers) == last - first + 1:
            shown = f"{{{first}..{last}}}"
        else:
            shown = "{" + ",".join(str(number) for number in sorted(numbers)) + "}"
        whole.append(f"transformer.h.{shown}.{rest}")
    return ", ".join(whole)
