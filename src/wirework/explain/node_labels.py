"""Labels for the nodes of a circuit: for each the feature that it tells best, scored held out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, require_model_of
from wirework.circuit import Circuit, every_node
from wirework.core import Node, Site, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.explain.channel_source import ChannelSource
from wirework.explain.effects import EFFECT_PAIRS
from wirework.explain.label_effects import LabelEffects
from wirework.explain.label_search import (
    Found,
    HeldOut,
    Holds,
    LabelSearch,
    Values,
    common_columns,
    conjunction,
    holds,
)
from wirework.explain.node_label import EffectShare, LabelScore, NodeLabel
from wirework.explain.prompt_labels import label_prompts
from wirework.model import Checkpoint
from wirework.probing.activation_source import WireworkSource
from wirework.probing.activation_store import MOST_WINDOWS, PASS_BYTES, Activations, collect
from wirework.probing.feature import YES, FeatureSet
from wirework.probing.feature_sets import feature_set, is_feature_set
from wirework.probing.labelled import LabelledTokens
from wirework.tasks import Task

_SHUFFLES = 3
"""Controls of every node; the best of them is its control."""

Shares = Callable[[Node, Found, float, float], EffectShare]
"""Of a node, its label, and its mean activation where the label holds and elsewhere."""


def label_nodes(
    circuit: Circuit,
    checkpoint: Checkpoint,
    labelled: LabelledTokens,
    *,
    seed: int,
    features: FeatureSet | None = None,
    nodes: Collection[Node] | None = None,
    rows: int = 50_000,
    least: int = 50,
    test: float = 0.3,
    start: StartProgress = silent,
) -> dict[Node, NodeLabel]:
    """For every node the feature, and the pair of features, that it tells best.

    A node tells a label by its activation in the whole model being above a threshold, or not
    above it. Feature, threshold and side are those of the highest Matthews correlation in
    training documents, where frequent features have no advantage; all scores are of other
    documents. Controls are chosen and scored in the same way on shuffled activations, which keeps
    how features go together. `NodeLabel.explained` says whether a label beats its control clearly;
    only then the share of the node's effect is measured (`EffectShare`), on 128 pairs of `report`.

    `features`: the set that labels the prompts of the task, for `EffectShare`; None: the shipped
    sets by the name that `labelled` has (`python+characters`). `nodes`: only these; None: every
    one. `rows`: training tokens, and held-out tokens, that are drawn from `seed` where there are
    more. `least`: tokens with and without a feature that it needs among either. Activations take 4
    bytes a node for each of these tokens, on disk as well for the time of the call (in the
    temporary folder).

    Raises `circuit-model-mismatch`, `ablation-unknown`, `node-unknown` for a node that the circuit
    lacks, `labels-tokenizer-mismatch`, `scan-without-features`, `feature-unknown` where `features`
    lacks one of `labelled`, and what `LabelledTokens.split` and `collect` raise.
    """
    require_model_of(circuit, checkpoint)
    asked_of = _by_site(circuit, nodes)
    labelled.require_tokenizer(checkpoint.tokenizer.hash(), "the model")
    names = tuple(feature.name for feature in labelled.features)
    if features is None and is_feature_set(labelled.feature_set):
        features = feature_set(labelled.feature_set)
    asked = None if features is None else features.only(names)
    parts = _Parts.of(labelled, rows, least, test, seed)
    shares = _shares(circuit, checkpoint, asked, seed)
    with tempfile.TemporaryDirectory() as folder:
        activations = _collected(asked_of, checkpoint, labelled, parts, Path(folder) / "a", start)
        return _labelled_nodes(asked_of, activations, parts, shares, start)


def _by_site(circuit: Circuit, nodes: Collection[Node] | None) -> dict[Site, list[int]]:
    every = every_node(circuit.nodes)
    wanted = every if nodes is None else sorted(set(nodes))
    if unknown := set(wanted) - set(every):
        raise WireworkError(
            "node-unknown", f"the circuit does not keep {len(unknown)} of the nodes",
            expected=f"some of its {len(every)} nodes",
            got=", ".join(map(str, sorted(unknown)[:4])),
        )  # fmt: skip
    found: dict[Site, list[int]] = {}
    for node in wanted:
        found.setdefault(node.site, []).append(node.index)
    return found


@dataclass(frozen=True)
class _Parts:
    """Training and held-out tokens; the search among the labels of the ones, scores on the others.

    `held`: which features the training tokens have, (n, F). `shuffles`: orders of both.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    held: Holds
    search: LabelSearch
    scores: HeldOut
    shuffles: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...]

    @classmethod
    def of(cls, labelled: LabelledTokens, rows: int, least: int, test: float, seed: int) -> _Parts:
        random = np.random.default_rng([seed, 3])
        had, counts = holds(labelled.labels)
        train, test_rows = (
            np.sort(random.permutation(np.flatnonzero(mask & counts))[:rows])
            for mask in labelled.split(seed, test)
        )
        parts = had[train], had[test_rows]
        columns = common_columns(parts, least, "a node")
        names = tuple(feature.name for feature in labelled.features)
        orders = ((random.permutation(len(x)) for x in parts) for _ in range(_SHUFFLES))
        return cls(
            train,
            test_rows,
            parts[0],
            LabelSearch(parts[0], columns, seed),
            HeldOut.of(parts[1], labelled.document[test_rows], names, seed),
            tuple((first, second) for first, second in orders),
        )


