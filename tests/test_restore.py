"""Nodes turned round beside a mask: at random, and the few that hurt the answers most."""

from __future__ import annotations

from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from planted_cancelled import TRUE, WRONG, cancelled
from planted_circuits import all_nodes, circuit_of
from wirework.ablation import (
    AblationConfig,
    Adversary,
    Attack,
    Holding,
    Keep,
    keep_of,
    masked_margins,
    random_subset,
)
from wirework.core import Edge, Node, Site
from wirework.planted import Planted, quote_with_decoys
from wirework.validation.subject import Subject

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
MASKS = {Site.parse("0.attn.q"): np.arange(40) % 2 == 0, Site.parse("final"): np.ones(7, np.bool_)}


@pytest.fixture(scope="module")
def planted() -> Planted:
    return cancelled()


def subject_of(
    planted: Planted, names: Collection[str], *, cut: Collection[Edge] = (), pairs: int = 12
) -> Subject:
    """In float64, with few prompts."""
    circuit = circuit_of(planted, planted.nodes(*names), cut=cut)
    subject = Subject.of(circuit, planted.checkpoint, None)
    few = subject.report.first(pairs)
    return replace(subject, model=deepcopy(subject.model).double(), report=few)


def masks_of(subject: Subject, nodes: Collection[Node]) -> Keep:
    named: dict[Site, tuple[int, ...]] = {}
    for node in nodes:
        named[node.site] = (*named.get(node.site, ()), node.index)
    return keep_of(named, {site: len(kept) for site, kept in subject.keep.items()})


def against_circuit(subject: Subject, allowed: Keep | None = None, **sizes: int) -> Adversary:
    rest = {site: ~kept for site, kept in subject.keep.items()}
    return Adversary(
        subject.whole, subject.holding, subject.keep, allowed or rest, subject.report,
        torch.sign(subject.margins(None)), subject.edges, **sizes,
    )  # fmt: skip


def harm(subject: Subject, margins: torch.Tensor) -> tuple[float, float]:
    left = margins * torch.sign(subject.margins(None))
    return float((left <= 0).double().mean()), float(functional.softplus(-left).mean())


@given(st.floats(0, 1), st.lists(st.integers(0, 2**31), min_size=1, max_size=3))
def test_a_random_subset_is_a_function_of_its_seed(rate: float, seed: list[int]) -> None:
    chosen = random_subset(MASKS, rate, seed)
    again = random_subset(MASKS, rate, seed)
    for site, mask in MASKS.items():
        assert not (chosen[site] & ~mask).any()
        assert np.array_equal(chosen[site], again[site])
        if rate in (0, 1):
            assert np.array_equal(chosen[site], mask & (rate == 1))


def test_random_subsets_differ_and_hold_each_node_at_the_rate() -> None:
    drawn = [random_subset(MASKS, 0.3, [0, draw]) for draw in range(400)]
    for site, mask in MASKS.items():
        often = np.mean([chosen[site] for chosen in drawn], axis=0)
        assert np.abs(often[mask] - 0.3).max() < 0.1


def test_the_unit_that_cancels_a_shortcut_is_found_by_itself(planted: Planted) -> None:
    subject = subject_of(planted, WRONG)
    attack = against_circuit(subject).worst([1], seed=0)[1]
    assert attack.nodes == (planted.parts["cancel"],)
    assert harm(subject, attack.margins)[0] == 1


def test_no_single_node_breaks_the_true_circuit(planted: Planted) -> None:
    subject = subject_of(planted, TRUE)
    attack = against_circuit(subject).worst([1], seed=0)[1]
    assert attack.nodes == (planted.parts["cancel"],)
    assert harm(subject, attack.margins)[0] == 0


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("names", [TRUE, WRONG, (*WRONG, "cancel")])
def test_no_set_of_one_or_two_nodes_is_worse(names: tuple[str, ...], seed: int) -> None:
    whole = cancelled(size=16, seed=seed)
    some = np.random.default_rng(seed).permutation(sorted(all_nodes(whole)))[:9]
    compare_with_all(subject_of(whole, names, pairs=6), {*whole.active, *some}, seed)


def test_two_nodes_that_act_only_together_are_found() -> None:
    """A decoy's value, which nothing reads while its write is closed, and that write."""
    decoys = quote_with_decoys()
    subject = subject_of(decoys, QUOTE, pairs=6)
    compare_with_all(subject, decoys.active, 0)
    pair = decoys.nodes("decoy attn", "decoy write attn")
    attack = against_circuit(subject, masks_of(subject, pair)).worst([2], 0)[2]
    assert set(attack.nodes) == pair


