"""Predicates of single weights: known truth, controls, scores against a plain computation."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edited_weights import plain_losses
from quote_labels import quote_features
from wirework.core import Edge, Node, WireworkError
from wirework.explain import Evidence, WeightPredicate, weight_predicates
from wirework.explain.label_search import conjunction
from wirework.explain.model_weight import ModelWeight
from wirework.explain.predicate_search import PredicateSearch, worth
from wirework.model import Taps, Transformer
from wirework.planted import Planted, quote_with_decoys
from wirework.probing import LabelledTokens, label_tokens
from wirework.tasks import SPLITS


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


def labelled(planted: Planted, *names: str) -> LabelledTokens:
    """Every prompt of the task with its right answer, as a document of its own."""
    task, texts = planted.task, []
    for pair in (pair for split in SPLITS for pair in task.splits[split]):
        texts.append(pair.prompt + task.answers[pair.answer].tokens[0])
        texts.append(pair.counterfactual + task.answers[pair.counter_answer].tokens[0])
    documents = {f"{number}.txt": text for number, text in enumerate(texts)}
    return label_tokens(documents, planted.checkpoint.tokenizer, quote_features(*names))


def edge(planted: Planted, source: str, target: str) -> Edge:
    return Edge(planted.parts[source], planted.parts[target])


@pytest.fixture(scope="module")
def found(planted: Planted) -> dict[Edge, WeightPredicate]:
    return weight_predicates(
        planted.checkpoint, sorted(planted.edges), labelled(planted), seed=0, least=10
    )


@pytest.mark.parametrize(("source", "target"), [("read opening", "key"), ("read kind", "value")])
def test_a_weight_that_matters_where_a_feature_holds_is_found(
    planted: Planted, found: dict[Edge, WeightPredicate], source: str, target: str
) -> None:
    """The head looks at opening quotes only, and the key's source is zero elsewhere."""
    predicate = found[edge(planted, source, target)]
    assert predicate.rise > predicate.rise_low > 0
    best, control = predicate.best, predicate.control
    assert best is not None
    assert control is not None
    assert str(best) == "opens"
    assert best.recovery == pytest.approx(1, abs=1e-3)
    assert best.inverse == pytest.approx(0, abs=1e-3)
    assert best.train_score == pytest.approx(1, abs=1e-3)
    assert best.low <= best.score <= best.high
    assert 0.05 < best.coverage < 0.15
    assert predicate.robust
    assert str(predicate).startswith("opens, +")
    assert control.score < 0.6
    assert not predicate.robust_by_chance


def test_weights_that_do_nothing_are_said_not_to_matter(
    planted: Planted, found: dict[Edge, WeightPredicate]
) -> None:
    idle = found[edge(planted, "decoy read", "decoy neuron 0")]
    assert (idle.rise, idle.rise_low, idle.rise_high) == (0, 0, 0)
    assert idle.reason.startswith("does not matter on this text: +0.0e+00 nats")
    # It only swells the residual, which the last norm sees.
    harmful = found[edge(planted, "decoy mlp", "decoy write mlp")]
    assert harmful.rise_high < 0
    assert harmful.reason.startswith("the text is predicted better without it")
    for predicate in (idle, harmful):
        assert predicate.best is predicate.control is None
        assert not predicate.robust
        assert str(predicate) == f"unexplained: {predicate.reason}"


def test_a_conjunction_says_what_no_feature_can(planted: Planted) -> None:
    """Openings are the only tokens of a quote and a blank; of these features none tells them."""
    labels = labelled(planted, "ends_in_quote", "is_word")
    random = np.random.default_rng(0).random((len(labels), 2)) < 0.5
    opens = labelled(planted, "opens").labels[:, 0] == 1
    # Both are right at openings, and neither is elsewhere.
    halves = np.where(opens[:, None], True, random & ~random.all(1, keepdims=True))
    mixed = LabelledTokens(**{**vars(labels), "labels": halves.astype(np.int8)})
    asked = edge(planted, "read opening", "key")
    best = weight_predicates(planted.checkpoint, [asked], mixed, seed=0)[asked].best
    assert best is not None
    assert str(best) == "ends_in_quote and is_word"
    assert best.score == pytest.approx(1, abs=1e-3)


def test_the_seed_decides_everything_edge_by_edge(
    planted: Planted, found: dict[Edge, WeightPredicate]
) -> None:
    asked = edge(planted, "read kind", "value")
    same, other = (
        weight_predicates(planted.checkpoint, [asked], labelled(planted), seed=seed, least=10)
        for seed in (0, 1)
    )
    assert same[asked] == found[asked]
    assert other[asked] != found[asked]
    assert str(other[asked].best) == "opens"


def test_an_ablated_weight_may_read_the_mean(planted: Planted) -> None:
    """As if the weight were zero and the bias had its part of the mean of training text."""
    model, text = planted.checkpoint.model, labelled(planted)
    asked = edge(planted, "read opening", "key")
    found = weight_predicates(
        planted.checkpoint, [asked], text, seed=0, least=10, ablation="mean"
    )[asked]  # fmt: skip
    assert found.ablation == "mean"
    train, held = text.split(0)
    taps = Taps(record=[asked.source.site])
    read = []
    for number in np.unique(text.document[train]):
        tokens = torch.from_numpy(text.tokens[text.document == number])[None]
        model.read_out(tokens, taps)
        read.append(taps.values[asked.source.site][0, :, asked.source.index])
    changed = copy.deepcopy(model)
    weight = ModelWeight.of(changed, asked)
    assert weight.linear.bias is not None
    weight.linear.bias.data[weight.row] += weight.value * torch.cat(read).mean()
    weight.linear.weight.data[weight.row, weight.column] = 0
    before, after = (
        sum(losses_of(one, text.tokens[text.document == number]).sum().item()
            for number in np.unique(text.document[held]))
        for one in (model, changed)
    )  # fmt: skip
    assert found.loss == pytest.approx(before / found.tokens, abs=1e-5)
    assert found.rise == pytest.approx((after - before) / found.tokens, abs=1e-5)


