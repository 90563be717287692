"""A planted model inside a model that was trained on other things."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from wirework.ablation import PromptTensors, all_margins, score
from wirework.core import Edge, Site, WireworkError
from wirework.core.names import FINAL, READ_SITES
from wirework.model import Checkpoint, ModelConfig, Taps, Transformer
from wirework.model.layers import Layer, Norm
from wirework.planted.draft import Planted, task_means
from wirework.planted.places import Places

_LEAST_ACCURACY = 0.97
_FIRST = 100.0
_LOUD = 8.0
"""How far a planted write stands above what AbsTopK leaves of the host's."""


def implant(host: Checkpoint, planted: Planted) -> Planted:
    """The planted model in residual channels, heads, neurons and positions added to a host.

    No weight joins the two; they share tokens, norms, AbsTopK and logits. In the planted rows of
    the embedding every token of the task is as loud as the norm makes it alone; planted writes
    are made loud enough to survive AbsTopK; gains and logits are set so that, on `fit`, the
    planted part reads what it reads alone and outweighs what the host says of the answers.
    Host gains make up for the wider norm; AbsTopK keeps its share of more channels.
    The means are those over the task's `fit` prompts. `active` are all parts, `others` is `cut`:
    the truth is all minimal circuits among sets of planted nodes, the host cut. Each is minimal
    in the whole model too; that no other circuit makes use of the host is not claimed.
    Raises `implant-unfit` where the host lacks what the planted model needs, `implant-tokens`
    where it cuts the prompts otherwise, `implant-drowned` where the task gets lost.
    """
    _require_room(host.config, planted.checkpoint.config)
    _require_same_tokens(host, planted)
    graft = _Graft(host, planted)
    with torch.no_grad():
        graft.copy()
        graft.fit_in()
    checkpoint = Checkpoint(graft.wide, host.tokenizer, {}, step=host.step)
    checkpoint = replace(checkpoint, means=task_means(checkpoint, planted.task))
    places = graft.places
    parts = {name: places.node(node) for name, node in planted.parts.items()}
    edges = frozenset(Edge(places.node(e.source), places.node(e.target)) for e in planted.edges)
    result = score(graft.wide, PromptTensors.of(graft.encoded.report))
    if result.accuracy < _LEAST_ACCURACY:
        raise WireworkError(
            "implant-drowned",
            f"amid the host {planted.task.name} gets lost",
            expected=f"an accuracy of at least {_LEAST_ACCURACY}",
            got=f"{result.accuracy:.3f}",
            hint="another host",
        )
    return replace(
        planted, checkpoint=checkpoint, parts=parts, edges=edges,
        active=tuple(sorted(parts.values())), others="cut",
    )  # fmt: skip


def _require_room(host: ModelConfig, alone: ModelConfig) -> None:
    needs = {
        "RMSNorm and a plain residual": host.norm == "rms" and host.residual == "identity",
        "an unembedding of its own": not host.tied,
        f"{alone.n_layer} layers": host.n_layer >= alone.n_layer,
        f"heads of {alone.d_head}": host.d_head >= alone.d_head,
        f"a context of {alone.context}": host.context >= alone.context,
        "biases, and sinks": host.bias and host.sink,
        "concatenated positions": host.position == "concat" and not host.position_in_topk,
    }
    missing = [name for name, given in needs.items() if not given]
    if missing:
        raise WireworkError(
            "implant-unfit", "the planted model does not fit into this host",
            expected="a host with " + missing[0], got="one without",
        )  # fmt: skip


def _require_same_tokens(host: Checkpoint, planted: Planted) -> None:
    own = planted.checkpoint.tokenizer
    answers = [t for answers in planted.task.answers.values() for t in answers.tokens]
    pairs = [pair for split in planted.task.splits.values() for pair in split]
    for text in [*answers, *(side for p in pairs for side in (p.prompt, p.counterfactual))]:
        pieces = [
            [tokenizer.token_bytes(i) for i in tokenizer.encode(text)]
            for tokenizer in (own, host.tokenizer)
        ]
        if pieces[0] != pieces[1]:
            raise WireworkError(
                "implant-tokens", "the host cuts the prompts into other tokens",
                expected=str(pieces[0]), got=str(pieces[1]),
            )  # fmt: skip


