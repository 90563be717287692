"""The bench on which every candidate for a circuit is measured alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from wirework.ablation import (
    CompactModel,
    Holding,
    Keep,
    PromptTensors,
    TaskScore,
    all_margins,
    calibrate,
    edge_masks,
    keep_of,
    kept_nodes,
    lone_margins,
    masked_margins,
    score,
    score_of,
    shifted,
    site_gates,
)
from wirework.circuit import (
    Calibration,
    Nodes,
    between,
    extract,
    on_path,
    sizes,
    without_edges,
    without_node,
)
from wirework.core import Edge, Node, WireworkError
from wirework.discovery.attention_limit import AttentionLimit
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.objective import Objective
from wirework.discovery.restored import Bearing
from wirework.engine import Network
from wirework.model import Checkpoint
from wirework.tasks import EncodedTask, Task

_LOSS_OFF, _MARGIN_OFF = 0.2, 0.01
"""By what share of the limits on loss and margin part of the prompts may mislead."""


@dataclass(frozen=True)
class Candidate:
    """A set of nodes, nodes off every path removed, with its loss on `select`.

    `margin`: mean margin of the wanted answers there, before calibration. `cut`: edges between
    its nodes that are cut.
    """

    keep: Keep
    lone: Network
    calibration: Calibration
    loss: float
    margin: float
    meets_target: bool
    cut: frozenset[Edge] = frozenset()

    @cached_property
    def nodes(self) -> Nodes:
        return kept_nodes(self.keep)

    @cached_property
    def edges(self) -> int:
        """Number of nonzero weights between its nodes that are not cut."""
        return sizes(self.lone, self.nodes, ()).edges

    def __len__(self) -> int:
        return sum(len(indices) for indices in self.nodes.values())


@dataclass(frozen=True)
class CurvePoint:
    """One candidate on the way: its size, and its calibrated loss on `select` in nats."""

    nodes: int
    edges: int
    loss: float


@dataclass(frozen=True)
class Price:
    """`loss`: by how much the loss rises, in nats. `bearable`: whether the target may still be met
    then, as far as part of the prompts can tell."""

    loss: float
    bearable: bool


class Bench:
    """Measures sets of nodes as lone circuits: calibrated on `fit`, scored on `select`.

    `holding`: what cut nodes are held at; where that is no constant, it is the masked model that
    is measured. `full`: the whole model on `select`, calibrated as candidates are. `measured`:
    every candidate so far, by the way. With `config.every_template` each template must meet the
    target, or else what the whole model reaches there: the smallest set would otherwise give up
    the templates that cost most. With `config.restore` a candidate must bear it (`Bearing`): the
    smallest set would otherwise give up what only that asks for.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoded: EncodedTask,
        config: DiscoveryConfig,
        holding: Holding,
    ) -> None:
        parts = (encoded.fit, encoded.select, encoded.report)
        self.fit, self.select, self.report = (PromptTensors.of(part) for part in parts)
        self.config = config
        self.model = checkpoint.model
        self.answers = encoded.answer_tokens()
        self.tokens = encoded.prompt_tokens()
        self.network = checkpoint.sparse()
        self.measured: list[CurvePoint] = []
        self.before = (0.0, 0.0)
        self.full = full_score(checkpoint, self.fit, self.select, config)
        self.limits: dict[int, float] = {}
        if config.every_template:
            target = config.target_loss
            self.limits = {key: max(target, x) for key, x in self.full.by_template().items()}
        self.priced: Candidate | None = None
        self.hold(holding)

    @classmethod
    def of(cls, checkpoint: Checkpoint, encoded: EncodedTask, config: DiscoveryConfig) -> Self:
        """With what `config.ablation` says cut nodes are held at."""
        fit = PromptTensors.of(encoded.fit)
        return cls(checkpoint, encoded, config, Holding.of(config.ablation, checkpoint, fit))

    def hold(self, holding: Holding) -> None:
        """From now on cut nodes are held at these values."""
        self.holding = holding
        self.means = holding.means
        self.before_topk = holding.config.gate == "before"
        self.widths = {site: len(mean) for site, mean in self.means.items()}
        self.whole = CompactModel(
            self.model, holding.constants, torch.from_numpy(self.answers), before=self.before_topk
        )
        part = self.select.first(self.config.price_pairs)
        self.bearing = Bearing(self.whole, holding, part, self.config)
        self.attention = self.attention_limit(part)
        self.least_margin = self.empty_margin = -np.inf
        empty = self.measure({s: np.zeros(n, dtype=np.bool_) for s, n in self.widths.items()})
        full = float(all_margins(self.model, self.select).mean())
        share = self.config.faithfulness
        if share and full > empty.margin:
            self.empty_margin = empty.margin
            self.least_margin = empty.margin + share * (full - empty.margin)

    def attention_limit(self, prompts: PromptTensors) -> AttentionLimit | None:
        """What `config.attention` asks for on some prompts."""
        limit = self.config.attention
        return AttentionLimit(self.whole, prompts, limit) if limit < 1 else None

    def objective(self, coefficient: float, calibration: Calibration | None = None) -> Objective:
        """What gates are to be trained for, so that what they leave open meets the target."""
        return Objective(
            self.config,
            coefficient,
            calibration=calibration or Calibration(),
            limits=self.limits,
            margins=(self.empty_margin, self.least_margin),
        )

    def measure(self, keep: Keep, cut: Collection[Edge] = ()) -> Candidate:
        """Remove nodes off every path, take the circuit out, calibrate, score.

        `cut`: edges that are cut beside the nodes; no path may take them.
        """
        keep, lone, left = self.take_out(keep, cut)
        calibration = Calibration()
        if self.config.calibrate == "during":
            part = self.fit.first(self.config.calibration_pairs)
            calibration = calibrate(self.margins(keep, lone, part), part.side)
        values = self.margins(keep, lone, self.select)
        result = score_of(values, self.select, calibration)
        margin = float(values.mean())
        meets = result.loss <= self.config.target_loss and margin >= self.least_margin
        meets = meets and all(
            loss <= self.limits.get(key, np.inf) for key, loss in result.by_template().items()
        )
        if self.config.restore != "none":
            meets = meets and self.bearing.met(keep, left)
        if self.attention is not None:
            meets = meets and self.attention.met(keep, self.holding, edge_masks(self.whole, left))
        found = Candidate(keep, lone, calibration, result.loss, margin, meets, left)
        self.measured.append(CurvePoint(len(found), found.edges, found.loss))
        return found

    def take_out(
        self, keep: Keep, cut: Collection[Edge] = ()
    ) -> tuple[Keep, Network, frozenset[Edge]]:
        """Nodes that are left when those off every path are removed, the circuit, its cut edges."""
        nodes = kept_nodes(keep)
        used = on_path(
            self.network, nodes, outputs=self.answers, tokens=self.tokens, cut=cut,
            from_input=self.holding.config.kind not in ("zero", "optimal"),
        )  # fmt: skip
        keep, left = keep_of(used, self.widths), between(cut, used)
        gates = site_gates(keep, self.means, before=self.before_topk)
        return keep, extract(self.network, gates, self.answers, left), left

    def margins(self, keep: Keep, lone: Network, prompts: PromptTensors) -> Tensor:
        """Uncalibrated margins of a candidate, (2N)."""
        if self.holding.config.constant:
            return torch.from_numpy(lone_margins(lone, prompts, np.float32))
        return masked_margins(self.whole, self.holding, keep, prompts).double()

    def calibration(self, found: Candidate) -> Calibration:
        """Scale and shift on all of `fit`."""
        return calibrate(self.margins(found.keep, found.lone, self.fit), self.fit.side)

    def price(self, found: Candidate, less: Node | Edge | None = None) -> float:
        """Loss on part of `select`, with one node or edge of the candidate cut."""
        return self._part(found, less)[0]

    def weigh(self, found: Candidate, less: Node | Edge) -> Price:
        """What cutting one node or edge of the candidate does, measured on part of `select`."""
        if self.priced is not found:
            self.priced, self.before = found, self._part(found)
        loss, margin = self._part(found, less)
        before, margin_before = self.before
        at_least = self.least_margin - _MARGIN_OFF * abs(self.least_margin)
        bearable = found.loss + loss - before <= (1 + _LOSS_OFF) * self.config.target_loss
        return Price(loss - before, bearable and found.margin + margin - margin_before >= at_least)

    def _part(self, found: Candidate, less: Node | Edge | None = None) -> tuple[float, float]:
        """Loss and mean margin on part of `select`."""
        lone, keep = found.lone, found.keep
        if isinstance(less, Node):
            lone = without_node(lone, less)
            keep = {**keep, less.site: keep[less.site].copy()}
            keep[less.site][less.index] = False
        elif less is not None:
            lone = without_edges(lone, [less])
        part = self.select.first(self.config.price_pairs)
        values = self.margins(keep, lone, part)
        calibration = found.calibration
        if self.config.calibrate == "during":
            # A constant that a part adds is no loss: the next fit would make up for it.
            calibration = shifted(values, part.side, calibration)
        return score_of(values, part, calibration).loss, float(values.mean())

    def curve(self) -> tuple[CurvePoint, ...]:
        """The smallest loss of every size measured so far, rising in nodes."""
        best: dict[int, CurvePoint] = {}
        for point in self.measured:
            if point.nodes not in best or point.loss < best[point.nodes].loss:
                best[point.nodes] = point
        return tuple(best[nodes] for nodes in sorted(best))


