"""A model under gates, cut down to what its answers need: what one gate step computes.

Equal to the whole model under the same gates, in less time: prompts lie in memory without
padding and their equal beginnings once, the last layer is computed at the last tokens only, logits
for answers only, and channels that are closed for good leave the products, their constants in the
biases. Closed channels still compete at AbsTopK where an open one does (design §2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from wirework.ablation.attention import Look
from wirework.ablation.gates import Keep
from wirework.ablation.packed import Packed, attend_from
from wirework.ablation.score import PromptTensors, answer_margins, frozen
from wirework.ablation.settle import pass_gates
from wirework.core import Site
from wirework.core.names import EDGE_BLOCKS, FINAL, READ_SITES, sites
from wirework.model import Transformer
from wirework.model.abstopk import abs_top_k
from wirework.model.attention import attend
from wirework.model.config import LAYER_NORM_EPSILON, NORM_EPSILON
from wirework.model.layers import Layer, Norm, RMSNorm
from wirework.model.norm import for_products
from wirework.model.precision import autocast

Gates = Mapping[Site, Tensor]
"""Site -> (channels) of 0 and 1, where 1 is open; a gradient may flow into them."""

_SOURCE = {target: source for source, target in EDGE_BLOCKS}
_SELECTED = (*READ_SITES, "mlp.neuron")
"""Sites of which products read only the channels that may be open."""


@dataclass
class Reference:
    """What a run of the whole model leaves to a run under gates, one row a computed token.

    `packed`: the rows. `values`: what closed channels take, site -> (rows, channels). `scales`:
    1 / rms of the norm before a read site, (rows, 1). `looks`: what attention saw, by layer; that
    is for readers only. `embedded`: what stands in place of the embeddings, (rows, D), where a
    gradient with respect to them is asked for.
    """

    packed: Packed
    values: dict[Site, Tensor] = field(default_factory=dict)
    scales: dict[Site, Tensor] = field(default_factory=dict)
    looks: dict[int, Look] = field(default_factory=dict)
    embedded: Tensor | None = None


@dataclass(frozen=True)
class _Pass:
    """One pass: prompts and what closed channels take, gates (None: all open), edge masks."""

    reference: Reference
    gates: Gates | None = None
    edges: Mapping[Site, Tensor] = field(default_factory=dict)
    record: Reference | None = None

    @property
    def packed(self) -> Packed:
        return self.reference.packed


class CompactModel:
    """The parts of a model that its answers need while some channels are closed for good.

    `constants`: what closed channels are held at, site -> (channels), where a pass brings nothing
    else. `answers`: token ids that get a logit, rising. `kept`: channels that may be open (None:
    all); the others are closed for good. `before`: gates stand before AbsTopK as well, so that
    closed channels compete as what they are held at. `dtype`: bfloat16 for products in it;
    otherwise everything is in the dtype of the model.
    """

    def __init__(
        self,
        model: Transformer,
        constants: Mapping[Site, Tensor],
        answers: Tensor,
        *,
        kept: Keep | None = None,
        before: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model = model
        self.config = model.config
        self.constants = dict(constants)
        self.answers = answers
        self.before = before
        self.dtype = dtype
        self.open: dict[Site, Tensor] = {}
        if kept is not None:
            masks = {site: torch.from_numpy(kept[site]) for site in sites(self.config.n_layer)}
            self.open = {s: mask.nonzero()[:, 0] for s, mask in masks.items() if not mask.all()}
        self.products = {
            Site(index, kind): self._product_into(Site(index, kind))
            for index in range(self.config.n_layer)
            for kind in _SOURCE
        }
        rows, bias = model.unembedding.weight.detach()[answers], model.logit_bias[answers]
        self.unembedding = self._fold(Site(None, FINAL), rows, bias)
        self.bigram = None if model.bigram is None else model.bigram.detach()[:, answers]

    def margins(
        self,
        prompts: PromptTensors,
        gates: Gates,
        reference: Reference | None = None,
        edges: Mapping[Site, Tensor] | None = None,
        record: Reference | None = None,
    ) -> Tensor:
        """`score.margins` of the masked model, (2N).

        `edges`: by target site, masks like the weights of `products`: where one is 0, the target
        sees the constant of the source. `record`: takes what every site is before its gates and
        every norm's scale, without gradients, and what attention sees, with them.
        """
        packed = Packed.of(prompts) if record is None else record.packed
        run = _Pass(reference or Reference(packed), gates, edges or {}, record)
        with frozen(self.model):
            logits = self._logits(run)
        return answer_margins(logits, self._columns(prompts.wanted), self._columns(prompts.other))

    @torch.no_grad()
    def reference(self, packed: Packed) -> Reference:
        """Every site, every norm's scale and what attention sees in a run of the whole model."""
        assert not self.open, "the whole model is asked for"
        record = Reference(packed)
        self._logits(_Pass(Reference(packed), record=record))
        return record

    def only_ends(self, site: Site) -> bool:
        """Whether a site is computed at the last tokens only."""
        late = site.layer == self.config.n_layer - 1
        return site.kind == FINAL or (late and site.kind not in ("attn.in", "attn.k", "attn.v"))

    def channels(self, source: Site) -> Tensor:
        """Which channel of a site each column of the products that read it stands for; columns of
        positions stand behind them."""
        columns = self._columns_of(source)
        return torch.arange(self.config.width(source.kind)) if columns is None else columns

    def _columns(self, tokens: Tensor) -> Tensor:
        found = torch.searchsorted(self.answers, tokens.clamp_min(0))
        return torch.where(tokens < 0, -1, found)

    # -- building

    def _product_into(self, site: Site) -> tuple[Tensor, Tensor | None] | None:
        """Weight and bias of the product that gives a site; None where nothing asks for it."""
        if self._shut(site):
            return None
        layer = self.model.layers[site.layer or 0]
        assert isinstance(layer, Layer)
        linear = {
            "attn.out": layer.attn.out, "mlp.neuron": layer.mlp.read, "mlp.out": layer.mlp.write,
        }.get(site.kind, layer.attn.qkv)  # fmt: skip
        weight: Tensor = linear.weight.detach()
        bias: Tensor | None = linear.bias
        if linear is layer.attn.qkv:
            part = "qkv".index(site.kind[-1])
            weight = weight.chunk(3)[part]
            bias = None if bias is None else bias.chunk(3)[part]
        return self._fold(Site(site.layer, _SOURCE[site.kind]), weight, bias)

    def _fold(
        self, source: Site, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Without the columns of shut channels, whose constants go into the bias, in float64."""
        bias = None if bias is None else bias.detach()
        if source in self.open and source.kind != "attn.v":
            width, columns = self.config.width(source.kind), self.open[source]
            shut = torch.ones(width, dtype=torch.bool)
            shut[columns] = False
            constant = torch.where(shut, self.constants[source].detach().double(), 0)
            folded = weight[:, :width].double() @ constant
            bias = (folded if bias is None else bias.double() + folded).to(weight.dtype)
            weight = torch.cat([weight[:, columns], weight[:, width:]], 1)
        if self.dtype == torch.bfloat16:
            return weight.bfloat16(), None if bias is None else bias.bfloat16()
        return weight, bias

    def _shut(self, site: Site) -> bool:
        return site in self.open and not len(self.open[site])

    # -- running

    def _logits(self, run: _Pass) -> Tensor:
        with autocast(self.dtype):
            logits = functional.linear(self._final(run), *self.unembedding)
        if self.bigram is not None:
            logits = logits + self.bigram[run.packed.at_ends(run.packed.tokens)]
        return logits

    def _final(self, run: _Pass) -> Tensor:
        packed, model = run.packed, self.model
        r = run.reference.embedded
        if r is None:
            r = functional.embedding(packed.tokens, model.embedding.weight)
        if model.positions is not None and self.config.position == "add":
            r = r + model.positions[packed.positions]
        for index, layer in enumerate(model.layers):
            assert isinstance(layer, Layer)
            delta = self._attention(index, layer, r, run)
            r = run.packed.at_ends(r) if self.only_ends(Site(index, "attn.out")) else r
            r = self._add(r, delta, "resid.attn")
            r = self._add(r, self._mlp(index, layer, r, run), "resid.mlp")
        return self._read(Site(None, FINAL), model.norm_final, None, r, run)

    def _add(self, r: Tensor, delta: Tensor, place: str) -> Tensor:
        r = r + delta
        if self.config.residual == "relu":
            r = functional.relu(r)
        return abs_top_k(r, self.config.kept(place))

    def _attention(self, index: int, layer: Layer, r: Tensor, run: _Pass) -> Tensor:
        """What attention adds to the residual r (N, D)."""
        out = Site(index, "attn.out")
        if self._shut(out):
            return self._held(out, run).to(r.dtype)
        x = self._read(Site(index, "attn.in"), layer.norm_attn, layer.norm_attn_position, r, run)
        x_of_q = run.packed.at_ends(x) if self.only_ends(out) else x
        q = self._computed(Site(index, "attn.q"), x_of_q, run)
        k, v = (self._computed(Site(index, kind), x, run) for kind in ("attn.k", "attn.v"))
        if run.record is not None:
            run.record.looks[index] = self._look(index, q, k, run)
        mask = run.edges.get(out)
        y = self._mixed(q, k, v, layer.attn.sink, run, only_ends=self.only_ends(out))
        product = self.products[out]
        assert product is not None, "an open channel was seen above"
        weight, bias = product
        if mask is None:
            return self._settle(out, functional.linear(y.flatten(1), weight, bias), run)
        ones = torch.ones_like(v)
        share = self._mixed(q, k, ones, layer.attn.sink, run, only_ends=self.only_ends(out))
        unseen = weight * (1 - mask) * self.constants[Site(index, "attn.v")].to(weight.dtype)
        seen = functional.linear(y.flatten(1), weight * mask, bias)
        return self._settle(out, seen + functional.linear(share.flatten(1), unseen), run)

    def _look(self, index: int, q: Tensor, k: Tensor, run: _Pass) -> Look:
        opened = torch.ones(self.config.n_head, dtype=q.dtype)
        if run.gates is not None:
            opened = run.gates[Site(index, "attn.v")].view(len(opened), -1).amax(1)
        heads = opened.detach().nonzero()[:, 0]
        if not self.only_ends(Site(index, "attn.q")):
            q = run.packed.pad(q)
        split = (len(run.packed.ends), -1, self.config.n_head, self.config.d_head)
        q, k = (x.view(split).transpose(1, 2) for x in (q, run.packed.pad(k)))
        return Look(q, k, heads, opened[heads])

    def _mixed(
        self, q: Tensor, k: Tensor, v: Tensor, sink: Tensor | None, run: _Pass, *, only_ends: bool
    ) -> Tensor:
        """Values mixed by every head's attention, (rows, H, K)."""
        packed, heads = run.packed, self.config.n_head
        k, v = (
            packed.pad(x).view(len(packed.ends), packed.length, heads, -1).transpose(1, 2)
            for x in (k, v)
        )
        with torch.autocast(q.device.type, enabled=False):
            if only_ends:
                last = packed.at_ends(packed.positions)
                return attend_from(q.view(len(q), heads, -1), k, v, sink, last)
            q = packed.pad(q).view(len(packed.ends), packed.length, heads, -1).transpose(1, 2)
            return packed.unpad(attend(q, k, v, sink).transpose(1, 2))

    def _mlp(self, index: int, layer: Layer, r: Tensor, run: _Pass) -> Tensor:
        """What the MLP adds to the residual r."""
        out = Site(index, "mlp.out")
        if self._shut(out):
            return self._held(out, run).to(r.dtype)
        x = self._read(Site(index, "mlp.in"), layer.norm_mlp, layer.norm_mlp_position, r, run)
        return self._computed(out, self._computed(Site(index, "mlp.neuron"), x, run), run)

    def _computed(self, site: Site, x: Tensor, run: _Pass) -> Tensor:
        """A site from the open channels of its source."""
        product = self.products[site]
        if product is None:
            return self._selected(site, self._held(site, run).to(x.dtype).expand(len(x), -1))
        weight, bias = product
        mask = run.edges.get(site)
        if mask is not None:
            source = Site(site.layer, _SOURCE[site.kind])
            held = self._selected(source, self.constants[source]).to(weight.dtype)
            unseen = (weight * (1 - mask))[:, : len(held)] @ held
            weight, bias = weight * mask, unseen if bias is None else bias + unseen
        z = functional.linear(x, weight, bias)
        if site.kind == "mlp.neuron":
            z = functional.gelu(z) if self.config.activation == "gelu" else functional.relu(z)
        return self._settle(site, z, run)

    def _read(
        self, site: Site, norm: Norm, position_norm: Norm | None, r: Tensor, run: _Pass
    ) -> Tensor:
        """The open channels of the normed residual, with normed positions beside them."""
        x = self._normed(site, norm, r, run)
        if position_norm is None:
            return self._settle(site, x, run)
        assert self.model.positions is not None
        at = run.packed.positions
        at = run.packed.at_ends(at) if self.only_ends(site) else at
        rows = position_norm(self.model.positions).to(x.dtype)[at]
        if not self.config.position_in_topk:
            return torch.cat([self._settle(site, x, run), rows], -1)
        if self.before:
            x = self._gated(site, x, run)
        both = abs_top_k(torch.cat([x, rows], -1), self.config.kept(site.kind))
        x, rows = both[:, : r.shape[1]], both[:, r.shape[1] :]
        return torch.cat([self._settle(site, x, run, ranked=True), rows], -1)

    def _normed(self, site: Site, norm: Norm, r: Tensor, run: _Pass) -> Tensor:
        if run.record is None and site not in run.reference.scales:
            normed: Tensor = norm(r)
            return normed
        return self._scaled(site, norm, r, run)

    def _scaled(self, site: Site, norm: Norm, r: Tensor, run: _Pass) -> Tensor:
        """The norm by a scale of the whole model's run, or one that is written down."""
        rms = isinstance(norm, RMSNorm)
        centred = r if rms else r - r.mean(-1, keepdim=True)
        scale = run.reference.scales.get(site)
        if scale is None:
            epsilon = NORM_EPSILON if rms else LAYER_NORM_EPSILON
            scale = (centred.square().mean(-1, keepdim=True) + epsilon).rsqrt()
        if run.record is not None:
            run.record.scales[site] = scale
        x = centred * scale * norm.gain
        if not isinstance(norm, RMSNorm) and norm.bias is not None:
            x = x + norm.bias
        return for_products(x)

    def _settle(self, site: Site, x: Tensor, run: _Pass, *, ranked: bool = False) -> Tensor:
        """AbsTopK and gates; of what products read, the channels that may be open."""
        if not ranked:
            x = self._gated(site, x, run) if self.before else x
            x = abs_top_k(x, self.config.kept(site.kind))
        if run.record is not None:
            run.record.values[site] = x.detach()
        return self._gated(site, x, run, self._columns_of(site))

    def _gated(self, site: Site, x: Tensor, run: _Pass, columns: Tensor | None = None) -> Tensor:
        if run.gates is None:
            return x
        return pass_gates(x, run.gates[site], self._held(site, run), columns)

    def _held(self, site: Site, run: _Pass) -> Tensor:
        return run.reference.values.get(site, self.constants[site])

    def _columns_of(self, site: Site) -> Tensor | None:
        """The channels that may be open, where products read only them; None for all."""
        return self.open.get(site) if site.kind in _SELECTED else None

    def _selected(self, site: Site, x: Tensor) -> Tensor:
        columns = self._columns_of(site)
        return x if columns is None else x.index_select(-1, columns)
