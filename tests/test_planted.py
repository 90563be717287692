"""Planted models do their task; enumeration finds their circuits; discovery finds the same."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from itertools import combinations

import numpy as np
import pytest
import torch

from wirework.ablation import (
    CompactModel,
    Holding,
    Keep,
    PromptTensors,
    calibrate,
    keep_of,
    masked_margins,
    score,
    score_of,
)
from wirework.circuit import Circuit
from wirework.core import Node, Site, WireworkError
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.alternatives import nodes_of
from wirework.model import Taps
from wirework.planted import (
    Planted,
    active_nodes,
    bracket_depth,
    close_quote,
    copy_previous,
    induction,
    minimal_circuits,
    quote_with_decoys,
    recovery,
    set_or_string,
    twin_values,
)
from wirework.planted.feeds import fed_by

TARGET = 0.15
# The truth asks for the loss alone.
SEARCH = DiscoveryConfig(target_loss=TARGET, faithfulness=0, steps=50, lr=2e-2, dtype="float32")
"""One setting for all models."""

Builder = Callable[..., Planted]

MEAN, ZERO, RESAMPLE = ABLATIONS = ("mean-pretraining", "zero", "resample")

# What each minimal circuit is made of. Queries of the quote models are constants, which only
# zero ablation takes away; resampling leaves what both prompts of a pair have in common.
SIGNS = [f"{part} {sign}" for sign in "xy" for part in ("read", "value", "write", "final")]
LETTERS = ["query 0", "query 1", "key 0", "key 1", *SIGNS]
FIND, COPY = ["read opening", "key"], ["read kind", "write answer", "final answer"]
KIND = ["read double", "neuron", "write kind"]
CIRCUITS: dict[Builder, dict[str, list[list[str]]]] = {
    copy_previous: {MEAN: [LETTERS], ZERO: [LETTERS], RESAMPLE: [SIGNS]},
    close_quote: {
        MEAN: [[*FIND, *COPY, *KIND, "value"]],
        ZERO: [["query", *FIND, *COPY, *KIND, "value"]],
        RESAMPLE: [[*COPY, *KIND, "value"]],
    },
    quote_with_decoys: {
        MEAN: [[*FIND, *COPY, "value"]],
        ZERO: [["query", *FIND, *COPY, "value"]],
        RESAMPLE: [[*COPY, "value"]],
    },
    twin_values: {
        MEAN: [[*FIND, *COPY, "value"], [*FIND, *COPY, "value twin"]],
        ZERO: [["query", *FIND, *COPY, "value"], ["query", *FIND, *COPY, "value twin"]],
        # With one of them from the other prompt the two say nothing.
        RESAMPLE: [[*COPY, "value", "value twin"]],
    },
}
# What the one minimal circuit lacks of all parts: constants, but under zero ablation; and under
# resampling what both prompts of a pair have in common.
LACKS: dict[Builder, dict[str, list[str]]] = {
    induction: {MEAN: [], ZERO: [], RESAMPLE: ["query 0", "query 1", "key 0", "key 1"]},
    bracket_depth: {MEAN: [], ZERO: [], RESAMPLE: ["read start", "value start"]},
    set_or_string: {
        MEAN: ["query name"],
        ZERO: [],
        RESAMPLE: ["query name", "key name", "read mark"],
    },
}
BUILDERS = pytest.mark.parametrize(
    "builder", [*CIRCUITS, *LACKS], ids=lambda builder: builder.__name__
)
EACH_ABLATION = pytest.mark.parametrize("ablation", ABLATIONS)
# Every model at once under one of the ablations; under the others in the long tests.
PAIRS_OF_BOTH = pytest.mark.parametrize(
    ("builder", "ablation"),
    [
        pytest.param(
            builder, ablation, marks=[] if j == i % len(ABLATIONS) else pytest.mark.long,
            id=f"{builder.__name__}-{ablation}",
        )
        for i, builder in enumerate([*CIRCUITS, *LACKS])
        for j, ablation in enumerate(ABLATIONS)
    ],
)  # fmt: skip


def truth(builder: Builder, planted: Planted) -> set[frozenset[Node]]:
    if builder in LACKS:
        return {planted.nodes(*set(planted.parts) - set(LACKS[builder][planted.ablation]))}
    return {planted.nodes(*names) for names in CIRCUITS[builder][planted.ablation]}


@cache
def enumerated(
    builder: Builder, ablation: str, seed: int, size: int = 16
) -> tuple[Planted, tuple[frozenset[Node], ...]]:
    """A model and all its minimal circuits."""
    planted = builder(seed=seed, size=size).under(ablation)
    return planted, tuple(minimal_circuits(planted, TARGET))


def search(planted: Planted, seed: int, **options: object) -> Circuit:
    """Discovery under the ablation of the planted model."""
    config = SEARCH.replace(ablation=planted.config.plain(), **options)
    return discover(planted.checkpoint, planted.task, config=config, seed=seed)


@BUILDERS
@pytest.mark.parametrize(
    ("seed", "size"),
    [(0, 16), *(pytest.param(*one, marks=pytest.mark.long) for one in [(1, 16), (2, 32)])],
)
def test_the_model_does_its_task_with_few_weights(builder: Builder, seed: int, size: int) -> None:
    planted = builder(seed=seed, size=size)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    for part in (encoded.fit, encoded.select, encoded.report):
        assert (part.last[: len(part)] == part.last[len(part) :]).all()
        result = score(checkpoint.model, PromptTensors.of(part))
        assert result.loss < 0.012
        assert result.accuracy == 1
    assert active_nodes(checkpoint, planted.task) == planted.active
    assert checkpoint.config.kept("attn.in") == size // 4
    nonzero = sum(int((m.weight != 0).sum()) for m in checkpoint.model.projected()
                  if m.group == "block")  # fmt: skip
    assert nonzero < 0.02 * sum(m.weight.numel() for m in checkpoint.model.projected())


@PAIRS_OF_BOTH
def test_enumeration_finds_every_minimal_circuit(builder: Builder, ablation: str) -> None:
    planted, found = enumerated(builder, ablation, 0)
    assert len(found) == len(set(found))
    assert set(found) == truth(builder, planted)


@PAIRS_OF_BOTH
def test_discovery_recovers_a_minimal_circuit(builder: Builder, ablation: str) -> None:
    recovers(builder, ablation, seed=0)


@pytest.mark.long
@BUILDERS
@EACH_ABLATION
@pytest.mark.parametrize("seed", range(1, 5))
def test_discovery_recovers_it_for_other_seeds(builder: Builder, ablation: str, seed: int) -> None:
    recovers(builder, ablation, seed=seed)


def recovers(builder: Builder, ablation: str, seed: int) -> None:
    planted, circuits = enumerated(builder, ablation, seed)
    assert set(circuits) == truth(builder, planted)
    circuit = search(planted, seed)
    assert nodes_of(circuit) in circuits
    result = recovery(planted, circuits, circuit)
    assert result.exact and result.edges_exact
    assert result.node_auroc == result.edge_auroc == 1
    assert circuit.ablation == ablation
    assert circuit.losses["task_loss"] <= TARGET


@pytest.mark.parametrize("builder", [copy_previous, close_quote, quote_with_decoys])
def test_gates_alone_find_a_unique_circuit(builder: Builder) -> None:
    planted = builder(seed=3)
    assert nodes_of(search(planted, seed=3, clean_up=False)) in truth(builder, planted)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 3))
@BUILDERS
@EACH_ABLATION
def test_the_truth_is_the_same_for_other_seeds_and_wider_models(
    builder: Builder, ablation: str, seed: int
) -> None:
    planted, found = enumerated(builder, ablation, seed, 24)
    assert set(found) == truth(builder, planted)


def test_a_found_circuit_holds_no_decoy() -> None:
    planted = quote_with_decoys(decoys=3, seed=5)
    circuit = search(planted, seed=5)
    decoys = {node for name, node in planted.parts.items() if name.startswith("decoy")}
    assert len(decoys) == 3 + 3 + 2 + 2 + 1
    assert not decoys & nodes_of(circuit)


def test_decoys_are_active_and_the_unread_ones_are_left_out_of_the_enumeration() -> None:
    planted = quote_with_decoys()
    checkpoint, parts = planted.checkpoint, planted.parts
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    trace = _record(planted, PromptTensors.of(encoded.report))
    for name in ("decoy value 0", "decoy neuron 0", "decoy attn", "decoy mlp"):
        node = parts[name]
        assert trace[node.site][..., node.index].std() > 0.1
    assert parts["decoy attn"] in planted.active
    assert parts["decoy write mlp"] in planted.active
    assert parts["decoy value 0"] not in planted.active
    assert parts["decoy neuron 0"] not in planted.active
    assert active_nodes(checkpoint, planted.task) == planted.active


def _record(planted: Planted, prompts: PromptTensors) -> dict[Site, torch.Tensor]:
    taps = Taps(record=planted.checkpoint.means)
    with torch.no_grad():
        planted.checkpoint.model.read_out(prompts.tokens, taps)
    return taps.values


def masked_model(planted: Planted, prompts: PromptTensors) -> Callable[[Keep], torch.Tensor]:
    """Margins under masks, measured as discovery does."""
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    holding = Holding.of(planted.config, checkpoint, PromptTensors.of(encoded.fit))
    answers = torch.from_numpy(encoded.answer_tokens())
    whole = CompactModel(checkpoint.model, holding.constants, answers)
    return lambda keep: masked_margins(whole, holding, keep, prompts).double()


@PAIRS_OF_BOTH
def test_cutting_nodes_that_are_not_active_changes_no_number(
    builder: Builder, ablation: str
) -> None:
    planted = builder(seed=1).under(ablation)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    margins = masked_model(planted, PromptTensors.of(encoded.report))
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    random = np.random.default_rng(0)
    for _ in range(4):
        keep = {site: np.ones(width, dtype=np.bool_) for site, width in widths.items()}
        for node in planted.active:
            keep[node.site][node.index] = random.random() < 0.7
        fewer = {site: mask.copy() for site, mask in keep.items()}
        for site, mask in fewer.items():
            for index in range(len(mask)):
                if Node(site, index) not in planted.active:
                    mask[index] &= random.random() < 0.5
        torch.testing.assert_close(margins(keep), margins(fewer), rtol=1e-5, atol=1e-5)


@EACH_ABLATION
def test_a_node_that_feeds_cut_nodes_only_changes_nothing(ablation: str) -> None:
    """What the enumeration leaves out without measuring it."""
    planted = set_or_string(seed=1).under(ablation)
    checkpoint = planted.checkpoint
    network, widths = checkpoint.sparse(), {s: len(m) for s, m in checkpoint.means.items()}
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    margins = masked_model(planted, PromptTensors.of(encoded.select))
    random = np.random.default_rng(0)
    seen = 0
    while seen < 6:
        keep = keep_of({}, widths)
        for node in planted.active:
            keep[node.site][node.index] = random.random() < 0.7
        kept = [node for node in planted.active if keep[node.site][node.index]]
        dead = [n for n in kept if not fed_by(network, checkpoint.config, n) & set(kept)]
        for node in dead:
            if node.site.kind != "final":
                fewer = {site: mask.copy() for site, mask in keep.items()}
                fewer[node.site][node.index] = False
                torch.testing.assert_close(margins(keep), margins(fewer), rtol=1e-5, atol=1e-5)
                seen += 1


def plain_test(planted: Planted) -> Callable[[Collection[Node]], bool]:
    """Whether a set meets the target with all else cut, measured one set at a time."""
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    fit, select = PromptTensors.of(encoded.fit), PromptTensors.of(encoded.select)
    on_fit, on_select = masked_model(planted, fit), masked_model(planted, select)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}

    def meets(nodes: Collection[Node]) -> bool:
        keep = keep_of({}, widths)
        for node in nodes:
            keep[node.site][node.index] = True
        calibration = calibrate(on_fit(keep), fit.side)
        result = score_of(on_select(keep), select, calibration)
        return max(result.by_template().values()) <= TARGET

    return meets


@pytest.mark.parametrize(
    "ablation", [MEAN, *(pytest.param(name, marks=pytest.mark.long) for name in (ZERO, RESAMPLE))]
)
def test_the_truth_is_that_of_trying_every_set_by_itself(ablation: str) -> None:
    planted = twin_values(seed=2).under(ablation)
    meets = plain_test(planted)
    sizes = range(len(planted.active) + 1)
    every = [frozenset(c) for size in sizes for c in combinations(planted.active, size)]
    met = {nodes for nodes in every if meets(nodes)}
    smallest = {nodes for nodes in met if not any(other < nodes for other in met)}
    assert smallest
    assert set(minimal_circuits(planted, TARGET)) == smallest


@PAIRS_OF_BOTH
def test_no_proper_subset_of_a_minimal_circuit_meets_the_target(
    builder: Builder, ablation: str
) -> None:
    planted, found = enumerated(builder, ablation, 0)
    meets = plain_test(planted)
    random = np.random.default_rng(0)
    for nodes in found:
        assert meets(nodes)
        assert not any(meets(nodes - {node}) for node in nodes)
    for _ in range(6):
        some = frozenset(n for n in planted.active if random.random() < 0.9)
        assert any(nodes <= some for nodes in found) or not meets(some)


def test_the_truth_is_not_known_where_constants_are_learned_or_cut_nodes_do_not_compete() -> None:
    planted = close_quote()
    for name in ("optimal", "mean-pretraining+gate-before"):
        with pytest.raises(WireworkError) as caught:
            planted.under(name)
        assert caught.value.code == "truth-ablation"


@pytest.mark.parametrize("name", ["mean-task", "mean-position", "zero+frozen-norms"])
def test_other_ablations_have_their_truth_too(name: str) -> None:
    planted = close_quote(seed=1).under(name)
    found = minimal_circuits(planted, TARGET)
    positions = name == "mean-position"
    assert found == [planted.nodes(*CIRCUITS[close_quote][
        RESAMPLE if positions else ZERO if name.startswith("zero") else MEAN][0])]  # fmt: skip


def test_a_larger_target_needs_fewer_nodes() -> None:
    planted = copy_previous()
    assert minimal_circuits(planted, 0.7) == [frozenset()]


def test_too_many_active_nodes_are_refused() -> None:
    planted = quote_with_decoys()
    crowded = Planted(
        **{**vars(planted), "active": tuple(Node.parse(f"0.mlp.neuron:{i}") for i in range(21))}
    )
    with pytest.raises(WireworkError, match="at most 20") as caught:
        minimal_circuits(crowded, TARGET)
    assert caught.value.code == "truth-too-large"


@BUILDERS
def test_equal_seeds_give_equal_models_and_other_seeds_other_places(builder: Builder) -> None:
    make = partial(builder, size=32)
    assert make(seed=3).checkpoint.hash() == make(seed=3).checkpoint.hash()
    assert make(seed=3).parts != make(seed=4).parts
