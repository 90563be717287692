"""Whether kept nodes do in the circuit what they do in the whole model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.core import Measure, Site
from wirework.core.names import READ_SITES
from wirework.validation.both_runs import STILL, BothRuns
from wirework.validation.findings import Findings
from wirework.validation.intervals import POSITIVE, Rows, over_pairs, per_pair

_FAINT = 0.01
"""Difference between the sides over root mean square below which a node tells them not apart."""
_DRAWS = 200
"""Of the bootstrap over nodes by pairs, each of which takes a while in a large circuit."""
_STRONG, _WEAK = 0.5, 0.2
"""Correlation with the side from which a node has a role, and below which it has none."""


def variance_findings(runs: BothRuns, *, seed: int) -> Findings:
    """`fvu`, `fvu:median`: fraction of variance unexplained at kept nodes (§10.2).

    Of node i: sum over tokens t of (p_ti - w_ti)^2 / sum of (w_ti - mean of w_i)^2, p pruned and w
    whole, over all tokens up to each prompt's last (one a prompt where only the last counts).
    `fvu` takes both sums over all kept nodes first, `fvu:median` is the middle node's. 0: the
    same; 1: as far off as the mean would be. `details["fvu"]` has every node, None for one that
    does not vary in the whole model, and every site.
    """
    table: list[dict[str, Any]] = []
    sites: list[dict[str, Any]] = []
    sums = torch.zeros(len(runs.prompts.last), 2, dtype=torch.float64)
    for site, indices in runs.kept.items():
        pruned, whole = runs.activations(site)
        count = runs.tokens(site).sum()
        mean = runs.sums(site, whole).sum(0) / count
        missed, spread = (runs.sums(site, x.square()) for x in (pruned - whole, whole - mean))
        sums += torch.stack([missed.sum(1), spread.sum(1)], 1)
        off, own = missed.sum(0), spread.sum(0)
        square = runs.sums(site, whole.square()).sum(0)
        varies = own > STILL * square
        for place, index in enumerate(indices.tolist()):
            fvu = float(off[place] / own[place]) if varies[place] else None
            gap = float((off[place] / count).sqrt())
            table.append({"node": f"{site}:{index}", "fvu": fvu, "rms_gap": gap})
        total = float(off.sum() / own.sum()) if bool(varies.any()) else None
        sites.append({"site": str(site), "nodes": len(indices), "fvu": total})
    if not table:
        return Findings()
    found = {
        "fvu": over_pairs(
            runs.prompts, per_pair(np.asarray(sums.numpy())), _pooled, seed=seed, better="lower",
            note="Share of what kept nodes vary in the whole model that their activations in the "
            "circuit leave unexplained, all nodes together; may exceed 1",
            within=POSITIVE,
        )
    }  # fmt: skip
    each = [row["fvu"] for row in table if row["fvu"] is not None]
    if each:
        found["fvu:median"] = Measure(
            float(np.median(each)), n=len(each), better="lower",
            note="The same of the middle one of the kept nodes that vary in the whole model",
        )  # fmt: skip
    return Findings(found, {"fvu": {"nodes": table, "sites": sites}})


def _pooled(rows: Rows) -> float:
    """Sum of misses over sum of squares about the mean; where nothing varies, 0 or infinite."""
    missed, spread = rows.sum(0)
    if spread == 0:
        return 0.0 if missed == 0 else float("inf")
    return float(missed / spread)


def role_findings(runs: BothRuns, *, seed: int) -> Findings:
    """`sign_changes`: share of kept nodes that take another part in the task (§10.2c).

    A node's part is the correlation of its mean over a prompt's tokens with the side, +1 for
    prompts and -1 for counterfactuals; 0 where the sides differ by less than 1% of the node's
    root mean square. Counted are signs that flip (both correlations at least 0.5 in size) and
    parts that appear or disappear (at least 0.5 in one run, below 0.2 in the other). Blind where
    the sides of a task mean something else from pair to pair: no node then has a part.
    `details["roles"]` has every node and which of them changed, how.
    """
    if not runs.kept:
        return Findings()
    halves = [[_prompt_means(runs, site, which) for site in runs.kept] for which in (0, 1)]
    means, squares = (
        torch.cat([torch.cat([part[k] for part in half], 1) for half in halves], 1) for k in (0, 1)
    )
    # (N, [first side, second side] x [mean, mean square] x [pruned, whole] x nodes)
    both = torch.stack([means, squares], 1)
    count = len(runs.prompts)
    rows = torch.stack([both[:count], both[count:]], 1).flatten(1).numpy()

    def share(sample: Rows) -> float:
        return float((_changes(*_roles(sample)) != "").mean())

    pruned, whole = _roles(rows)
    changes = _changes(pruned, whole)
    listed = [
        {"node": str(node), "pruned": float(p), "whole": float(w), "change": str(change)}
        for node, p, w, change in zip(runs.nodes, pruned, whole, changes, strict=True)
    ]
    flipped = int((changes == "flips").sum())
    note = (
        f"Share of {len(listed)} kept nodes whose correlation with the task's side flips "
        f"({flipped} of them), appears or disappears when the rest is cut"
    )
    measure = over_pairs(
        runs.prompts,
        rows,
        share,
        seed=seed,
        better="lower",
        note=note,
        draws=_DRAWS,
        within=(0.0, 1.0),
    )
    changed = [row for row in listed if row["change"]]
    return Findings({"sign_changes": measure}, {"roles": {"nodes": listed, "changed": changed}})


def _prompt_means(runs: BothRuns, site: Site, which: int) -> tuple[Tensor, Tensor]:
    """Mean and mean square of every kept node over each prompt's tokens, (2N, kept)."""
    x = runs.activations(site)[which]
    tokens = runs.tokens(site)[:, None]
    return runs.sums(site, x) / tokens, runs.sums(site, x.square()) / tokens


