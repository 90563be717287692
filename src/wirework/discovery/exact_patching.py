"""Exact activation patching: every node cut by itself, as rows of few forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import PromptTensors
from wirework.ablation.score import answer_margins
from wirework.circuit import Nodes
from wirework.core import Site
from wirework.core.names import FINAL, sites
from wirework.core.progress import StartProgress, silent
from wirework.discovery.discretise import Scores
from wirework.model import Taps, Transformer
from wirework.model.layers import Layer
from wirework.model.means import Means

_ROWS = 128
"""Rows of one forward pass: more of them leave the cache and gain nothing."""


@torch.no_grad()
def exact_scores(
    model: Transformer,
    means: Means,
    prompts: PromptTensors,
    value: Callable[[Tensor], Tensor],
    paths: Nodes,
    start: StartProgress = silent,
) -> Scores:
    """v(whole model) - v(that node alone held at its constant), mean over prompts.

    HIGHER = KEEP. `value`: margins -> v of every prompt. `paths`: the nodes to try. The others get
    0, and so do those that stand at their constant wherever they are computed.

    Cut nodes of one site are rows of one forward pass. It starts from the residual before the half
    layer of that site, prompts of one length stand together without padding, and the last MLP is
    computed at the last tokens only.
    """
    scores = {site: np.zeros(len(mean)) for site, mean in means.items()}
    total = sum(len(held) for held in paths.values()) * len(prompts.last)
    with start("exact", total) as progress:
        for piece in _of_one_length(prompts):
            run = _Run(model, piece)
            whole = value(run.whole).double()
            for site, held in sorted(paths.items()):
                constants = torch.from_numpy(means[site]).to(run.whole.dtype)
                nodes = run.moving(site, torch.tensor(held), constants)
                many = max(1, _ROWS // len(piece.last))
                for block in torch.split(nodes, many) if len(nodes) else ():
                    cut = value(run.margins(site, block, constants[block])).double()
                    lost = (whole - cut).sum(1) / len(prompts.last)
                    scores[site][block.numpy()] += lost.numpy()
                progress.advance(len(held) * len(piece.last))
    return scores


def _of_one_length(prompts: PromptTensors) -> Iterator[PromptTensors]:
    for last in np.unique(prompts.last.numpy()):
        yield prompts.rows((prompts.last == int(last)).nonzero()[:, 0])


class _Run:
    """A run of the whole model on R prompts of one length, to be gone on from at any half layer."""

    def __init__(self, model: Transformer, prompts: PromptTensors) -> None:
        self.model = model
        self.prompts = prompts
        length = prompts.tokens.shape[1]
        r = model.embedding(prompts.tokens)
        self.positions: Tensor | None = None
        if model.positions is not None and model.config.position == "add":
            r = r + model.positions[:length]
        elif model.positions is not None:
            self.positions = model.positions[:length]
        self.halves = [half for layer in model.layers for half in _halves(layer)]
        self.residuals: list[Tensor] = []
        taps = Taps(record=sites(model.config.n_layer))
        self.whole = self._answer(self._go_on(r, 0, taps, self.residuals), taps)
        self.values = taps.values

    def moving(self, site: Site, nodes: Tensor, constants: Tensor) -> Tensor:
        """Those of `nodes` that are anywhere off their constant."""
        off = (self.values[site] != constants).flatten(0, 1).any(0)
        return nodes[off[nodes]]

    def margins(self, site: Site, nodes: Tensor, constants: Tensor) -> Tensor:
        """Margins (nodes, R) with one of `nodes` (n) at its constant (n) in each row."""
        first = len(self.halves)
        if site.layer is not None:
            first = 2 * site.layer + (0 if site.kind.startswith("attn.") else 1)
        r = self.residuals[first].repeat(len(nodes), 1, 1)
        taps = Taps(replace={site: partial(_cut, nodes, constants)})
        return self._answer(self._go_on(r, first, taps), taps).view(len(nodes), -1)

    def _go_on(self, r: Tensor, first: int, taps: Taps, kept: list[Tensor] | None = None) -> Tensor:
        """The residual at the last tokens, from the one before half layer `first`."""
        positions = self.positions
        for index, half in enumerate(self.halves[first:], first):
            if index == len(self.halves) - 1:
                r = r[:, -1:]
                positions = None if positions is None else positions[-1:]
            if kept is not None:
                kept.append(r)
            r = half(r, positions, taps)
        if kept is not None:
            kept.append(r)
        return r

    def _answer(self, r: Tensor, taps: Taps) -> Tensor:
        final = taps(Site(None, FINAL), self.model.norm_final(r))[:, -1]
        times = len(final) // len(self.prompts.last)
        logits = self.model.unembed(final, self.prompts.tokens[:, -1].repeat(times))
        wanted, other = (ids.repeat(times, 1) for ids in (self.prompts.wanted, self.prompts.other))
        return answer_margins(logits, wanted, other)


def _halves(layer: torch.nn.Module) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    assert isinstance(layer, Layer)
    return layer.after_attention, layer.after_mlp


def _cut(nodes: Tensor, constants: Tensor, x: Tensor) -> Tensor:
    """x (nodes * R, T, d): the rows of each of `nodes` with that one at its constant."""
    rows = x.clone(memory_format=torch.contiguous_format).view(len(nodes), -1, *x.shape[1:])
    rows[torch.arange(len(nodes)), :, :, nodes] = constants[:, None, None].to(x.dtype)
    return rows.view(x.shape)
