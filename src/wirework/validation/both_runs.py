"""The circuit alone and the whole model on the same prompts: every node and norm of either run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from wirework.ablation import Keep, PromptTensors, Reference
from wirework.ablation.compact import Gates
from wirework.ablation.packed import Packed
from wirework.core import Node, Site
from wirework.validation.subject import Subject

MOST_PAIRS = 64
"""Every site of both runs is held in memory, so that more pairs would not always fit."""

STILL = 1e-10
"""Variance over mean square up to which a node does not vary: float32 rounds there."""


@dataclass(frozen=True, eq=False)
class BothRuns:
    """The pruned run, which is the circuit's, and that of the whole model on the same `prompts`.

    `held`: what the pruned run was told. `pruned`, `whole`: what every site gives, before its
    gates, and every norm's scale, in rows of one `Packed`; sites that only the last tokens need
    have one row a prompt.
    """

    subject: Subject
    prompts: PromptTensors
    held: Reference
    pruned: Reference
    whole: Reference

    @classmethod
    def of(cls, subject: Subject, prompts: PromptTensors) -> Self:
        """Raises `ablation-lengths`."""
        model = subject.whole
        held = subject.holding.reference(model, prompts) or Reference(Packed.of(prompts))
        pruned = Reference(held.packed)
        with torch.no_grad():
            model.margins(prompts, gates_of(subject, subject.keep), held, subject.edges, pruned)
        return cls(subject, prompts, held, pruned, model.reference(held.packed))

    @cached_property
    def kept(self) -> dict[Site, Tensor]:
        """Indices of the kept nodes of every site that keeps any, in order of computation."""
        found = {s: torch.from_numpy(kept).nonzero()[:, 0] for s, kept in self.subject.keep.items()}
        return {site: found[site] for site in sorted(found) if len(found[site])}

    @property
    def nodes(self) -> list[Node]:
        """All kept nodes, in the order of `kept`."""
        return [Node(site, int(i)) for site, indices in self.kept.items() for i in indices]

    def activations(self, site: Site) -> tuple[Tensor, Tensor]:
        """Kept nodes of a site in the pruned and in the whole run, (rows, kept) each, float64."""
        runs = (self.pruned, self.whole)
        pruned, whole = (run.values[site][:, self.kept[site]].double() for run in runs)
        return pruned, whole

    def tokens(self, site: Site) -> Tensor:
        """How many tokens of every prompt a site is computed for, (2N): up to its last one."""
        ends = self.subject.whole.only_ends(site)
        return torch.ones_like(self.prompts.last) if ends else self.prompts.last + 1

    def sums(self, site: Site, x: Tensor) -> Tensor:
        """x (rows of the site, n) -> its sums over the tokens of every prompt, (2N, n)."""
        if self.subject.whole.only_ends(site):
            return x
        packed = self.held.packed
        real = torch.arange(packed.length) <= self.prompts.last[:, None]
        return (packed.pad(x) * real[..., None]).sum(1)

    def closed(self, site: Site) -> Tensor:
        """What cut nodes of a site take in the pruned run, (channels) or (rows, channels)."""
        return self.held.values.get(site, self.subject.holding.constants[site])

    def circuit_with(self, swapped: Keep, values: dict[Site, Tensor]) -> Tensor:
        """Uncalibrated margins of the circuit, (2N), with some of its nodes, `swapped`, at other
        `values`, site -> (rows, channels)."""
        gates, reference = self.swap(swapped, values)
        with torch.no_grad():
            found = self.subject.whole.margins(self.prompts, gates, reference, self.subject.edges)
        return found.double()

    def swap(self, swapped: Keep, values: dict[Site, Tensor]) -> tuple[Gates, Reference]:
        """Gates and what closed nodes take, for the pruned run with nodes at other values."""
        subject = self.subject
        told = dict(self.held.values)
        for site, value in values.items():
            own = torch.from_numpy(swapped[site])
            told[site] = torch.where(own, value, self.closed(site).to(value.dtype))
        left = {site: kept & ~swapped[site] for site, kept in subject.keep.items()}
        return gates_of(subject, left), Reference(self.held.packed, told, self.held.scales)

    def model_with(self, swapped: Keep) -> Tensor:
        """Margins of the whole model, (2N), with nodes at what they are in the pruned run."""
        left = {site: ~mask for site, mask in swapped.items()}
        told = Reference(self.held.packed, self.pruned.values, self.held.scales)
        with torch.no_grad():
            found = self.subject.whole.margins(self.prompts, gates_of(self.subject, left), told)
        return found.double()


def gates_of(subject: Subject, keep: Keep) -> dict[Site, Tensor]:
    """Masks as gates in the precision of the model."""
    kind = subject.model.unembedding.weight.dtype
    return {site: torch.from_numpy(kept).to(kind) for site, kept in keep.items()}
