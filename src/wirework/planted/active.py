"""The few nodes of a planted model that can matter to its task."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import PromptTensors
from wirework.core import Node, Site
from wirework.core.names import FINAL, WRITE_SITES, sites
from wirework.engine import Network
from wirework.model import Checkpoint, Taps
from wirework.tasks import NO_TOKEN, EncodedTask, Task


def active_nodes(checkpoint: Checkpoint, task: Task) -> tuple[Node, ...]:
    """The nodes that some weight reads and that vary over the task, in order of computation.

    A node that no weight reads (`read_nodes`) changes no other number. A node that stands at its
    mean wherever the task looks is left unchanged when it is cut; `minimal_circuits` checks that
    it stays there with any active nodes cut.
    """
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    read = read_nodes(checkpoint.sparse(), encoded)
    moving = {site: np.zeros_like(mask) for site, mask in read.items()}
    for part in (encoded.fit, encoded.select, encoded.report):
        prompts = PromptTensors.of(part)
        taps = Taps(record=read)
        with torch.no_grad():
            checkpoint.model.read_out(prompts.tokens, taps)
        for site, value in taps.values.items():
            mean = torch.from_numpy(checkpoint.means[site])
            moving[site] |= off_mean(value, mean, prompts).numpy()
    return tuple(
        Node(site, int(index))
        for site in sorted(read)
        for index in np.flatnonzero(read[site] & moving[site])
    )


def off_mean(value: Tensor, mean: Tensor, prompts: PromptTensors) -> Tensor:
    """Which channels of a site's activation (R, T, d) differ from their mean in some prompt."""
    real = torch.arange(value.shape[1]) <= prompts.last[:, None]
    return ((value != mean) & real[..., None]).flatten(0, 1).any(0)


def read_nodes(network: Network, encoded: EncodedTask) -> dict[Site, NDArray[np.bool_]]:
    """The nodes that something can depend on, site -> (channels,).

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
        parts = (encoded.fit, encoded.select, encoded.report)
        answers = np.unique(np.concatenate([part.wanted.ravel() for part in parts]))
        matrices = [network.unembedding.take_rows(answers[answers != NO_TOKEN])]
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
