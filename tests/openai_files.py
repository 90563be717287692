"""Published model files made by hand, as the published code would name what is in them."""

from __future__ import annotations

import json
import math
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wirework.data import Tokenizer
from wirework.model import Checkpoint, ModelConfig, Transformer

Settings = dict[str, Any]

EIGHT = "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q"
SMALL: Settings = {
    "block_size": 10, "vocab_size": 300, "n_layer": 2, "n_head": 2, "d_head": None, "d_model": 12,
    "dropout": 0.0, "bias": True, "ln_bias": True, "rms_norm": True,
    "residual_activation_type": "identity", "activation_type": "gelu", "afrac": 0.25,
    "afrac_loctypes": EIGHT, "debug_nans": False, "tied_unembed": False,
    "tokenizer_name": "tinypython_2k", "grad_checkpointing": False, "d_mlp": None,
    "enable_bigram_table": True, "learnable_bigram_table": True, "d_pos_emb": None,
    "dropout_cat_pos_emb": False, "sinusoidal_cat_pos_emb": False, "enable_sparse_kernels": False,
    "flash": True, "sink": False,
}  # fmt: skip
"""Every field of GPTConfig (circuit_tools.md §4.5)."""


def settings(**changes: Any) -> Settings:
    assert changes.keys() <= SMALL.keys()
    return {**SMALL, **changes}


def tensors_of(config: Settings) -> dict[str, Tensor]:
    """The state dict of §1.3; every number follows from the name it stands under."""
    vocab, block, d = config["vocab_size"], config["block_size"], config["d_model"]
    d_head = config["d_head"] or d // config["n_head"]
    d_mlp, flat = config["d_mlp"] or 4 * d, config["n_head"] * d_head
    extra = config["d_pos_emb"] or 0
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocab, d),
        "transformer.wpe.weight": (block, extra or d),
        "lm_head.weight": (vocab, d),
        "final_logits_bias": (vocab,),
    }
    norms = {"transformer.ln_f": d}
    for index in range(config["n_layer"]):
        layer = f"transformer.h.{index}"
        norms |= {f"{layer}.ln_1": d, f"{layer}.ln_2": d}
        if extra:
            norms |= {f"{layer}.ln_p1": extra, f"{layer}.ln_p2": extra}
        for name, rows, columns in (
            ("attn.c_attn", 3 * flat, d + extra),
            ("attn.c_proj", d, flat),
            ("mlp.c_fc", d_mlp, d + extra),
            ("mlp.c_proj", d, d_mlp),
        ):
            shapes[f"{layer}.{name}.weight"] = (rows, columns)
            if config["bias"]:
                shapes[f"{layer}.{name}.bias"] = (rows,)
        if config["sink"]:
            shapes[f"{layer}.attn.attn_imp.sink_logit"] = (config["n_head"],)
    for name, width in norms.items():
        shapes[f"{name}.weight"] = (width,)
        if config["ln_bias"] and not config["rms_norm"]:
            shapes[f"{name}.bias"] = (width,)
    if config["enable_bigram_table"]:
        shapes["bigram_table"] = (vocab, vocab)
    found = {name: numbers(name, shape) for name, shape in shapes.items()}
    if config["tied_unembed"]:
        found["lm_head.weight"] = found["transformer.wte.weight"]
    if not config["flash"]:
        for index in range(config["n_layer"]):
            found[f"transformer.h.{index}.attn.bias"] = torch.ones(block, block).tril()[None, None]
    return found


def numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Float32 numbers between -0.6 and 0.6, a third of them zero, without two that are equal."""
    start = zlib.crc32(name.encode()) % 1000
    index = torch.arange(start, start + math.prod(shape), dtype=torch.float64)
    values = 0.6 * torch.sin(index * 12.9898) * torch.cos(index * 0.731)
    return torch.where(index % 3 == 0, 0.0, values).float().view(shape)


@cache
def tokenizer() -> Tokenizer:
    texts = [f"def area_{n}(width, height):\n    return width * height + {n}\n" for n in range(9)]
    return Tokenizer.train(texts, 300)


def put(
    folder: Path,
    config: Settings | str,
    tensors: Any,
    with_tokenizer: bool = True,
) -> Path:
    """Both files, and a tokenizer; `config` may be any text, `tensors` anything torch can save."""
    folder.mkdir(parents=True, exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "beeg_config.json").write_text(text)
    with (folder / "final_model.pt").open("wb") as file:
        torch.save(tensors, file)
    if with_tokenizer:
        tokenizer().save(folder / "tokenizer.json")
    return folder


def own(**changes: Any) -> Checkpoint:
    """A small checkpoint of ours, without means, with numbers as in `tensors_of`."""
    base = {"vocab_size": 300, "context": 9, "n_layer": 2, "d_model": 16, "n_head": 2, "d_head": 8,
            "d_mlp": 32}  # fmt: skip
    model = Transformer(ModelConfig.parse({**base, **changes}), seed=1)
    with torch.no_grad():
        for name, value in model.stored().items():
            if name != "positions" or model.config.position_table == "learned":
                value.copy_(numbers(name, tuple(value.shape)))
    return Checkpoint(model, tokenizer(), {}, step=7)
