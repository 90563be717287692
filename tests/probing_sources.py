"""Small sources of activations: a module, a checkpoint of ours, Hugging Face models."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor, nn

from wirework.data import Tokenizer
from wirework.model import Checkpoint, ModelConfig, Transformer
from wirework.probing.module_source import ModuleSource

VOCAB = 23


class Reader(nn.Module):
    """Every token sees the mean of all up to it; where not `causal`, of the whole row."""

    def __init__(self, width: int = 5, *, causal: bool = True, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(VOCAB, width)
        self.inner = nn.Linear(width, 2 * width)
        self.act = nn.ReLU(inplace=True)
        self.causal = causal
        for parameter in self.parameters():
            nn.init.normal_(parameter, generator=random)

    def forward(self, tokens: Tensor) -> dict[str, Any]:
        x = self.embedding(tokens)
        if self.causal:
            x = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        else:
            x = x + x.mean(1, keepdim=True)
        return {"read": self.act(self.inner(x)), "rest": None}


def reader_source(
    context: int = 8, *, width: int = 5, causal: bool = True, seed: int = 0
) -> ModuleSource:
    module = Reader(width, causal=causal, seed=seed).eval()
    return ModuleSource(
        module, ["embedding", "inner", "act"], context=context, vocab_size=VOCAB, causal=causal
    )


def small_checkpoint(seed: int = 0) -> Checkpoint:
    tokenizer = Tokenizer.train(["x = 1\n"] * 3, vocab_size=257)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context=16, n_layer=2,
        d_model=12, n_head=2, d_head=4, d_mlp=20,
    )  # fmt: skip
    model = Transformer(config, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    return Checkpoint(model, tokenizer, {}, step=1)


def small_model(kind: str, *, seed: int = 0) -> Any:
    """A Hugging Face model with random weights, in float64 and set to evaluation."""
    shape: dict[str, Any] = {
        "vocab_size": VOCAB, "max_position_embeddings": 16, "hidden_size": 12,
        "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 20,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "attn_implementation": "eager",
    }  # fmt: skip
    config_class, model_class = {
        "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
        "gpt_neox": (transformers.GPTNeoXConfig, transformers.GPTNeoXForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "bert": (transformers.BertConfig, transformers.BertForMaskedLM),
        "roberta": (transformers.RobertaConfig, transformers.RobertaForMaskedLM),
    }[kind]
    if kind == "gpt2":
        shape["n_inner"] = shape.pop("intermediate_size")
    if kind in ("llama", "mistral", "qwen2"):
        shape |= {"num_key_value_heads": 1}
    if kind == "roberta":
        shape |= {"type_vocab_size": 1, "max_position_embeddings": 17}
    random = torch.Generator().manual_seed(seed)
    model = model_class(config_class(**shape)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4, generator=random)
    return model
