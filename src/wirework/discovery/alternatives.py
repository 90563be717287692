"""Other circuits that carry the same task: what a search that stops at one would not say."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wirework.circuit import Circuit, every_node
from wirework.core import Node, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.discovery.alternatives_folder import AlternativesFolder
from wirework.discovery.bench import require_learned
from wirework.discovery.config import DiscoveryConfig
from wirework.discovery.discover import discover
from wirework.model import Checkpoint
from wirework.tasks import Task

Forbidden = frozenset[Node]


@dataclass(frozen=True)
class Alternatives:
    """`circuits`: the first one, and others in the order found. `needed`: nodes of the first
    without which no circuit was found. `searches`: how many were made; `left`: how many at least
    were still to be made, none where every set of nodes was forbidden that the circuits found
    ask for."""

    circuits: tuple[Circuit, ...]
    needed: frozenset[Node]
    searches: int
    left: int

    @property
    def complete(self) -> bool:
        """Whether all that could be asked was."""
        return self.left == 0

    @property
    def unique(self) -> bool:
        """Whether all that could be asked was, and no other circuit found."""
        return self.complete and len(self.circuits) == 1

    @property
    def unasked(self) -> frozenset[Node]:
        """Nodes that every circuit has, and that no search was forbidden alone."""
        return frozenset.intersection(*map(nodes_of, self.circuits)) - self.needed


def alternatives(
    checkpoint: Checkpoint,
    task: Task,
    circuit: Circuit,
    *,
    config: DiscoveryConfig | None = None,
    seed: int = 0,
    most: int = 64,
    folder: Path | None = None,
    resume: bool = False,
    start: StartProgress = silent,
) -> Alternatives:
    """Search again with nodes of `circuit` forbidden, and with nodes of what is found then.

    A tree of hitting sets: below a circuit there is a branch for each of its nodes, in which that
    node and those above are forbidden. A branch in which a known circuit is still whole takes that
    one without a search; one that forbids all that a search without any circuit was forbidden
    ends. So every circuit is met that the search would find with some set of nodes forbidden, where
    `most` searches are enough and no search finds what one with less forbidden missed. `config`:
    as for `discover`; it should be the one of the circuit.

    With a `folder` every search and circuit is kept there (`AlternativesFolder`), and `resume` goes
    on from them, with the same `most` or another one; the outcome is that of one whole run. Raises
    `task-unlearned` and what `AlternativesFolder.begin` raises before any work, and what `discover`
    raises but `target-missed`.
    """
    config = config or DiscoveryConfig()
    require_learned(checkpoint, task, config)
    kept = None
    if folder is not None:
        identity = _identity(checkpoint, task, circuit, config, seed)
        kept = AlternativesFolder.begin(folder, identity, resume=resume)
    done = 0 if kept is None else min(most, kept.done)
    search = partial(_without, checkpoint, task, config, seed)
    tree = _Tree(circuit)
    searches = 0
    with start("alternatives", most, done) as progress:
        while (forbidden := tree.next()) is not None and searches < most:
            fresh = kept is None or not kept.holds(forbidden)
            found = _perform(search, kept, forbidden, len(tree.found))
            tree.tell(forbidden, found)
            searches += 1
            progress.advance(int(fresh), circuits=len(tree.found))
    return Alternatives(tuple(tree.found), tree.needed(), searches, tree.left())


class _Tree:
    """Sets of nodes to be forbidden. `found`: the circuits. `barren`: sets without any circuit."""

    def __init__(self, first: Circuit) -> None:
        self.found = [first]
        self.barren: list[Forbidden] = []
        self._open = deque([Forbidden()])
        self._seen = {Forbidden()}

    def next(self) -> Forbidden | None:
        """The first open branch of which only a search can tell; those before it are settled."""
        while self._open:
            forbidden = self._open[0]
            known = self._whole(forbidden)
            if known is None and not self._ended(forbidden):
                return forbidden
            self._open.popleft()
            if known is not None:
                self._branch(forbidden, known)
        return None

    def tell(self, forbidden: Forbidden, circuit: Circuit | None) -> None:
        """What the search of the branch that was `next` has found."""
        self._open.popleft()
        if circuit is None:
            self.barren.append(forbidden)
        else:
            self.found.append(circuit)
            self._branch(forbidden, circuit)

    def needed(self) -> Forbidden:
        return Forbidden().union(*(nodes for nodes in self.barren if len(nodes) == 1))

    def left(self) -> int:
        """Open branches that need a search now."""
        return sum(self._whole(one) is None and not self._ended(one) for one in self._open)

    def _whole(self, forbidden: Forbidden) -> Circuit | None:
        return next((c for c in self.found if not forbidden & nodes_of(c)), None)

    def _ended(self, forbidden: Forbidden) -> bool:
        return any(nodes <= forbidden for nodes in self.barren)

    def _branch(self, forbidden: Forbidden, circuit: Circuit) -> None:
        branches = {forbidden | {node} for node in nodes_of(circuit)} - self._seen
        self._seen |= branches
        self._open.extend(sorted(branches, key=lambda nodes: (len(nodes), sorted(nodes))))


def nodes_of(circuit: Circuit) -> frozenset[Node]:
    return frozenset(every_node(circuit.nodes))


def _perform(
    search: Callable[[Forbidden, Path | None], Circuit | None],
    kept: AlternativesFolder | None,
    forbidden: Forbidden,
    number: int,
) -> Circuit | None:
    """Search, or read what an earlier run found; a new circuit is kept as `number`."""
    if kept is None:
        return search(forbidden, None)
    if not kept.holds(forbidden):
        kept.add(forbidden, search(forbidden, kept.state), number)
    return kept.circuit(forbidden)


def _without(
    checkpoint: Checkpoint,
    task: Task,
    config: DiscoveryConfig,
    seed: int,
    forbidden: Forbidden,
    state: Path | None,
) -> Circuit | None:
    """The circuit that keeps none of these nodes; None where the target is out of reach."""
    try:
        return discover(
            checkpoint, task, config=config, seed=seed, state=state, forbidden=forbidden
        )
    except WireworkError as error:
        if error.code != "target-missed":
            raise
        return None


def _identity(
    checkpoint: Checkpoint, task: Task, circuit: Circuit, config: DiscoveryConfig, seed: int
) -> str:
    parts = [checkpoint.hash(), task.hash(), circuit.identity(), config.hash(), seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
