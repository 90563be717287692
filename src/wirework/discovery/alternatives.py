"""Other circuits that carry the same task: what a search that stops at one would not say."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from wirework.circuit import Circuit, every_node
from wirework.core import Node, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discover import discover
from wirework.model import Checkpoint
from wirework.tasks import Task


@dataclass(frozen=True)
class Alternatives:
    """`circuits`: the first one, and others in the order found. `needed`: nodes of the first
    without which no circuit was found. `searches`: how many were made; `complete`: whether every
    set of nodes was forbidden that the circuits found ask for."""

    circuits: tuple[Circuit, ...]
    needed: frozenset[Node]
    searches: int
    complete: bool

    @property
    def unique(self) -> bool:
        """Whether all that could be asked was, and no other circuit found."""
        return self.complete and len(self.circuits) == 1


def alternatives(
    checkpoint: Checkpoint,
    task: Task,
    circuit: Circuit,
    *,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    most: int = 64,
    start: StartProgress = silent,
) -> Alternatives:
    """Search again with nodes of `circuit` forbidden, and with nodes of what is found then.

    A tree of hitting sets: below a circuit there is a branch for each of its nodes, in which that
    node and those above are forbidden. A branch in which a known circuit is still whole takes that
    one without a search; one without any circuit ends. So every circuit is met that the search
    would find with some set of nodes forbidden, where `most` searches are enough. `config`: as for
    `discover`; it should be the one of the circuit.
    """
    found, lacking, searches = [circuit], set[Node](), 0
    open_branches = deque([frozenset[Node]()])
    seen = {frozenset[Node]()}
    with start("alternatives", most) as progress:
        while open_branches:
            forbidden = open_branches.popleft()
            known = next((c for c in found if not forbidden & nodes_of(c)), None)
            if known is None and searches == most:
                return Alternatives(tuple(found), frozenset(lacking), searches, complete=False)
            if known is None:
                searches += 1
                known = _without(checkpoint, task, forbidden, config, seed)
                progress.advance(circuits=len(found) + (known is not None))
                if known is None:
                    lacking |= forbidden if len(forbidden) == 1 else set()
                    continue
                found.append(known)
            branches = {forbidden | {node} for node in nodes_of(known)} - seen
            seen |= branches
            open_branches.extend(sorted(branches, key=lambda nodes: (len(nodes), sorted(nodes))))
    return Alternatives(tuple(found), frozenset(lacking), searches, complete=True)


def nodes_of(circuit: Circuit) -> frozenset[Node]:
    return frozenset(every_node(circuit.nodes))


def _without(
    checkpoint: Checkpoint,
    task: Task,
    forbidden: frozenset[Node],
    config: DiscoveryConfig | None,
    seed: int,
) -> Circuit | None:
    """The circuit that keeps none of these nodes; None where the target is out of reach."""
    try:
        return discover(checkpoint, task, config=config, seed=seed, forbidden=forbidden)
    except WireworkError as error:
        if error.code != "target-missed":
            raise
        return None
