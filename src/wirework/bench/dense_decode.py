"""A sparse model with its zeros written out, decoded by torch as fast as it can: the rival.

Weights are cast once, q, k and v are one product, the cache is reserved beforehand, and no
gradient is thought of. Where torch has several ways, this takes the one that was measured fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wirework.engine import Layer, Network
from wirework.model.abstopk import abs_top_k, keep_factor
from wirework.model.attention import attend


class DenseDecoder:
    """`network` as dense matrices of `dtype`, with room for `capacity` tokens of `batch` prompts.

    `top_k`: whether AbsTopK acts, without which it is another, cheaper model. For networks with
    RMSNorm, without positions and gates.
    """

    def __init__(
        self,
        network: Network,
        dtype: torch.dtype,
        *,
        capacity: int,
        batch: int = 1,
        top_k: bool = True,
    ) -> None:
        assert network.position == "none" and not network.gates and network.outputs is None
        self.network = network
        self.dtype = dtype
        self.top_k = top_k
        self.length = 0
        shape = (batch, network.n_head, 1 + capacity, network.d_head)
        self.layers = [_DenseLayer.of(layer, dtype, shape) for layer in network.layers]
        self.embedding = _dense(network.embedding.to_dense(), dtype)
        self.unembedding = _dense(network.unembedding.to_dense(), dtype)
        self.final_gain = _dense(network.final_gain, dtype)
        self.bias = _optional(network.unembedding_bias, dtype)
        self.bigram = _optional(network.bigram, dtype)

    @property
    def weight_bytes(self) -> int:
        tensors = [self.embedding, self.unembedding, self.final_gain, self.bias, self.bigram]
        for layer in self.layers:
            tensors += layer.weights
        return sum(t.nbytes for t in tensors if t is not None)

    @property
    def cache_bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self.layers)

    def stream(self, prompt: NDArray[np.integer[Any]], tokens: int) -> Iterator[int]:
        """One prompt (1, T) -> the next `tokens`, the most likely each time, as they come."""
        logits = self.prefill(prompt)
        for left in range(tokens - 1, -1, -1):
            chosen = logits.argmax(-1)
            yield int(chosen)
            if left:
                logits = self.decode(chosen)

    def prefill(self, prompts: NDArray[np.integer[Any]]) -> Tensor:
        """Start anew with prompts (B, T); logits after the last token, (B, vocabulary)."""
        self.length = 0
        return self._forward(torch.from_numpy(np.asarray(prompts, dtype=np.int64)))

    def decode(self, tokens: Tensor) -> Tensor:
        """One more token of every prompt (B) -> logits (B, vocabulary)."""
        return self._forward(tokens[:, None])

    def _forward(self, tokens: Tensor) -> Tensor:
        with torch.inference_mode():
            r = functional.embedding(tokens, self.embedding)
            for layer in self.layers:
                r = r + self._attention(layer, r)
                r = r + self._mlp(layer, r)
            self.length += tokens.shape[1]
            final = self._norm(r[:, -1], self.final_gain)
            logits = functional.linear(final, self.unembedding, self.bias)
            if self.bigram is not None:
                logits = logits + functional.embedding(tokens[:, -1], self.bigram)
            return logits

    def _attention(self, layer: _DenseLayer, r: Tensor) -> Tensor:
        x = self._largest(self._norm(r, layer.attn_gain), "attn.in")
        heads = []
        joined = functional.linear(x, layer.qkv, layer.qkv_bias)
        for name, part in zip("qkv", joined.chunk(3, -1), strict=True):
            part = self._largest(part, f"attn.{name}")
            heads.append(part.view(*part.shape[:-1], self.network.n_head, -1).transpose(1, 2))
        q, k, v = heads
        y = layer.attend(q, k, v, self.length).transpose(1, 2).flatten(2)
        return self._largest(functional.linear(y, layer.out, layer.out_bias), "attn.out")

    def _mlp(self, layer: _DenseLayer, r: Tensor) -> Tensor:
        act = functional.gelu if self.network.activation == "gelu" else functional.relu
        x = self._largest(self._norm(r, layer.mlp_gain), "mlp.in")
        neurons = act(functional.linear(x, layer.read, layer.read_bias))
        neurons = self._largest(neurons, "mlp.neuron")
        return self._largest(functional.linear(neurons, layer.write, layer.write_bias), "mlp.out")

    def _norm(self, r: Tensor, gain: Tensor) -> Tensor:
        return functional.rms_norm(r, gain.shape, gain, self.network.eps)

    def _largest(self, x: Tensor, place: str) -> Tensor:
        """AbsTopK over rows (B, T, d)."""
        k = self.network.topk.get(place)
        if not self.top_k or k is None:
            return x
        # For one row half the time goes into what makes it differentiable.
        return x * keep_factor(x, k) if x.shape[1] == 1 else abs_top_k(x, k)


@dataclass(frozen=True)
class _DenseLayer:
    """One layer's weights, and its keys and values (B, H, 1 + capacity, K).

    Column 0 of keys and values is zero: the sink, whose logit stands in column 0 of `mask`.
    """

    attn_gain: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    mlp_gain: Tensor
    read: Tensor
    read_bias: Tensor | None
    write: Tensor
    write_bias: Tensor | None
    sink: Tensor | None
    mask: Tensor
    keys: Tensor
    values: Tensor

    @classmethod
    def of(cls, layer: Layer, dtype: torch.dtype, shape: tuple[int, int, int, int]) -> _DenseLayer:
        qkv = [_dense(part.to_dense(), dtype) for part in (layer.q, layer.k, layer.v)]
        biases = [layer.q_bias, layer.k_bias, layer.v_bias]
        given = [_dense(bias, dtype) for bias in biases if bias is not None]
        sink = _optional(layer.sink, dtype)
        mask = torch.zeros(1, shape[1], 1, shape[2], dtype=dtype)
        mask[..., 0] = -torch.inf if sink is None else sink.view(1, -1, 1)
        return cls(
            attn_gain=_dense(layer.attn_gain, dtype),
            qkv=torch.cat(qkv),
            qkv_bias=torch.cat(given) if len(given) == 3 else None,
            out=_dense(layer.attn_out.to_dense(), dtype),
            out_bias=_optional(layer.attn_out_bias, dtype),
            mlp_gain=_dense(layer.mlp_gain, dtype),
            read=_dense(layer.mlp_in.to_dense(), dtype),
            read_bias=_optional(layer.mlp_in_bias, dtype),
            write=_dense(layer.mlp_out.to_dense(), dtype),
            write_bias=_optional(layer.mlp_out_bias, dtype),
            sink=sink,
            mask=mask,
            keys=torch.zeros(shape, dtype=dtype),
            values=torch.zeros(shape, dtype=dtype),
        )

    @property
    def weights(self) -> list[Tensor | None]:
        return [
            self.attn_gain, self.qkv, self.qkv_bias, self.out, self.out_bias, self.mlp_gain,
            self.read, self.read_bias, self.write, self.write_bias, self.sink,
        ]  # fmt: skip

    def attend(self, q: Tensor, k: Tensor, v: Tensor, before: int) -> Tensor:
        """q, k, v (B, H, T, K) of tokens `before`, `before` + 1, …; their keys are remembered."""
        end = 1 + before + q.shape[2]
        self.keys[:, :, 1 + before : end] = k
        self.values[:, :, 1 + before : end] = v
        keys, values, mask = self.keys[:, :, :end], self.values[:, :, :end], self.mask[..., :end]
        if q.shape[2] == 1:
            # For one query two products take two thirds of the fused function's time.
            scores = (q * q.shape[-1] ** -0.5) @ keys.transpose(-1, -2) + mask
            return torch.matmul(scores.softmax(-1), values)
        if before == 0 and q.dtype == torch.bfloat16:
            return attend(q, k, v, self.sink)  # on the CPU quicker than torch's in bfloat16 only
        later = torch.full((q.shape[2], end), -torch.inf, dtype=q.dtype).triu(1 + before + 1)
        return functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask + later)


def _dense(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)


def _optional(array: NDArray[Any] | None, dtype: torch.dtype) -> Tensor | None:
    return None if array is None else _dense(array, dtype)
