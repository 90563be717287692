"""A training step in the published order, of torch's stock parts: what ours is measured against.

Nothing of it is shared with `wirework.model` and `wirework.sparsity` but names, shapes and the
schedules, which are a few numbers a step (weight_sparse_paper.md §1.1, §2.3, §2.4).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from wirework.model import Transformer
from wirework.sparsity import SparseAdamW, SparsityConfig, kept_count

Attend = Literal["written", "fused"]


class ReferenceStep:
    """One step after another on weights of its own, copied from `model`.

    `attend`: attention `written` out, or through torch's `fused` function; the same numbers.
    `stable`: choose the largest by a stable sort, which leaves ties to the lower index as ours
    does; torch.topk leaves them where they fall and is several times faster. For models with
    RMSNorm and without positions.
    """

    def __init__(
        self,
        model: Transformer,
        config: SparsityConfig,
        steps: int,
        *,
        dtype: torch.dtype,
        attend: Attend = "written",
        stable: bool = False,
    ) -> None:
        assert model.config.norm == "rms" and model.config.position == "none"
        assert not model.config.tied and model.config.residual == "identity"
        self.shape = model.config
        self.config = config
        self.dtype = dtype
        self.attend = attend
        self.stable = stable
        self.weights = {
            name: nn.Parameter(parameter.detach().clone())
            for name, parameter in model.named_parameters()
        }
        self.schedule = SparseAdamW(model, config, steps)
        self.adam = torch.optim.Adam(
            self.weights.values(),
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            fused=True,
        )

    def __call__(self, windows: Tensor, step: int) -> float:
        """Step number `step` on `windows` (B, T+1); returns the loss before it."""
        rate = self.schedule.learning_rate(step)
        loss = self._loss(windows[:, :-1], windows[:, 1:])
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self._normalise_gradients()
            for group in self.adam.param_groups:
                group["lr"] = rate
            self.adam.step()
            self.adam.zero_grad()
            for matrix in self.schedule.matrices:
                density = self.schedule.density_of(step, matrix)
                self._project(self.weights[matrix.name], density, matrix.neuron_axis)
            for name, weight in self.weights.items():
                if weight.dim() > 1 and name != "bigram":
                    weight.mul_(1 - self.config.weight_decay * rate)
        return float(loss.detach())

    def _loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast("cpu", self.dtype, enabled=self.dtype == torch.bfloat16):
            r = functional.embedding(tokens, self.weights["embedding.weight"])
            for layer in range(self.shape.n_layer):
                r = r + self._attention(f"layers.{layer}.", r)
                r = r + self._mlp(f"layers.{layer}.", r)
            logits = self._linear("unembedding", self._norm("norm_final", r))
        bigram = functional.embedding(tokens, self.weights["bigram"])
        logits = logits.to(bigram.dtype) + bigram
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _attention(self, layer: str, r: Tensor) -> Tensor:
        x = self._largest(self._norm(f"{layer}norm_attn", r), "attn.in")
        heads = []
        for name, part in zip("qkv", self._linear(f"{layer}attn.qkv", x).chunk(3, -1), strict=True):
            part = self._largest(part, f"attn.{name}")
            heads.append(part.view(*part.shape[:-1], self.shape.n_head, -1).transpose(1, 2))
        q, k, v = heads
        sink = self.weights[f"{layer}attn.sink"]
        attend = attend_fused if self.attend == "fused" else attend_written
        with torch.autocast("cpu", enabled=False):
            y = attend(q, k, v, sink).transpose(1, 2).flatten(2)
        return self._largest(self._linear(f"{layer}attn.out", y), "attn.out")

    def _mlp(self, layer: str, r: Tensor) -> Tensor:
        x = self._largest(self._norm(f"{layer}norm_mlp", r), "mlp.in")
        neurons = functional.gelu(self._linear(f"{layer}mlp.read", x))
        neurons = self._largest(neurons, "mlp.neuron")
        return self._largest(self._linear(f"{layer}mlp.write", neurons), "mlp.out")

    def _norm(self, name: str, r: Tensor) -> Tensor:
        return functional.rms_norm(r, r.shape[-1:], self.weights[f"{name}.gain"], 2.0**-23)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(
            x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        )

    def _largest(self, x: Tensor, place: str) -> Tensor:
        """AbsTopK."""
        k = self.shape.kept(place)
        return x if k is None else _AbsTopK.apply(x, k, self.stable)  # type: ignore[no-untyped-call]

    def _normalise_gradients(self) -> None:
        """Divide all gradients by their root mean square, as every published step does."""
        gradients = [w.grad for w in self.weights.values() if w.grad is not None]
        total = sum(gradient.square().sum() for gradient in gradients)
        rms = (total / sum(gradient.numel() for gradient in gradients)) ** 0.5
        for gradient in gradients:
            gradient.div_(rms + 1e-5)

    def _project(self, weight: Tensor, density: float, neuron_axis: int | None) -> None:
        """The largest of every neuron first, then the largest of all."""
        if density >= 1:
            return
        size = weight.abs()
        if neuron_axis is not None:
            by_neuron = size if neuron_axis == 0 else size.T
            forced = chosen(by_neuron, self.config.floor, self.stable).bool()
            size = size.masked_fill(forced if neuron_axis == 0 else forced.T, torch.inf)
        k = kept_count(weight.numel(), density)
        weight.mul_(chosen(size.flatten(), k, self.stable).view_as(weight))


class _AbsTopK(torch.autograd.Function):
    """As a function of its own this takes 4/5 of the time of gather and scatter under autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, stable: bool) -> Tensor:
        mask = chosen(x.abs(), k, stable)
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None


def chosen(size: Tensor, k: int, stable: bool) -> Tensor:
    """1 at the k largest along the last dimension, else 0."""
    if stable:
        places = size.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    else:
        places = size.topk(k, dim=-1, sorted=False).indices
    return torch.zeros_like(size).scatter_(-1, places, 1)


def attend_written(q: Tensor, k: Tensor, v: Tensor, sink: Tensor) -> Tensor:
    """Causal attention over (B, H, T, K), the sink as one more score whose value is zero."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    scores = _with_sink(scores, sink) + _hidden(q)
    return scores.softmax(-1)[..., 1:] @ v


def attend_fused(q: Tensor, k: Tensor, v: Tensor, sink: Tensor) -> Tensor:
    """The published form: a zero key and value in column 0, its logit in the additive mask."""
    zeros = torch.zeros_like(_hidden(q)[:, 1:]).expand(1, len(sink), -1, -1)
    mask = _with_sink(zeros, sink) + _hidden(q)
    k, v = functional.pad(k, (0, 0, 1, 0)), functional.pad(v, (0, 0, 1, 0))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _with_sink(scores: Tensor, sink: Tensor) -> Tensor:
    logit = sink.to(scores.dtype).view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
    return torch.cat([logit, scores], -1)


def _hidden(q: Tensor) -> Tensor:
    """(T, 1 + T): minus infinity where a key comes after the query."""
    length = q.shape[-2]
    return torch.full((length, 1 + length), -torch.inf, dtype=q.dtype).triu(2)