def compare_with_all(subject: Subject, nodes: Collection[Node], seed: int) -> None:
    free = sorted(node for node in nodes if not subject.keep[node.site][node.index])
    found = against_circuit(subject, masks_of(subject, free)).worst([1, 2], seed)
    worst = harm(subject, subject.circuit_margins())
    for budget in (1, 2):
        for chosen in combinations(free, budget):
            margins = subject.circuit_margins(restored=masks_of(subject, chosen))
            worst = max(worst, harm(subject, margins))
        assert harm(subject, found[budget].margins) == pytest.approx(worst, abs=1e-9)


@pytest.mark.parametrize("names", [TRUE, WRONG, ("read",), ()])
def test_a_larger_budget_is_never_weaker_and_every_score_is_measured(
    planted: Planted, names: tuple[str, ...]
) -> None:
    subject = subject_of(planted, names)
    found = against_circuit(subject, tries=4).worst([16, 1, 4, 2], seed=0)
    assert list(found) == [1, 2, 4, 16]
    before = harm(subject, subject.circuit_margins())
    for budget, attack in found.items():
        assert len(attack.nodes) <= budget
        check_measured(subject, attack)
        now = harm(subject, attack.margins)
        assert now >= before
        before = now


def check_measured(subject: Subject, attack: Attack) -> None:
    restored = masks_of(subject, attack.nodes)
    assert not any((restored[site] & kept).any() for site, kept in subject.keep.items())
    again = subject.circuit_margins(restored=restored)
    assert torch.allclose(attack.margins, again, rtol=0, atol=1e-9)


def test_edges_that_the_circuit_lacks_stay_cut(planted: Planted) -> None:
    parts = planted.parts
    cut = [Edge(parts["read"], parts["true 0"])]
    subject = subject_of(planted, TRUE, cut=cut)
    attack = against_circuit(subject).worst([1], seed=0)[1]
    check_measured(subject, attack)
    # One true value of two is left, which the cancelling one outweighs.
    assert attack.nodes == (parts["cancel"],)
    assert harm(subject, attack.margins)[0] == 1


def test_the_whole_model_is_attacked_by_cutting(planted: Planted) -> None:
    subject = subject_of(planted, (*WRONG, "cancel"))
    everything = {site: np.ones_like(kept) for site, kept in subject.keep.items()}
    rest = {site: ~kept for site, kept in subject.keep.items()}
    signs = torch.sign(subject.margins(None))
    adversary = Adversary(
        subject.whole, subject.holding, everything, rest, subject.report, signs
    )  # fmt: skip
    found = adversary.worst([1, 2], seed=0)
    assert harm(subject, found[1].margins)[0] == 0
    # Without the two true values what is left is the shortcut less what outweighs it.
    assert set(found[2].nodes) == planted.nodes("true 0", "true 1")
    assert harm(subject, found[2].margins)[0] == 1
    keep = masks_of(subject, found[2].nodes)
    left = subject.margins({site: ~mask for site, mask in keep.items()})
    assert torch.allclose(found[2].margins, left, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "name", ["zero", "mean-task", "mean-pretraining+gate-before", "mean-position", "resample",
             "mean-pretraining+frozen-norms"],
)  # fmt: skip
def test_every_ablation_can_be_attacked(planted: Planted, name: str) -> None:
    subject = subject_of(planted, WRONG, pairs=4)
    config = AblationConfig.of_name(name)
    holding = Holding.of(config, replace(planted.checkpoint, model=subject.model), subject.fit)
    subject = replace(subject, holding=holding)
    attack = against_circuit(subject, steps=2, tries=3).worst([1], seed=0)[1]
    keep = masks_of(subject, attack.nodes)
    both = {site: kept | keep[site] for site, kept in subject.keep.items()}
    again = masked_margins(subject.whole, holding, both, subject.report)
    assert attack.nodes == (planted.parts["cancel"],)
    assert torch.allclose(attack.margins, again, rtol=0, atol=1e-9)


def test_where_nothing_may_be_turned_nothing_is(planted: Planted) -> None:
    subject = subject_of(planted, TRUE)
    none = {site: np.zeros_like(kept) for site, kept in subject.keep.items()}
    attack = against_circuit(subject, none).worst([4], seed=0)[4]
    assert attack.nodes == ()
    assert torch.equal(attack.margins, subject.circuit_margins())


def test_equal_seeds_give_equal_attacks(planted: Planted) -> None:
    subject = subject_of(planted, TRUE)
    runs = [against_circuit(subject).worst([2, 8], seed=5) for _ in range(2)]
    for budget in (2, 8):
        assert runs[0][budget].nodes == runs[1][budget].nodes
        assert torch.equal(runs[0][budget].margins, runs[1][budget].margins)
