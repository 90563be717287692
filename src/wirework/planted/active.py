"""The few nodes of a planted model that can matter to its task, under one ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import AblationConfig, CompactModel, Holding, PromptTensors, Reference
from wirework.ablation.packed import Packed
from wirework.core import Node, Site, WireworkError
from wirework.core.names import FINAL, WRITE_SITES, sites
from wirework.engine import Network
from wirework.model import Checkpoint
from wirework.tasks import EncodedTask, Task

Masks = dict[Site, NDArray[np.bool_]]
"""Site -> (channels,)."""


@dataclass(frozen=True)
class Stand:
    """A model, its task, and what cut nodes are held at. `parts`: fit, select and report."""

    whole: CompactModel
    holding: Holding
    encoded: EncodedTask
    parts: tuple[PromptTensors, PromptTensors, PromptTensors]

    @classmethod
    def of(cls, checkpoint: Checkpoint, task: Task, ablation: AblationConfig) -> Self:
        """Raises `truth-ablation`, `ablation-lengths` and what the task's encoding raises."""
        if ablation.kind == "optimal" or ablation.gate == "before":
            raise WireworkError(
                "truth-ablation",
                "nothing is known about minimal circuits under this ablation",
                expected="nodes held at values that are not learned, gates behind AbsTopK",
                got=ablation.name,
                hint="mean-pretraining, zero or resample",
            )
        encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
        fit, select, report = map(PromptTensors.of, (encoded.fit, encoded.select, encoded.report))
        holding = Holding.of(ablation, checkpoint, fit)
        answers = torch.from_numpy(encoded.answer_tokens())
        whole = CompactModel(checkpoint.model, holding.constants, answers)
        return cls(whole, holding, encoded, (fit, select, report))

    def reference(self, prompts: PromptTensors) -> Reference:
        """What closed channels take, each prompt in rows of its own."""
        found = self.holding.reference(self.whole, prompts, shared=False)
        return found or Reference(Packed.of(prompts, shared=False))

    def off_held(self, values: dict[Site, Tensor], reference: Reference) -> Masks:
        """Which channels are elsewhere than what cut ones are held at, beyond rounding, in some
        row; `values`: site -> (rows, channels)."""
        found = {}
        for site, value in values.items():
            held = reference.values.get(site, self.holding.constants[site])
            found[site] = ((value - held).abs() > 1e-6 + 1e-5 * held.abs()).any(0).numpy()
        return found


def active_nodes(
    checkpoint: Checkpoint, task: Task, ablation: AblationConfig | None = None
) -> tuple[Node, ...]:
    """The nodes that some weight reads and that cutting moves, in order of computation.

    A node that no weight reads (`read_nodes`) changes no other number. A node that stands at what
    cut nodes are held at, wherever the task looks, is left unchanged when it is cut: at its mean,
    at zero, or at the same in both prompts of a pair (`ablation`; by default the published mean).
    `minimal_circuits` checks that it stays there with any active nodes cut. Raises
    `truth-ablation`, `ablation-lengths`.
    """
    stand = Stand.of(checkpoint, task, ablation or AblationConfig())
    read = read_nodes(checkpoint.sparse(), stand.encoded)
    moving = {site: np.zeros_like(mask) for site, mask in read.items()}
    for prompts in stand.parts:
        reference = stand.reference(prompts)
        values = stand.whole.reference(reference.packed).values
        for site, mask in stand.off_held(values, reference).items():
            moving[site] |= mask
    return tuple(
        Node(site, int(index))
        for site in sorted(read)
        for index in np.flatnonzero(read[site] & moving[site])
    )


def read_nodes(network: Network, encoded: EncodedTask) -> Masks:
    """The nodes that something can depend on.

    Read channels, neurons, values: those with a nonzero weight into the next matrix (at `final`:
    into an answer of the task). Queries and keys: all of a head with such a value. Writes: all,
    for what they write is in every later norm.
    """
    found = {}
    for site in sites(len(network.layers)):
        if site.kind in WRITE_SITES:
            found[site] = np.ones(network.d_model, dtype=np.bool_)
        elif site.kind in ("attn.q", "attn.k"):
            values = _columns(network, Site(site.layer, "attn.v"), encoded)
            heads = values.reshape(network.n_head, network.d_head).any(axis=1)
            found[site] = np.repeat(heads, network.d_head)
        else:
            found[site] = _columns(network, site, encoded)
    return found


def _columns(network: Network, site: Site, encoded: EncodedTask) -> NDArray[np.bool_]:
    """Which channels of a site some weight reads."""
    if site.kind == FINAL:
        matrices = [network.unembedding.take_rows(encoded.answer_tokens())]
    else:
        assert site.layer is not None
        layer = network.layers[site.layer]
        matrices = {
            "attn.in": [layer.q, layer.k, layer.v],
            "attn.v": [layer.attn_out],
            "mlp.in": [layer.mlp_in],
            "mlp.neuron": [layer.mlp_out],
        }[site.kind]
    mask = np.zeros(network.width(site), dtype=np.bool_)
    for matrix in matrices:
        mask[matrix.indices[matrix.indices < len(mask)]] = True
    return mask
