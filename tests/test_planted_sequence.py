"""Planted models of sequences: induction, bracket depth, set or string."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from test_planted import (
    ABLATIONS,
    MEAN,
    RESAMPLE,
    TARGET,
    ZERO,
    Builder,
    masked_model,
    plain_test,
    search,
)
from wirework.ablation import PromptTensors, keep_of, score
from wirework.core import Node
from wirework.discovery.alternatives import nodes_of
from wirework.planted import (
    Planted,
    active_nodes,
    bracket_depth,
    induction,
    minimal_circuits,
    recovery,
    set_or_string,
)
from wirework.planted.feeds import fed_by

# What the minimal circuit lacks: constants, but under zero ablation; and under resampling what
# both prompts of a pair have in common.
LACKS: dict[Builder, dict[str, list[str]]] = {
    induction: {MEAN: [], ZERO: [], RESAMPLE: ["query 0", "query 1", "key 0", "key 1"]},
    bracket_depth: {MEAN: [], ZERO: [], RESAMPLE: ["read start", "value start"]},
    set_or_string: {
        MEAN: ["query name"],
        ZERO: [],
        RESAMPLE: ["query name", "key name", "read mark"],
    },
}
BUILDERS = pytest.mark.parametrize("builder", LACKS, ids=lambda builder: builder.__name__)
EACH_ABLATION = pytest.mark.parametrize("ablation", ABLATIONS)


def expected(builder: Builder, planted: Planted) -> frozenset[Node]:
    return planted.nodes(*set(planted.parts) - set(LACKS[builder][planted.ablation]))


@cache
def truth(builder: Builder, ablation: str, seed: int) -> tuple[Planted, list[frozenset[Node]]]:
    planted = builder(seed=seed).under(ablation)
    return planted, minimal_circuits(planted, TARGET)


@BUILDERS
@pytest.mark.parametrize(("seed", "size"), [(0, 16), (1, 16), (2, 32)])
def test_the_model_does_its_task(builder: Builder, seed: int, size: int) -> None:
    planted = builder(seed=seed, size=size)
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    for part in (encoded.fit, encoded.select, encoded.report):
        assert (part.last[: len(part)] == part.last[len(part) :]).all()
        result = score(checkpoint.model, PromptTensors.of(part))
        assert result.loss < 0.012
        assert result.accuracy == 1
    assert active_nodes(checkpoint, planted.task) == planted.active
    nonzero = sum(int((m.weight != 0).sum()) for m in checkpoint.model.projected()
                  if m.group == "block")  # fmt: skip
    assert nonzero < 0.02 * sum(m.weight.numel() for m in checkpoint.model.projected())


@BUILDERS
def test_equal_seeds_give_equal_models_and_other_seeds_other_places(builder: Builder) -> None:
    first, again, other = (builder(seed=seed, size=32) for seed in (3, 3, 4))
    assert first.checkpoint.hash() == again.checkpoint.hash()
    assert first.parts != other.parts


@BUILDERS
@EACH_ABLATION
def test_there_is_one_minimal_circuit(builder: Builder, ablation: str) -> None:
    planted, found = truth(builder, ablation, 0)
    assert found == [expected(builder, planted)]
    assert len(planted.active) <= 20


@BUILDERS
@EACH_ABLATION
def test_no_proper_subset_of_it_meets_the_target(builder: Builder, ablation: str) -> None:
    planted, (nodes,) = truth(builder, ablation, 0)
    meets = plain_test(planted)
    assert meets(nodes)
    assert not any(meets(nodes - {node}) for node in nodes)
    random = np.random.default_rng(0)
    for _ in range(8):
        some = frozenset(n for n in planted.active if random.random() < 0.85)
        assert nodes <= some or not meets(some)


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


@BUILDERS
@EACH_ABLATION
def test_discovery_recovers_it(builder: Builder, ablation: str) -> None:
    recovers(builder, ablation, seed=0)


@pytest.mark.long
@BUILDERS
@EACH_ABLATION
@pytest.mark.parametrize("seed", range(1, 5))
def test_discovery_recovers_it_for_other_seeds(builder: Builder, ablation: str, seed: int) -> None:
    recovers(builder, ablation, seed=seed)


def recovers(builder: Builder, ablation: str, seed: int) -> None:
    planted, found = truth(builder, ablation, seed)
    assert found == [expected(builder, planted)]
    circuit = search(planted, seed)
    result = recovery(planted, found, circuit)
    assert result.exact and result.edges_exact and result.unique
    assert result.node_auroc == result.edge_auroc == 1
    assert nodes_of(circuit) == found[0]
    assert circuit.losses["task_loss"] <= TARGET


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 3))
@BUILDERS
@EACH_ABLATION
def test_the_truth_is_the_same_for_other_seeds_and_wider_models(
    builder: Builder, ablation: str, seed: int
) -> None:
    planted = builder(seed=seed, size=24).under(ablation)
    assert minimal_circuits(planted, TARGET) == [expected(builder, planted)]
