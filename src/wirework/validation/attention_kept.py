"""Whether the circuit's heads look where the whole model's heads look."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import Reference
from wirework.core import Site
from wirework.model.layers import Layer
from wirework.validation.both_runs import BothRuns
from wirework.validation.findings import Findings
from wirework.validation.intervals import over_pairs, per_pair

_SPREAD = 1e-4
"""Greatest difference between the scores of two keys in a head that is called uniform."""


def attention_findings(runs: BothRuns, *, seed: int) -> Findings:
    """`attention_distance`: mean total variation distance between attention patterns (§10.2b).

    For every head with a kept value: half the sum of |share in the pruned run - share in the whole
    run| over keys and sink, 0 to 1; mean over the queries whose output counts (the last token in
    the last layer, all tokens before) of each prompt, over prompts, over heads. Nothing is
    measured where no value is kept. `details["attention"]` has every head, and whether its keys
    score alike, so that it looks nowhere, in either run.
    """
    table: list[dict[str, Any]] = []
    distances = []
    for layer in range(runs.subject.model.config.n_layer):
        heads = _heads_with(runs, Site(layer, "attn.v"))
        if not len(heads):
            continue
        pruned, whole = (_Patterns(runs, run, layer, heads) for run in (runs.pruned, runs.whole))
        distance = pruned.distance(whole)
        distances.append(distance)
        both = zip(heads.tolist(), distance.mean(0).tolist(), strict=True)
        for place, (head, value) in enumerate(both):
            table.append(
                {
                    "head": f"{layer}.{head}",
                    "distance": value,
                    "uniform": pruned.uniform[place],
                    "uniform_in_model": whole.uniform[place],
                    "queries": int((_heads_of(runs, Site(layer, "attn.q")) == head).sum()),
                    "keys": int((_heads_of(runs, Site(layer, "attn.k")) == head).sum()),
                }
            )
    if not table:
        return Findings()
    gone = [row["head"] for row in table if row["uniform"] and not row["uniform_in_model"]]
    note = (
        f"Share of attention that lies elsewhere than in the whole model, mean over "
        f"{len(table)} heads; {len(gone)} of them look nowhere any more"
    )
    rows = per_pair(np.asarray(torch.cat(distances, 1).mean(1).numpy()))
    measure = over_pairs(runs.prompts, rows, seed=seed, better="lower", note=note)
    details = {"heads": table, "became_uniform": gone}
    return Findings({"attention_distance": measure}, {"attention": details})


class _Patterns:
    """Attention of some `heads` (n) of one layer in one of the runs.

    `shares` (2N, queries, n, keys + 1): the sink's in the last place, where there is one.
    `uniform`: whether a head's scores are the same for all keys.
    """

    def __init__(self, runs: BothRuns, run: Reference, layer: int, heads: Tensor) -> None:
        site, packed, last = Site(layer, "attn.q"), runs.held.packed, runs.prompts.last
        q = self._channels(runs, run, site, heads)
        k = packed.pad(self._channels(runs, run, Site(layer, "attn.k"), heads).flatten(1))
        k = k.view(*k.shape[:2], len(heads), -1)
        places = torch.arange(packed.length)
        if runs.subject.whole.only_ends(site):
            q, at = q[:, None], last[:, None]
        else:
            q = packed.pad(q.flatten(1)).view(k.shape)
            at = places.expand(len(last), -1)
        scores = torch.einsum("bqhc,bkhc->bqhk", q, k) * q.shape[-1] ** -0.5
        hidden = (places > at[..., None])[:, :, None]
        # A query behind a prompt's end is nobody's.
        self.real = at <= last[:, None]
        spread = scores.masked_fill(hidden, -torch.inf).amax(-1)
        spread = (spread - scores.masked_fill(hidden, torch.inf).amin(-1)) * self.real[..., None]
        self.uniform: list[bool] = (spread.amax((0, 1)) <= _SPREAD).tolist()
        scores = scores.masked_fill(hidden, -torch.inf)
        own = runs.subject.model.layers[layer]
        assert isinstance(own, Layer)
        if own.attn.sink is not None:
            sink = own.attn.sink.detach().double()[heads]
            scores = torch.cat([scores, sink[:, None].expand(*scores.shape[:3], 1)], -1)
        self.shares = scores.softmax(-1)

    def distance(self, other: _Patterns) -> Tensor:
        """Of every prompt and head, mean over queries, (2N, n)."""
        apart = (self.shares - other.shares).abs().sum(-1) / 2
        total: Tensor = (apart * self.real[..., None]).sum(1)
        return total / self.real.sum(1)[:, None]

    @staticmethod
    def _channels(runs: BothRuns, run: Reference, site: Site, heads: Tensor) -> Tensor:
        """What attention sees of a site, (rows, heads, d_head), in float64."""
        x = run.values[site]
        if run is runs.pruned:
            kept = torch.from_numpy(runs.subject.keep[site])
            x = torch.where(kept, x, runs.closed(site).to(x.dtype))
        return x.double().view(len(x), runs.subject.model.config.n_head, -1)[:, heads]


def _heads_with(runs: BothRuns, site: Site) -> Tensor:
    """Heads with a kept channel at a site, rising."""
    return torch.from_numpy(np.unique(_heads_of(runs, site).numpy()))


def _heads_of(runs: BothRuns, site: Site) -> Tensor:
    """The head of every kept channel of a site."""
    kept = runs.kept.get(site, torch.empty(0, dtype=torch.int64))
    return kept // runs.subject.model.config.d_head