class _Graft:
    """Both models and the wide one. Calibration goes through the sites as they are computed."""

    def __init__(self, host: Checkpoint, planted: Planted) -> None:
        self.host, self.alone = host.model, planted.checkpoint.model
        self.places = Places(self.host.config, self.alone.config)
        self.wide = Transformer(self.places.config)
        own = planted.checkpoint
        self.encoded = planted.task.encode(host.tokenizer, host.config.context)
        self.fit = PromptTensors.of(self.encoded.fit)
        alone = planted.task.encode(own.tokenizer, own.config.context)
        self.fit_alone = PromptTensors.of(alone.fit)
        self.real = torch.arange(self.fit.tokens.shape[1]) <= self.fit.last[:, None]
        ids = {own.tokenizer.token_bytes(int(i)): int(i) for i in alone.prompt_tokens()}
        ids |= {own.tokenizer.token_bytes(int(i)): int(i) for i in alone.answer_tokens()}
        theirs = {host.tokenizer.token_bytes(i): i for i in range(host.tokenizer.vocab_size)}
        self.tokens = [(ids[text], theirs[text]) for text in sorted(ids)]

    def copy(self) -> None:
        """Host and planted weights into their blocks, all else zero."""
        for parameter in self.wide.parameters():
            parameter.zero_()
        both = ((self.host, self.places.host), (self.alone, self.places.planted))
        for model, block in both:
            for index, layer in enumerate(model.layers):
                self.places.copy_layer(layer, self.wide.layers[index], block)
            if model.positions is not None and self.wide.positions is not None:
                rows = torch.arange(self.wide.config.context).clamp_max(len(model.positions) - 1)
                self.wide.positions[:, block.positions] = model.positions[rows]
            self.wide.norm_final.gain[block.residual] = model.norm_final.gain
        host = self.places.host.residual
        self.wide.embedding.weight[:, host] = self.host.embedding.weight
        self.wide.unembedding.weight[:, host] = self.host.unembedding.weight
        self.wide.logit_bias.copy_(self.host.logit_bias)
        if self.wide.bigram is not None and self.host.bigram is not None:
            self.wide.bigram.copy_(self.host.bigram)
        self._mend_host_gains()

    def _mend_host_gains(self) -> None:
        """A norm over more channels is smaller: where the added ones are zero, as before."""
        block, widths = self.places.host, (self.host.config.d_model, self.wide.config.d_model)
        for norm in self._norms().values():
            norm.gain[block.residual] *= (widths[0] / widths[1]) ** 0.5
        assert self.wide.positions is not None and self.host.positions is not None
        change = self.wide.positions.square().mean(1) / self.host.positions.square().mean(1)
        for layer in _layers(self.wide):
            for beside in (layer.norm_attn_position, layer.norm_mlp_position):
                assert beside is not None
                beside.gain[block.positions] *= change.mean().sqrt()

    def _norms(self) -> dict[Site, Norm]:
        norms: dict[Site, Norm] = {}
        for index, layer in enumerate(_layers(self.wide)):
            norms[Site(index, "attn.in")] = layer.norm_attn
            norms[Site(index, "mlp.in")] = layer.norm_mlp
        return {**norms, Site(None, FINAL): self.wide.norm_final}

    def fit_in(self) -> None:
        """Set everything that the two share for the planted part, in order of computation."""
        self._embed()
        norms = self._norms()
        for site in self.places.sites:
            if site.kind in READ_SITES and site != Site(0, "attn.in"):
                self._set_gains(site, norms[site])
            elif site.kind in ("attn.out", "mlp.out"):
                self._set_writes(site)
        self._unembed()

    def _embed(self) -> None:
        """Each token as loud as makes the first norm give what it gives alone."""
        block, width = self.places.planted, self.wide.config.d_model
        gain = _layers(self.alone)[0].norm_attn.gain[0]
        share = self.alone.config.d_model * gain.square() / width
        for mine, theirs in self.tokens:
            row, beside = self.alone.embedding.weight[mine], self.host.embedding.weight[theirs]
            loud = beside.square().sum() / (1 - share) * share / row.square().sum()
            self.wide.embedding.weight[theirs, block.residual] = row * loud.sqrt()
        _layers(self.wide)[0].norm_attn.gain[block.residual] = 1.0

    def _values(self, site: Site) -> tuple[Tensor, Tensor, Tensor]:
        """A site's real tokens in the model alone and in the wide one, planted and host part."""
        taps, wide = Taps(record=[site]), Taps(record=[site])
        self.alone.read_out(self.fit_alone.tokens, taps)
        self.wide.read_out(self.fit.tokens, wide)
        both = wide.values[site][self.real]
        planted, host = self.places.planted.residual, self.places.host.residual
        return taps.values[site][self.real], both[:, planted], both[:, host]

    def _set_gains(self, site: Site, norm: Norm) -> None:
        """Channels are read as large as alone, by the median over tokens."""
        # So loud at first that AbsTopK hides none of them.
        norm.gain[self.places.planted.residual] *= _FIRST
        alone, wide, _ = self._values(site)
        for channel, place in enumerate(self.places.planted.residual):
            seen = (alone[:, channel].abs() > 0.1) & (wide[:, channel] != 0)
            if seen.any():
                ratio = (alone[seen, channel] / wide[seen, channel]).abs().median()
                norm.gain[place] *= ratio

    def _set_writes(self, site: Site) -> None:
        """Channels are written louder than most of what AbsTopK leaves of the host's."""
        alone, _, host = self._values(site)
        least = host.abs().masked_fill(host == 0, torch.inf).amin(1).quantile(0.95)
        layer = _layers(self.wide)[site.layer or 0]
        linear = layer.attn.out if site.kind == "attn.out" else layer.mlp.write
        for channel, place in enumerate(self.places.planted.residual):
            size = alone[:, channel].abs()
            if size.any():
                # What leaks through a head is not meant.
                meant = size[size > 0.02 * size.max()].quantile(0.1)
                for parameter in (linear.weight, linear.bias):
                    parameter[place] *= _LOUD * least / meant

    def _unembed(self) -> None:
        """The planted part says more than the host does."""
        host = all_margins(self.wide, self.fit)
        alone = all_margins(self.alone, self.fit_alone)
        loud = max(1.0, float(3 * host.abs().quantile(0.95) / alone.abs().quantile(0.05)))
        for mine, theirs in self.tokens:
            row = loud * self.alone.unembedding.weight[mine]
            self.wide.unembedding.weight[theirs, self.places.planted.residual] = row


def _layers(model: Transformer) -> list[Layer]:
    return [layer for layer in model.layers if isinstance(layer, Layer)]
