"""The weight-sparse transformer of Gao et al. 2025 (weight_sparse_paper.md §1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from wirework.core import Site, WireworkError
from wirework.model.config import ModelConfig
from wirework.model.cross_entropy import next_token_loss
from wirework.model.layers import Layer, make_norm
from wirework.model.taps import Taps


@dataclass(frozen=True)
class ProjectedMatrix:
    """One matrix that training keeps sparse.

    `weight`: (out, in), or (vocabulary, d_model) for the two embeddings. `group`: `block` or
    `embedding`, which may have densities of their own. `neuron_axis`: 0 where a neuron is a row
    (its in-weights), 1 where it is a column (its out-weights), None without a floor
    (weight_sparse_paper.md §2.4).
    """

    name: str
    weight: Tensor
    group: Literal["block", "embedding"]
    neuron_axis: int | None


def sinusoids(context: int, width: int) -> Tensor:
    """Fixed positions (context, width): sines, then cosines, of periods log-spaced from 4 tokens
    to `context` (weight_sparse_paper.md §1.1). An odd width leaves its last channel at zero."""
    half = max(1, width // 2)
    periods = torch.logspace(math.log2(4), math.log2(max(4, context)), half, base=2.0)
    angles = 2 * math.pi * torch.arange(context)[:, None] / periods
    table = torch.cat([angles.sin(), angles.cos()], -1)[:, :width]
    return functional.pad(table, (0, width - table.shape[1]))


class Transformer(nn.Module):
    """Decoder-only, pre-norm. Weights start from N(0, 0.02), drawn from `seed`.

    `recompute`: backward computes every layer's activations again instead of keeping them, which
    takes less memory and more time; no figure changes.

    `logit_bias` (vocabulary) is added to the logits: zero, unless a published file brings one.
    """

    logit_bias: Tensor

    def __init__(self, config: ModelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.recompute = False
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions: nn.Parameter | None = None
        if config.position != "none":
            table = sinusoids(config.context, config.position_width)
            learned = config.position_table == "learned"
            self.positions = nn.Parameter(table, requires_grad=learned)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.n_layer))
        self.norm_final = make_norm(config, config.d_model)
        self.unembedding = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.unembedding.weight = self.embedding.weight
        self.register_buffer("logit_bias", torch.zeros(config.vocab_size))
        self.bigram: nn.Parameter | None = None
        if config.bigram != "none":
            table = torch.zeros(config.vocab_size, config.vocab_size)
            self.bigram = nn.Parameter(table, requires_grad=config.bigram == "learned")
        self._initialise(seed)

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith(("attn.out.weight", "mlp.write.weight")):
                parameter.normal_(0, 0.02 / (2 * self.config.n_layer) ** 0.5, generator=random)
            elif name == "bigram":
                parameter.uniform_(0, 0.02, generator=random)
            elif name == "positions" and not parameter.requires_grad:
                continue
            elif name.endswith(".weight") or name == "positions":
                parameter.normal_(0, 0.02, generator=random)
            elif name.endswith(".bias"):
                parameter.zero_()

    def forward(
        self, tokens: Tensor, taps: Taps | None = None, *, targets: Tensor | None = None
    ) -> Tensor:
        """tokens (B, T) -> logits (B, T, vocabulary), or with `targets` (B, T) their mean
        cross-entropy in nats, which takes less time and memory."""
        final = self.read_out(tokens, taps)
        if targets is None:
            return self.unembed(final, tokens)
        logits = functional.linear(final, self.unembedding.weight, self.logit_bias)
        return next_token_loss(
            logits.flatten(0, 1), tokens.flatten(), targets.flatten(), self.bigram
        )

    def read_out(self, tokens: Tensor, taps: Taps | None = None) -> Tensor:
        """What the unembedding reads: the site `final`, (B, T, D).

        Raises `prompt-too-long` where T exceeds the context.
        """
        length = tokens.shape[1]
        if length > self.config.context:
            raise WireworkError(
                "prompt-too-long",
                f"a prompt has {length} tokens",
                expected=f"at most {self.config.context}, the model's context",
                got=str(length),
            )
        taps = taps if taps is not None else Taps()
        r = self.embedding(tokens)
        positions = None
        if self.positions is not None and self.config.position == "add":
            r = r + self.positions[:length]
        elif self.positions is not None:
            positions = self.positions[:length]
        for layer in self.layers:
            if self.recompute and torch.is_grad_enabled():
                r = checkpoint(layer, r, positions, taps, use_reentrant=False)
            else:
                r = layer(r, positions, taps)
        return taps(Site(None, "final"), self.norm_final(r))

    def unembed(self, final: Tensor, tokens: Tensor) -> Tensor:
        """final (..., D) and the tokens (...) they stand at -> logits (..., vocabulary)."""
        logits = functional.linear(final, self.unembedding.weight, self.logit_bias)
        return logits if self.bigram is None else logits + functional.embedding(tokens, self.bigram)

    def projected(self) -> list[ProjectedMatrix]:
        """The matrices that are kept sparse, in a fixed order."""
        found = [ProjectedMatrix("embedding.weight", self.embedding.weight, "embedding", None)]
        if self.config.position == "add" and self.config.position_table == "learned":
            assert self.positions is not None
            found.append(ProjectedMatrix("positions", self.positions, "embedding", None))
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            for name, linear, axis in (
                ("attn.qkv", layer.attn.qkv, 0),
                ("attn.out", layer.attn.out, 1),
                ("mlp.read", layer.mlp.read, 0),
                ("mlp.write", layer.mlp.write, 1),
            ):
                full = f"layers.{index}.{name}.weight"
                found.append(ProjectedMatrix(full, linear.weight, "block", axis))
        if not self.config.tied:
            weight = self.unembedding.weight
            found.append(ProjectedMatrix("unembedding.weight", weight, "embedding", None))
        return found

    def biases(self) -> list[ProjectedMatrix]:
        """The biases of attention and MLP, for recipes that keep them sparse too."""
        return [
            ProjectedMatrix(name, parameter, "embedding", None)
            for name, parameter in self.named_parameters()
            if name.endswith((".qkv.bias", ".out.bias", ".read.bias", ".write.bias"))
        ]

    def stored(self) -> dict[str, Tensor]:
        """`state_dict` with every number once: tied weights are named as the embedding's."""
        state: dict[str, Tensor] = self.state_dict()
        if self.config.tied:
            del state["unembedding.weight"]
        return state