def _roles(rows: Rows) -> tuple[Rows, Rows]:
    """Correlation of every node with the side, in the pruned and in the whole run."""
    first, second = rows.reshape(len(rows), 2, 2, -1).swapaxes(0, 1)
    gap = (first[:, 0].mean(0) - second[:, 0].mean(0)) / 2
    means = np.concatenate([first[:, 0], second[:, 0]])
    size = np.sqrt(np.concatenate([first[:, 1], second[:, 1]]).mean(0))
    spread = means.std(0)
    loud = 2 * np.abs(gap) > _FAINT * size
    found = np.where(loud, gap / np.where(spread > 0, spread, 1), 0.0)
    pruned, whole = np.split(found, 2)
    return pruned, whole


def _changes(pruned: Rows, whole: Rows) -> NDArray[np.str_]:
    """What became of every node's part; an empty text where it stayed."""
    strong = [np.abs(x) >= _STRONG for x in (pruned, whole)]
    weak = [np.abs(x) < _WEAK for x in (pruned, whole)]
    found = np.full(len(pruned), "", dtype="<U10")
    found[strong[0] & strong[1] & (pruned * whole < 0)] = "flips"
    found[strong[0] & weak[1]] = "appears"
    found[weak[0] & strong[1]] = "disappears"
    return found


def norm_findings(runs: BothRuns, *, seed: int) -> Findings:
    """`norm_shift`, `norm_shift:worst`: how much louder or quieter pruning makes norms (§10.2e).

    Of every norm that a kept node reads: the geometric mean over tokens of rms in the whole model
    / rms in the pruned run, which is how much more the norm amplifies. `norm_shift` is the
    geometric mean over norms of that factor or its inverse, whichever exceeds 1; `:worst` the
    largest. 1: no norm changes. `details["norms"]` has the factors themselves.
    """
    places = [site for site in runs.kept if site.kind in READ_SITES]
    if not places:
        return Findings()
    logs = []
    for site in places:
        ratio = (runs.pruned.scales[site] / runs.whole.scales[site]).double().log()
        logs.append(runs.sums(site, ratio) / runs.tokens(site)[:, None])
    rows = per_pair(np.asarray(torch.cat(logs, 1).numpy()))
    found = {
        "norm_shift": over_pairs(
            runs.prompts, rows, lambda x: float(np.exp(np.abs(x.mean(0)).mean())), seed=seed,
            better="lower",
            note="Factor by which pruning changes what norms multiply by, geometric mean over "
            "norms; 1 is no change",
            within=(1.0, np.inf),
        ),
        "norm_shift:worst": over_pairs(
            runs.prompts, rows, lambda x: float(np.exp(np.abs(x.mean(0)).max())), seed=seed,
            better="lower",
            note="The same for the norm that changes most", within=(1.0, np.inf),
        ),
    }  # fmt: skip
    factors = np.exp(rows.mean(0))
    table = [{"norm": str(s), "factor": float(f)} for s, f in zip(places, factors, strict=True)]
    return Findings(found, {"norms": table})