def full_score(
    checkpoint: Checkpoint, fit: PromptTensors, select: PromptTensors, config: DiscoveryConfig
) -> TaskScore:
    """The whole model on `select`, calibrated as every candidate will be."""
    calibration = Calibration()
    if config.calibrate == "during":
        part = fit.first(config.calibration_pairs)
        calibration = calibrate(all_margins(checkpoint.model, part), part.side)
    return score(checkpoint.model, select, calibration=calibration)


def require_learned(checkpoint: Checkpoint, task: Task, config: DiscoveryConfig) -> None:
    """Raises `task-unlearned` where the calibrated model misses the target on `select`."""
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    fit, select = PromptTensors.of(encoded.fit), PromptTensors.of(encoded.select)
    refuse_unlearned(task, config.target_loss, full_score(checkpoint, fit, select, config).loss)


def refuse_unlearned(task: Task, target: float, loss: float) -> None:
    """Raises `task-unlearned` where `loss` exceeds the target."""
    if loss > target:
        raise WireworkError(
            "task-unlearned",
            f"the full model itself misses the target on {task.name}",
            expected=f"a loss of at most {target:g} on the split `select`",
            got=f"loss {loss:.3f}",
            hint=f"a longer training, --target-loss {loss * 1.2:.2f}, or --unlearned-ok to go on",
        )
