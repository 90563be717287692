"""What a cut node is held at, and where its gate stands: the ablations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wirework.ablation.compact import CompactModel, Reference
from wirework.ablation.packed import Packed
from wirework.ablation.score import PromptTensors
from wirework.core import Config, Site, WireworkError
from wirework.core.names import sites
from wirework.model import Checkpoint, Taps, Transformer
from wirework.model.means import Means

Kind = Literal["mean-pretraining", "mean-task", "mean-position", "zero", "resample", "optimal"]


class AblationConfig(Config):
    """How nodes are cut (weight_sparse_paper.md §4, §10.2; circuit_tools.md §5).

    `kind`: a cut node is held at its average over pretraining text (published), over all tokens
    of the task's `fit` prompts, over those at its position, at zero, at its value in the
    counterfactual prompt of the pair, or at a constant that is learned with the gates.
    `norms`: `frozen` takes the scale of every norm from the whole model on the same prompt, so
    that cutting cannot make the kept writes louder. `gate`: behind AbsTopK (published), where cut
    nodes compete as ever, or `before` it, where they compete as what they are held at.
    """

    kind: Kind = "mean-pretraining"
    norms: Literal["free", "frozen"] = "free"
    gate: Literal["after", "before"] = "after"

    @property
    def name(self) -> str:
        """One word for files and tables, such as `zero+frozen-norms+gate-before`."""
        parts: list[str] = [self.kind]
        parts += ["frozen-norms"] * (self.norms == "frozen")
        parts += ["gate-before"] * (self.gate == "before")
        return "+".join(parts)

    @classmethod
    def of_name(cls, name: str) -> AblationConfig:
        """Inverse of `name`. Raises `ablation-unknown`."""
        kind, *options = name.split("+")
        norms = "frozen" if "frozen-norms" in options else "free"
        gate = "before" if "gate-before" in options else "after"
        try:
            found = cls.parse({"kind": kind, "norms": norms, "gate": gate})
        except WireworkError:
            found = None
        if found is None or found.name != name:
            raise WireworkError(
                "ablation-unknown", "this ablation is not known here",
                expected="such as mean-pretraining or zero+frozen-norms+gate-before", got=name,
            )  # fmt: skip
        return found

    @property
    def constant(self) -> bool:
        """Whether a cut node is the same everywhere, so that a circuit needs no model."""
        return self.kind not in ("mean-position", "resample") and self.norms == "free"


@dataclass(frozen=True)
class Holding:
    """What cut nodes are held at, for one model and one task.

    `constants`: site -> (channels). `by_position`: site -> (context, channels), where the
    position decides.
    """

    config: AblationConfig
    constants: Mapping[Site, Tensor]
    by_position: Mapping[Site, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, config: AblationConfig, checkpoint: Checkpoint, fit: PromptTensors) -> Holding:
        """Raises `means-missing` where the checkpoint came without its averages, and
        `ablation-lengths` where the sides of a pair differ in length and must not."""
        model = checkpoint.model
        kind = model.unembedding.weight.dtype
        if config.kind in ("mean-pretraining", "optimal"):
            return cls(config, _tensors(checkpoint.require_means(), kind))
        if config.kind == "zero":
            zeros = {s: torch.zeros(model.config.width(s.kind), dtype=kind) for s in _sites(model)}
            return cls(config, zeros)
        if config.kind == "resample":
            require_equal_lengths(fit)
        sums, counts = _sums_by_position(model, fit)
        total = counts.sum()
        constants = {site: (rows.sum(0) / total).to(kind) for site, rows in sums.items()}
        if config.kind != "mean-position":
            return cls(config, constants)
        tables = {
            site: torch.where(counts > 0, rows / counts.clamp_min(1), rows.sum(0) / total).to(kind)
            for site, rows in sums.items()
        }
        return cls(config, constants, tables)

    def with_constants(self, constants: Mapping[Site, Tensor]) -> Holding:
        return replace(self, constants=dict(constants))

    @property
    def means(self) -> Means:
        """The constants as plain arrays."""
        return {s: value.detach().float().numpy().copy() for s, value in self.constants.items()}

    def reference(
        self, whole: CompactModel, prompts: PromptTensors, *, shared: bool = True
    ) -> Reference | None:
        """What a pass over `prompts` must be told; None where constants say it all.

        `whole`: the model with nothing shut. `shared`: equal beginnings of prompts may be the same
        rows (`Packed.of`). Raises `ablation-lengths`.
        """
        if self.config.constant:
            return None
        resample = self.config.kind == "resample"
        # What a token takes from a counterfactual, another that begins alike does not take.
        packed = Packed.of(prompts, shared=shared and not resample)
        result = Reference(packed)
        frozen = self.config.norms == "frozen"
        run = whole.reference(packed) if frozen or resample else result
        if frozen:
            result.scales = run.scales
        if resample:
            require_equal_lengths(prompts)
            # Counterfactuals lie behind the prompts, in their order.
            result.values = {s: x.roll(len(x) // 2, 0) for s, x in run.values.items()}
        elif self.config.kind == "mean-position":
            at_ends = packed.at_ends(packed.positions)
            result.values = {
                site: table[at_ends if whole.only_ends(site) else packed.positions]
                for site, table in self.by_position.items()
            }
        return result


def require_equal_lengths(prompts: PromptTensors) -> None:
    """Raises `ablation-lengths` where a prompt and its counterfactual differ in length."""
    unequal = int((prompts.last[: len(prompts)] != prompts.last[len(prompts) :]).sum())
    if unequal:
        raise WireworkError(
            "ablation-lengths",
            "values cannot be taken from a counterfactual of another length",
            expected="pairs whose sides have equally many tokens",
            got=f"{unequal} of {len(prompts)} pairs differ",
            hint="another ablation, or fillings of equal length",
        )


def _sites(model: Transformer) -> tuple[Site, ...]:
    return sites(model.config.n_layer)


def _tensors(means: Means, kind: torch.dtype) -> dict[Site, Tensor]:
    return {site: torch.from_numpy(np.array(mean)).to(kind) for site, mean in means.items()}


@torch.no_grad()
def _sums_by_position(
    model: Transformer, prompts: PromptTensors, chunk: int = 64
) -> tuple[dict[Site, Tensor], Tensor]:
    """Sums of every node over the prompts by position, (context, channels), in float64, and how
    many tokens stand at each position, (context, 1)."""
    places, context = _sites(model), model.config.context
    sums = {s: torch.zeros(context, model.config.width(s.kind)).double() for s in places}
    counts = torch.zeros(context, 1).double()
    for _, piece in prompts.chunks(chunk):
        taps = Taps(record=places)
        model.read_out(piece.tokens, taps)
        real = torch.arange(piece.tokens.shape[1]) <= piece.last[:, None]
        length = piece.tokens.shape[1]
        counts[:length] += real.sum(0)[:, None]
        for site, value in taps.values.items():
            sums[site][:length] += (value.double() * real.unsqueeze(-1)).sum(0)
    return sums, counts
