"""Drawing a model by hand: weights set one by one, everything else zero."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import MEAN_PRETRAINING, AblationConfig
from wirework.core import Edge, Node, Site
from wirework.core.names import FINAL
from wirework.data import Tokenizer
from wirework.model import Checkpoint, ModelConfig, Transformer, reference_means
from wirework.model.layers import Layer
from wirework.model.means import Means
from wirework.planted.active import active_nodes
from wirework.tasks import Task

REFERENCE = "every token of the prompts in `fit`, both sides"

SPLIT_SIZES = {"fit": 24, "select": 12, "report": 100}
"""Pairs; enumeration measures every set of nodes on `select`, so that one is small."""

QKV = ("attn.q", "attn.k", "attn.v")

_WIDTH = 16
"""The residual width for which the weights are chosen; gains make other widths behave alike."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A model made by hand, with a task that it does (circuit_tools.md §6.3, T-plant).

    `ablation`: the name of what cut nodes are held at (`AblationConfig`); `reference`: the text
    behind the means. `active`: the nodes that can matter under it (`active_nodes`). `parts`: the
    nodes by what they were made for; which of them a minimal circuit needs is for
    `minimal_circuits` to say. `edges`: every weight set between two nodes. `others`: what becomes
    of the nodes that are not active while sets of active ones are tried: `still`, kept, for they
    do not move; in a host (`implant`) they do move, and are `cut` or `kept`.
    """

    checkpoint: Checkpoint
    task: Task
    ablation: str
    reference: str
    active: tuple[Node, ...]
    parts: Mapping[str, Node]
    edges: frozenset[Edge]
    others: Literal["still", "cut", "kept"] = "still"

    @property
    def config(self) -> AblationConfig:
        """What cut nodes are held at."""
        return AblationConfig.of_name(self.ablation)

    def under(self, ablation: str | AblationConfig) -> Planted:
        """The same model under another ablation, such as `zero` or `resample`.

        Raises `ablation-unknown`, `truth-ablation` and `ablation-lengths`.
        """
        config = AblationConfig.of_name(ablation) if isinstance(ablation, str) else ablation
        active = self.active
        if self.others == "still":
            active = active_nodes(self.checkpoint, self.task, config)
        return replace(self, ablation=config.name, active=active)

    def nodes(self, *names: str) -> frozenset[Node]:
        """The nodes of some parts."""
        return frozenset(self.parts[name] for name in names)

    def edges_between(self, nodes: Collection[Node]) -> frozenset[Edge]:
        return frozenset(e for e in self.edges if e.source in nodes and e.target in nodes)


class Draft:
    """A model whose weights are all zero until they are wired.

    Channels are taken at random places, so that no node is found by its index.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int, *, size: int, **switches: Any) -> None:
        assert size >= _WIDTH and size % 8 == 0, "a residual width of 16, 24, …"
        self.tokenizer = tokenizer
        self.random = np.random.default_rng(seed)
        self.parts: dict[str, Node] = {}
        self.edges: set[Edge] = set()
        self.model = Transformer(
            ModelConfig.parse(
                {
                    "vocab_size": tokenizer.vocab_size,
                    "d_model": size,
                    "n_head": size // 8,
                    "d_head": 8,
                    "d_mlp": size,
                    "bigram": "none",
                    **switches,
                }
            )
        )
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                gain = (_WIDTH / size) ** 0.5 if "position" not in name else 1.0
                parameter.fill_(gain if name.endswith("gain") else 0.0)
        self._free: dict[str, list[int]] = {}

    def channel(self, kind: str = "residual", head: int | None = None) -> int:
        """A channel that nothing uses yet: of the residual, of a head's q, k or v, a neuron."""
        width = self.model.config.width(kind) if kind != "residual" else self.model.config.d_model
        if kind not in self._free:
            self._free[kind] = [int(i) for i in self.random.permutation(width)]
        free = self._free[kind]
        mine = [i for i in free if head is None or i // self.model.config.d_head == head]
        free.remove(mine[0])
        return mine[0]

    def head(self) -> int:
        """A head at random."""
        return int(self.random.integers(self.model.config.n_head))

    def node(self, name: str, site: str, index: int) -> Node:
        """Give a node the name of a part."""
        found = Node(Site.parse(site), index)
        assert name not in self.parts, name
        self.parts[name] = found
        return found

    def embed(self, tokens: Iterable[int], channel: int, value: float) -> None:
        with torch.no_grad():
            self.model.embedding.weight[list(tokens), channel] = value

    def blur(self, tokens: Iterable[int], channels: int, height: float) -> None:
        """Give each token small numbers of its own in channels that carry nothing else."""
        places = [self.channel() for _ in range(channels)]
        for token in tokens:
            for place in places:
                self.embed([token], place, float(self.random.uniform(-height, height)))

    def wire(self, source: Node, target: Node, weight: float) -> None:
        """Set one weight between two nodes of one layer."""
        self._into(target)[target.index, source.index] = weight
        self.edges.add(Edge(source, target))

    def read_position(self, target: Node, column: int, weight: float) -> None:
        """Set the weight from one concatenated position channel."""
        self._into(target)[target.index, self.model.config.d_model + column] = weight

    def bias(self, target: Node, value: float) -> None:
        bias = self._linear(target).bias
        assert bias is not None
        bias.data[self._row(target)] = value

    def unembed(self, token: int, source: Node, weight: float) -> None:
        assert source.site.kind == FINAL
        self.model.unembedding.weight.data[token, source.index] = weight

    def _into(self, target: Node) -> Tensor:
        weight = self._linear(target).weight.data
        if target.site.kind in QKV:
            weight = weight.chunk(3)[QKV.index(target.site.kind)]
        return weight

    def _row(self, target: Node) -> int:
        first = QKV.index(target.site.kind) if target.site.kind in QKV else 0
        return first * self.model.config.d_attn + target.index

    def _linear(self, target: Node) -> torch.nn.Linear:
        assert target.site.layer is not None
        layer = self.model.layers[target.site.layer]
        assert isinstance(layer, Layer)
        if target.site.kind == "attn.out":
            return layer.attn.out
        if target.site.kind in QKV:
            return layer.attn.qkv
        return layer.mlp.write if target.site.kind == "mlp.out" else layer.mlp.read

    def finish(self, task: Task) -> Planted:
        """The model with its means over every token of the task's `fit` prompts."""
        checkpoint = Checkpoint(self.model, self.tokenizer, {}, step=0)
        checkpoint = replace(checkpoint, means=task_means(checkpoint, task))
        active = active_nodes(checkpoint, task)
        return Planted(
            checkpoint=checkpoint,
            task=task,
            ablation=MEAN_PRETRAINING,
            reference=REFERENCE,
            active=active,
            parts=self.parts,
            edges=frozenset(self.edges),
        )


def task_means(checkpoint: Checkpoint, task: Task) -> Means:
    """Means over every token of the task's `fit` prompts, both sides."""
    prompts = task.encode(checkpoint.tokenizer, checkpoint.config.context).fit
    rows = [
        torch.from_numpy(row[: last + 1])[None]
        for row, last in zip(prompts.tokens, prompts.last, strict=True)
    ]
    return reference_means(checkpoint.model, rows)
