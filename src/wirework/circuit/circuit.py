"""A circuit: plain data that says which nodes carry a behaviour, and a program that runs alone."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.circuit.file import (
    VERSION,
    CalibrationHeader,
    CircuitHeader,
    describe,
    read_circuit,
    write_circuit,
)
from wirework.circuit.graph import Nodes, Sizes, Subgraph, edges, sizes
from wirework.core import Edge, Site, WireworkError
from wirework.core.names import sites
from wirework.engine import Network, Trace, forward


@dataclass(frozen=True)
class Calibration:
    """Calibrated margin = scale * margin + shift, where the margin is lse(wanted) - lse(other)
    of the first side. Raises `calibration-not-positive`: a negative scale would make an inverted
    circuit perfect (design §4)."""

    scale: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.scale) and math.isfinite(self.shift)):
            raise WireworkError(
                "calibration-not-positive",
                "a calibration needs a positive, finite scale",
                expected="scale > 0",
                got=f"scale {self.scale}, shift {self.shift}",
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Circuit:
    """The masked model, exactly (design §2).

    `nodes`: kept nodes, site -> rising indices. `network`: the lone program (`extract`).
    `tokenizer`: its JSON. `task`: the task as plain JSON, with its pairs. `prompt_tokens`: ids
    that occur in the task's prompts. `ablation`: what cut nodes are held at. `runs_alone`: false
    where constants are not enough. `losses`: `task_loss`, `task_loss_raw`, `task_accuracy` on
    `report` and others. Raises `circuit-inconsistent` where nodes and network disagree.
    """

    nodes: Nodes
    network: Network
    tokenizer: str
    task: Mapping[str, Any]
    prompt_tokens: tuple[int, ...]
    model_hash: str
    model_step: int = 0
    calibration: Calibration = Calibration()
    ablation: str = "mean-pretraining"
    runs_alone: bool = True
    losses: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault:
            raise WireworkError("circuit-inconsistent", "a circuit contradicts itself", got=fault)

    @cached_property
    def sizes(self) -> Sizes:
        return sizes(self.network, self.nodes, self.prompt_tokens)

    @property
    def n_nodes(self) -> int:
        return self.sizes.nodes

    @property
    def n_edges(self) -> int:
        return self.sizes.edges

    @property
    def embedding_edges(self) -> int:
        return self.sizes.embedding_edges

    @property
    def unembedding_edges(self) -> int:
        return self.sizes.unembedding_edges

    @property
    def shadow_weights(self) -> int:
        return self.sizes.shadow_weights

    def identity(self) -> dict[str, str]:
        """What a report of this circuit names it by: hashes of its model, nodes and edges."""
        nodes = {str(site): list(found) for site, found in sorted(self.nodes.items())}
        edges = [str(edge) for edge, _ in self.edges()]
        return {
            "model": self.model_hash,
            "nodes": hashlib.sha256(json.dumps(nodes).encode()).hexdigest(),
            "edges": hashlib.sha256(json.dumps(edges).encode()).hexdigest(),
        }

    def edges(self) -> list[tuple[Edge, float]]:
        """Nonzero weights between kept nodes, in order of computation."""
        return edges(self.network, self.nodes)

    def graph(self) -> Subgraph:
        """Nodes and edges as sets, to be joined and compared."""
        return Subgraph.of(self.nodes, (edge for edge, _ in self.edges()))

    def trace(
        self,
        tokens: NDArray[np.integer[Any]],
        dtype: DTypeLike = np.float32,
        *,
        record: Collection[Site] | bool = True,
        last: NDArray[np.integer[Any]] | None = None,
    ) -> Trace:
        """Run alone on tokens (B, T); see `forward`. Raises `circuit-needs-model`."""
        self.require_alone()
        return forward(self.network, tokens, dtype=dtype, record=record, last=last)

    def require_alone(self) -> None:
        """Raises `circuit-needs-model` where constants are not enough to run the circuit."""
        if not self.runs_alone:
            raise WireworkError(
                "circuit-needs-model",
                f"this circuit ({self.ablation} ablation) cannot run without its model",
                expected="a circuit whose cut nodes are held at constants",
                got=f"found in model {self.model_hash[:12]}",
                hint="name the model, as in --model runs/NAME",
            )

    def logits(
        self,
        tokens: NDArray[np.integer[Any]],
        dtype: DTypeLike = np.float32,
        *,
        last: NDArray[np.integer[Any]] | None = None,
    ) -> NDArray[np.floating[Any]]:
        """tokens (B, T) -> logits (B, T, O) of the answer tokens `network.answers`, uncalibrated.

        With `last` (B), only at that position of every prompt: (B, O).
        """
        return self.trace(tokens, dtype, record=False, last=last).logits

    def info(self) -> dict[str, Any]:
        """Sizes, task, losses and origin as plain values."""
        size = self.sizes
        return {
            "version": VERSION,
            "task": self.task.get("name", ""),
            "nodes": size.nodes,
            "edges": size.edges,
            "embedding_edges": size.embedding_edges,
            "unembedding_edges": size.unembedding_edges,
            "position_edges": size.position_edges,
            "shadow_weights": size.shadow_weights,
            "answers": [int(token) for token in self.network.answers],
            "runs_alone": self.runs_alone,
            "ablation": self.ablation,
            "calibration": {"scale": self.calibration.scale, "shift": self.calibration.shift},
            "model_hash": self.model_hash,
            "model_step": self.model_step,
            **self.losses,
        }

    def __str__(self) -> str:
        size, loss = self.sizes, self.losses.get("task_loss")
        return "\n".join(
            [
                f"circuit for {self.task.get('name', 'a task')}",
                f"  nodes              {size.nodes}",
                f"  edges              {size.edges}",
                f"  embedding_edges    {size.embedding_edges}",
                f"  unembedding_edges  {size.unembedding_edges}",
                f"  position_edges     {size.position_edges}",
                f"  shadow_weights     {size.shadow_weights}",
                f"  task_loss          {'not measured' if loss is None else f'{loss:.4f}'}",
                f"  model              {self.model_hash[:12]} (step {self.model_step})",
            ]
        )

    def save(self, path: Path | str) -> None:
        """Write one `.circuit` file, atomically; equal circuits give equal bytes."""
        header = CircuitHeader(
            nodes={str(site): found for site, found in self.nodes.items()},
            network=describe(self.network),
            tokenizer=self.tokenizer,
            task=dict(self.task),
            prompt_tokens=self.prompt_tokens,
            calibration=CalibrationHeader(
                scale=self.calibration.scale, shift=self.calibration.shift
            ),
            ablation=self.ablation,
            runs_alone=self.runs_alone,
            model_hash=self.model_hash,
            model_step=self.model_step,
            losses=dict(self.losses),
            recipe=dict(self.recipe),
            provenance=dict(self.provenance),
        )
        write_circuit(Path(path), header, self.network)

    @classmethod
    def load(cls, path: Path | str) -> Circuit:
        """Read and check everything; nothing in a file is ever executed.

        Raises `file-missing`, `file-unreadable`, `circuit-foreign`, `circuit-version`,
        `circuit-damaged`.
        """
        header, network = read_circuit(Path(path))
        values = {name: getattr(header, name) for name in CircuitHeader.model_fields}
        scales = header.calibration
        try:
            values["nodes"] = {Site.parse(name): found for name, found in header.nodes.items()}
            values["calibration"] = Calibration(scales.scale, scales.shift)
            return cls(**{**values, "network": network})
        except WireworkError as error:
            raise WireworkError(
                "circuit-damaged", f"{path} contradicts itself", got=error.got or error.message
            ) from None


def _fault(circuit: Circuit) -> str:
    network = circuit.network
    known = sites(len(network.layers))
    for site in circuit.nodes:
        if site not in known:
            return f"nodes at {site}, which the network lacks"
    for site in known:
        kept = tuple(int(i) for i in np.flatnonzero(network.kept(site)))
        if tuple(circuit.nodes.get(site, ())) != kept:
            return f"nodes of {site} that are not those its gate keeps"
    tokens = circuit.prompt_tokens
    if tokens and (min(tokens) < 0 or max(tokens) >= network.vocab_size):
        return "prompt tokens outside the vocabulary"
    if list(tokens) != sorted(set(tokens)):
        return "prompt tokens that do not rise"
    return ""