@torch.no_grad()
def losses_of(model: Transformer, tokens: NDArray[np.int64]) -> Tensor:
    """Tokens (T) of one window -> losses (T - 1)."""
    row = torch.from_numpy(tokens)
    return functional.cross_entropy(model(row[None])[0, :-1], row[1:], reduction="none")


def test_predicates_are_plain_json_and_stand_in_the_evidence(
    found: dict[Edge, WeightPredicate], tmp_path: Path
) -> None:
    for predicate in found.values():
        assert WeightPredicate.from_json(json.loads(json.dumps(predicate.to_json()))) == predicate
    path = tmp_path / "a.evidence.json"
    Evidence("hash", {}, predicates=found).save(path)
    assert Evidence.load(path).predicates == found
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, "version": 3, "predicates": None}))
    assert Evidence.load(path) == Evidence("hash", {})
    name = next(iter(plain["predicates"]))
    one = plain["predicates"][name]
    wrongs: list[Any] = [
        None, {"no edge": one}, {name: {**one, "ablation": "none"}},
        {name: {**one, "best": {"terms": []}}},
    ]  # fmt: skip
    for wrong in wrongs:
        path.write_text(json.dumps({**plain, "predicates": wrong}))
        with pytest.raises(WireworkError, match=r"evidence-foreign|edge-malformed"):
            Evidence.load(path)


def test_wrong_input_is_refused(planted: Planted) -> None:
    labels = labelled(planted, "opens")
    asked = edge(planted, "read opening", "key")
    foreign = LabelledTokens(**{**vars(labels), "tokenizer": "0" * 64})
    swapped = Edge(asked.target, asked.source)
    absent = Edge(asked.source, Node(asked.target.site, asked.target.index ^ 1))
    far = Edge(Node(asked.source.site, 999), asked.target)
    for edges, given_labels, least, code in (
        ([asked], foreign, 20, "labels-tokenizer-mismatch"),
        ([asked], labels, 10**6, "scan-without-features"),
        ([swapped], labels, 20, "edge-absent"),
        ([absent], labels, 20, "edge-absent"),
        ([far], labels, 20, "edge-absent"),
    ):
        with pytest.raises(WireworkError) as caught:
            weight_predicates(planted.checkpoint, edges, given_labels, seed=0, least=least)
        assert caught.value.code == code


def test_scores_are_those_of_a_plain_computation(planted: Planted) -> None:
    model, text = copy.deepcopy(planted.checkpoint.model).double(), labelled(planted)
    asked = edge(planted, "value", "write answer")
    checkpoint = replace(planted.checkpoint, model=model)
    found = weight_predicates(checkpoint, [asked], text, seed=0, least=10)[asked]
    best, weight = found.best, ModelWeight.of(model, asked)
    assert best is not None
    held = text.split(0)[1]
    terms = [(text.index(term.feature), term.negated) for term in best.terms]
    marks = conjunction(text.labels == 1, tuple(terms))
    offs = (np.zeros(len(text), bool), np.ones(len(text), bool), ~marks, marks)
    whole, nowhere, where, elsewhere = (
        plain_losses(model, text, weight, off)[held].sum() / found.tokens for off in offs
    )
    rise = nowhere - whole
    assert found.loss == pytest.approx(whole, abs=1e-9)
    assert found.rise == pytest.approx(rise, abs=1e-9)
    assert best.recovery == pytest.approx(1 - (where - whole) / rise, abs=1e-9)
    assert best.inverse == pytest.approx(1 - (elsewhere - whole) / rise, abs=1e-9)
    assert best.score == min(best.recovery, 1 - best.inverse)
    assert best.coverage == pytest.approx(marks[held].mean())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), width=st.integers(1, 5))
def test_the_first_of_the_ranked_is_the_best_of_all_conjunctions(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    held = random.random((60, width + 1)) < random.uniform(0.1, 0.9, width + 1)
    gain = random.normal(0.2, 1, 60) * (random.random(60) < 0.7)
    columns = np.arange(1, width + 1)
    total = float(np.abs(gain).sum())
    values = {}
    for count in range(1, min(3, width) + 1):
        for some in combinations(columns.tolist(), count):
            for absent in product((False, True), repeat=count):
                terms = tuple(zip(some, absent, strict=True))
                marks = conjunction(held, terms)
                share = float(gain[marks].sum()) / total
                values[terms] = worth(share, float(marks.mean()), count)
    ranked = list(PredicateSearch(held, columns).ranked(gain, total))
    most = max(values.values())
    if most == -np.inf:
        assert not ranked
        return
    assert values[ranked[0]] == pytest.approx(most, abs=1e-5)
    assert set(ranked) <= set(values)


def test_a_predicate_that_holds_nearly_everywhere_is_none() -> None:
    held = np.ones((50, 1), bool)
    held[:3] = False
    ranked = list(PredicateSearch(held, np.array([0])).ranked(np.ones(50), 50.0))
    assert ranked == [((0, True),)]
