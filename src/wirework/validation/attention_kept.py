"""Whether the circuit's heads look where the whole model's heads look."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import Look, attention_distance
from wirework.validation.both_runs import BothRuns
from wirework.validation.findings import Findings
from wirework.validation.intervals import over_pairs, per_pair

_SPREAD = 1e-4
"""Greatest difference between the scores of two keys in a head that is called uniform."""


def attention_findings(runs: BothRuns, *, seed: int) -> Findings:
    """`attention_distance`: mean total variation distance between attention patterns (§10.2b).

    `ablation.attention_distance` between the pruned run and the whole one, mean over prompts and
    over heads with a kept value; nothing is measured where no value is kept.
    `details["attention"]` has every head, and whether its keys score alike, so that it looks
    nowhere, in either run.
    """
    last = runs.prompts.last
    pruned, whole = (
        {layer: look.to(torch.float64) for layer, look in run.looks.items()}
        for run in (runs.pruned, runs.whole)
    )
    found = attention_distance(runs.subject.model, pruned, whole, last)
    if not found:
        return Findings()
    table: list[dict[str, Any]] = []
    for (layer, head), distance in found.items():
        table.append(
            {
                "head": f"{layer}.{head}",
                "distance": float(distance.mean()),
                "uniform": _uniform(pruned[layer], head, last),
                "uniform_in_model": _uniform(whole[layer], head, last),
                "queries": _kept(runs, layer, "attn.q", head),
                "keys": _kept(runs, layer, "attn.k", head),
            }
        )
    gone = [row["head"] for row in table if row["uniform"] and not row["uniform_in_model"]]
    note = (
        f"Share of attention that lies elsewhere than in the whole model, mean over "
        f"{len(table)} heads; {len(gone)} of them look nowhere any more"
    )
    rows = per_pair(np.asarray(torch.stack(list(found.values()), 1).mean(1).numpy()))
    measure = over_pairs(
        runs.prompts, rows, seed=seed, better="lower", note=note, within=(0.0, 1.0)
    )
    details = {"heads": table, "became_uniform": gone}
    return Findings({"attention_distance": measure}, {"attention": details})


def _uniform(look: Look, head: int, last: Tensor) -> bool:
    """Whether the scores of a head are the same for all keys."""
    scores = look.scores(torch.tensor([head]), last)[:, 0]
    spread = scores.amax(-1) - torch.where(scores.isinf(), torch.inf, scores).amin(-1)
    return float((spread * look.counts(last)).max()) <= _SPREAD


def _kept(runs: BothRuns, layer: int, kind: str, head: int) -> int:
    """How many channels of a head are kept."""
    width = runs.subject.model.config.d_head
    return sum(
        (node.site.layer, node.site.kind, node.index // width) == (layer, kind, head)
        for node in runs.nodes
    )
