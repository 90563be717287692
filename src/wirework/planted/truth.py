"""The truth about a planted model: every minimal circuit, by enumeration."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wirework.ablation import CompactModel, PromptTensors, Reference, calibrate, score_of
from wirework.ablation.packed import Packed
from wirework.core import Node, Site, WireworkError
from wirework.core.names import FINAL
from wirework.planted.active import Stand, read_nodes
from wirework.planted.draft import Planted
from wirework.planted.feeds import fed_by

MOST_ACTIVE = 20
_ROWS = 2048

Sets = NDArray[np.int64]
"""Sets of active nodes, as numbers with a bit for each node."""


def minimal_circuits(
    planted: Planted, target_loss: float, *, every_template: bool = True
) -> list[frozenset[Node]]:
    """All sets of nodes that meet the target and of which no proper subset does.

    Meeting it means what it means to `discover` with `faithfulness` 0: every other node held as
    `planted.ablation` says, scale and shift fitted on `fit` (`calibrate`), two-sided loss on
    `select` at most `target_loss`, with `every_template` on the prompts of each template. Nothing
    is assumed about the loss of a set from the loss of another: every subset of the active nodes
    is measured but those that hold a minimal circuit already found, and those with a node that
    feeds cut nodes only (`fed_by`): without it they are the same model.
    Nodes that are not active are kept meanwhile, and each is seen to stand at what it is held at
    or to be read by nothing, so that cutting it changes no number; in a host (`planted.others`)
    these are all the minimal circuits among the sets of active nodes. By size, then by name. Raises
    `truth-too-large`, `truth-ablation`, `ablation-lengths`.
    """
    active = planted.active
    if len(active) > MOST_ACTIVE:
        raise WireworkError(
            "truth-too-large",
            "the model has too many active nodes to try every set of them",
            expected=f"at most {MOST_ACTIVE}",
            got=str(len(active)),
        )
    trial = _Trial(planted, target_loss, every_template)
    sets = trial.joined()
    sizes = np.bitwise_count(sets)
    found: list[int] = []
    for size in range(len(active) + 1):
        masks = sets[sizes == size]
        for smaller in found:
            masks = masks[(masks & smaller) != smaller]
        found += [int(m) for m in masks[trial.hopeful(masks)] if trial.meets_target(m)]
    circuits = (frozenset(node for i, node in enumerate(active) if m >> i & 1) for m in found)
    return sorted(circuits, key=lambda nodes: (len(nodes), sorted(nodes)))


class _Trial:
    """Measures many sets of active nodes at once: one copy of the prompts for each set."""

    def __init__(self, planted: Planted, target_loss: float, every_template: bool) -> None:
        self.target_loss = target_loss
        self.every_template = every_template
        self.planted = planted
        self.active = planted.active
        checkpoint = planted.checkpoint
        self.stand = Stand.of(checkpoint, planted.task, planted.config)
        self.whole = self.stand.whole if planted.others != "cut" else self.without_host()
        self.fit, self.select, _ = self.stand.parts
        self.network = checkpoint.sparse()
        self.kept = read_nodes(self.network, self.stand.encoded)
        if planted.others == "cut":
            self.kept = {site: np.zeros_like(mask) for site, mask in self.kept.items()}
        for node in self.active:
            self.kept[node.site][node.index] = False

    def without_host(self) -> CompactModel:
        """The same model where all but active nodes are closed for good, in less time."""
        whole, holding = self.stand.whole, self.stand.holding
        if not holding.config.constant:
            return whole
        kept = {site: np.zeros(len(held), dtype=np.bool_) for site, held in whole.constants.items()}
        for node in self.active:
            kept[node.site][node.index] = True
        return CompactModel(whole.model, whole.constants, whole.answers, kept=kept)

    def joined(self) -> Sets:
        """All sets but those with a node that changes no other one kept."""
        sets = np.arange(1 << len(self.active), dtype=np.int64)
        places = {node: place for place, node in enumerate(self.active)}
        for node, place in places.items():
            fed = fed_by(self.network, self.planted.checkpoint.config, node)
            feeds_others = any(self.kept[other.site][other.index] for other in fed)
            if node.site.kind == FINAL or feeds_others:
                continue
            consumers = sum(1 << places[other] for other in fed if other in places)
            sets = sets[(sets >> place & 1 == 0) | (sets & consumers != 0)]
        return sets

    def hopeful(self, sets: Sets) -> NDArray[np.bool_]:
        """Which sets might meet the target, whatever their calibration.

        A prompt on the wrong side costs at least log 2, and no scale > 0 and shift get fewer of
        them on the wrong side than the best threshold between the two sides. A few pairs of one
        template, of which all must be told apart, rule most sets out.
        """
        hopeful = np.ones(len(sets), dtype=np.bool_)
        for prompts, rows in self.stages():
            if not hopeful.any():
                break
            wrong = _least_wrong(self.margins(sets[hopeful], prompts), prompts.side)
            hopeful[hopeful] = np.log(2) * wrong / rows <= self.target_loss
        return hopeful

    def stages(self) -> list[tuple[PromptTensors, int]]:
        """Prompts that are asked in turn, with how many the loss is the mean of."""
        stages = [(self.select, len(self.select.last))]
        if self.every_template:
            templates = self.select.template[: len(self.select)]
            counts = templates.bincount()
            rarest = int(counts.masked_fill(counts == 0, len(templates) + 1).argmin())
            rows = 2 * int(counts[rarest])
            few = (templates == rarest).nonzero()[: int(self.target_loss * rows / np.log(2)) + 1, 0]
            stages.insert(0, (self.select.pairs(few), rows))
        return stages

    def meets_target(self, one: np.int64) -> bool:
        """Whether one set, calibrated on `fit`, reaches the target on `select`."""
        sets = np.array([one])
        calibration = calibrate(self.margins(sets, self.fit)[0], self.fit.side)
        result = score_of(self.margins(sets, self.select)[0], self.select, calibration)
        losses = result.by_template().values() if self.every_template else [result.loss]
        return max(losses) <= self.target_loss

    @torch.no_grad()
    def margins(self, sets: Sets, prompts: PromptTensors) -> Tensor:
        """Margins of every prompt (2N) under every set: (sets, 2N)."""
        rows = len(prompts.last)
        once = self.stand.reference(prompts)
        found = []
        for piece in torch.split(torch.from_numpy(sets), max(1, _ROWS // rows)):
            many = prompts.rows(torch.arange(rows).repeat(len(piece)))
            reference = _copies(once, Packed.of(many, shared=False), len(piece))
            record = Reference(reference.packed)
            values = self.whole.margins(
                many, self.gates(piece, reference), reference, record=record
            )
            found.append(values.double().view(len(piece), rows))
            if self.planted.others == "still":
                self.require_still(reference, record)
        return torch.cat(found)

    def require_still(self, reference: Reference, record: Reference) -> None:
        """The nodes that are kept beside the active ones are where they would be held."""
        for site, off in self.stand.off_held(record.values, reference).items():
            assert not (off & self.kept[site]).any(), f"{site} has nodes that are active after all"

    def gates(self, sets: Tensor, reference: Reference) -> dict[Site, Tensor]:
        """Gates of every site: of sites with active nodes, other ones for each set's rows."""
        packed, gates = reference.packed, {}
        other = 0.0 if self.planted.others == "cut" else 1.0
        for site, held in self.stand.holding.constants.items():
            mine = [place for place, node in enumerate(self.active) if node.site == site]
            gates[site] = torch.full((len(held),), other)
            if mine:
                rows = packed.ends if self.whole.only_ends(site) else packed.tokens
                each = torch.full((len(sets), len(held)), other)
                places = [self.active[place].index for place in mine]
                each[:, places] = (sets[:, None] >> torch.tensor(mine) & 1).float()
                gates[site] = each.repeat_interleave(len(rows) // len(sets), 0)
        return gates


def _copies(once: Reference, packed: Packed, times: int) -> Reference:
    """What closed channels take in so many copies of all prompts."""
    values = {site: value.repeat(times, 1) for site, value in once.values.items()}
    scales = {site: scale.repeat(times, 1) for site, scale in once.scales.items()}
    return Reference(packed, values, scales)


def _least_wrong(margins: Tensor, side: Tensor) -> NDArray[np.float64]:
    """How many prompts are on the wrong side of the best threshold, (sets); margins (sets, 2N)."""
    ordered, order = (margins * side).sort(dim=1)
    first = (side[order] > 0).double()
    none = torch.zeros(len(margins), 1, dtype=torch.float64)
    below = torch.cat([none, first.cumsum(1)], 1)
    above = torch.cat([none, (1 - first).cumsum(1)], 1)
    wrong = below + above[:, -1:] - above
    # A threshold cannot stand between equal values.
    tied = torch.cat([none, (ordered.diff(dim=1) == 0).double(), none], 1)
    return wrong.masked_fill(tied > 0, torch.inf).amin(1).numpy()