def _collected(
    nodes: Mapping[Site, Sequence[int]],
    checkpoint: Checkpoint,
    labelled: LabelledTokens,
    parts: _Parts,
    folder: Path,
    start: StartProgress,
) -> Activations:
    whole = WireworkSource(checkpoint)
    source = ChannelSource(whole, {str(site): indices for site, indices in nodes.items()})
    wide = 4 * source.context * sum(whole.width(site) for site in source.sites())
    return collect(
        source,
        labelled,
        source.sites(),
        folder,
        rows=np.union1d(parts.train, parts.test),
        dtype="float32",
        batch=max(1, min(MOST_WINDOWS, PASS_BYTES // wide)),
        start=start,
    )


def _labelled_nodes(
    nodes: Mapping[Site, Sequence[int]],
    activations: Activations,
    parts: _Parts,
    shares: Shares,
    start: StartProgress,
) -> dict[Node, NodeLabel]:
    found = {}
    with start("labels of nodes", sum(map(len, nodes.values()))) as progress:
        for site, indices in sorted(nodes.items()):
            train, held = (
                activations.matrix(str(site), rows) for rows in (parts.train, parts.test)
            )
            for place, index in enumerate(indices):
                node = Node(site, index)
                x, y = (np.ascontiguousarray(matrix[:, place]) for matrix in (train, held))
                found[node] = _label(node, parts, x, y, shares)
                progress.advance()
    return found


def _label(node: Node, parts: _Parts, x: Values, held: Values, shares: Shares) -> NodeLabel:
    search = parts.search
    singles = _with_controls(search.single, parts, x, held)
    pairs = _with_controls(search.pair, parts, x, held)
    label = NodeLabel(
        single=singles.score, control=singles.control,
        pair=pairs.score, pair_control=pairs.control,
        inside=float(x.mean()), outside=float(x.mean()),
        share=EffectShare(reason="the node is unexplained"),
    )  # fmt: skip
    found = pairs.found if label.best is pairs.score else singles.found
    if found is None:
        return label
    marks = conjunction(parts.held, found.terms)
    inside, outside = (float(x[where].mean(dtype=np.float64)) for where in (marks, ~marks))
    label = replace(label, inside=inside, outside=outside)
    if not label.explained:
        return label
    return replace(label, share=shares(node, found, inside, outside))


@dataclass(frozen=True)
class _Judged:
    """What a search found, its score, and the score of the best control."""

    found: Found | None
    score: LabelScore | None
    control: LabelScore | None


def _with_controls(
    search: Callable[[Values], Found | None], parts: _Parts, x: Values, held: Values
) -> _Judged:
    found = search(x)
    if found is None:
        return _Judged(None, None, None)
    controls = []
    for train_order, held_order in parts.shuffles:
        by_chance = search(x[train_order])
        if by_chance is not None:
            controls.append(parts.scores.score(by_chance, held[held_order]))
    control = max(controls, key=lambda score: score.mcc, default=None)
    return _Judged(found, parts.scores.score(found, held), control)


def _shares(
    circuit: Circuit, checkpoint: Checkpoint, features: FeatureSet | None, seed: int
) -> Shares:
    """Measures the share of a node's effect, or says for all nodes why it cannot be measured."""

    def none(reason: str, unlabelled: int = 0) -> Shares:
        return lambda node, found, inside, outside: EffectShare(
            unlabelled=unlabelled, reason=reason
        )

    if not circuit.runs_alone:
        return none("the circuit cannot run alone")
    if features is None:
        return none("nobody said which features label the prompts")
    task = Task.from_json(circuit.task)
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    count = min(EFFECT_PAIRS, len(task.report))
    chosen = torch.arange(count) * len(task.report) // count
    asked = label_prompts(
        task, [task.report[i] for i in chosen.tolist()], checkpoint.tokenizer, features
    )
    known = np.flatnonzero(asked.known.reshape(2, -1).all(0))
    left_out = count - len(known)
    if len(known) < 2:
        return none("the prompts could not be labelled", left_out)
    prompts = PromptTensors.of(encoded.report).pairs(chosen[torch.from_numpy(known)])
    effects = LabelEffects.of(circuit, prompts, left_out, seed)
    rows = np.concatenate([known, known + count])
    held = asked.labels[rows, : prompts.tokens.shape[1]] == YES

    def share(node: Node, found: Found, inside: float, outside: float) -> EffectShare:
        marks = conjunction(held.reshape(-1, held.shape[-1]), found.terms).reshape(held.shape[:2])
        return effects.share(node, marks, inside, outside)

    return share
