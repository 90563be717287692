"""Mechanism kept: each way in which a circuit may differ from its model has its own measure."""

from __future__ import annotations

import json
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import wirework as ww
from planted_circuits import all_nodes, circuit_of
from wirework.ablation import AblationConfig, CompactModel, Holding, keep_taps
from wirework.core import Edge, Node, Site
from wirework.core.progress import silent
from wirework.discovery import DiscoveryConfig, take_circuit
from wirework.discovery.bench import Bench
from wirework.discovery.rankings import rank_nodes
from wirework.model import Checkpoint, Taps, Transformer, reference_means
from wirework.model.layers import Attention, Layer
from wirework.planted import Planted, close_quote, copy_previous, quote_with_decoys, twin_values
from wirework.validation import ValidationConfig
from wirework.validation.activations_kept import norm_findings, role_findings, variance_findings
from wirework.validation.attention_kept import attention_findings
from wirework.validation.binarised import two_values
from wirework.validation.both_runs import BothRuns
from wirework.validation.findings import Findings
from wirework.validation.held_otherwise import held_otherwise_findings
from wirework.validation.interchange import interchange_findings
from wirework.validation.mechanism import mechanism_findings, mechanism_passes
from wirework.validation.subject import Subject

QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
MEASURES = {
    "fvu", "fvu:median", "sign_changes", "attention_distance", "norm_shift", "norm_shift:worst",
    "interchange", "interchange:circuit", "binarised_loss", "binarised_accuracy",
    "binarised_nodes", "free_norm_loss", "frozen_norm_loss", "zero_loss", "mean_loss",
}  # fmt: skip
SMALL = ValidationConfig(pairs=16, ablation_pairs=16, interchange_draws=1)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


def exact(subject: Subject) -> Subject:
    """The same in float64."""
    return replace(subject, model=deepcopy(subject.model).double())


def subject_of(planted: Planted, nodes: Collection[Node], cut: Collection[Edge] = ()) -> Subject:
    return exact(Subject.of(circuit_of(planted, nodes, cut=cut), planted.checkpoint, None))


def runs_of(subject: Subject) -> BothRuns:
    return BothRuns.of(subject, subject.sample(16, 0))


def mechanism(subject: Subject) -> Findings:
    return mechanism_findings(subject, SMALL, seed=0, start=silent)


def changed(planted: Planted, model: Transformer) -> Checkpoint:
    """The checkpoint with another model, its means over the same prompts."""
    old = planted.checkpoint
    fit = planted.task.encode(old.tokenizer, old.config.context).fit
    ends = zip(fit.tokens, fit.last, strict=True)
    rows = [torch.from_numpy(row[: last + 1])[None] for row, last in ends]
    return replace(old, model=model, means=reference_means(model, rows))


def attention(model: Transformer) -> Attention:
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    return layer.attn


def test_all_nodes_are_the_model_itself(planted: Planted) -> None:
    found = mechanism(subject_of(planted, all_nodes(planted)))
    assert set(found.measures) == MEASURES
    assert_identical(found)


def assert_identical(found: Findings) -> None:
    """What must be where nothing is cut."""
    value = {name: measure.value for name, measure in found.measures.items()}
    for name in ("fvu", "fvu:median", "sign_changes", "attention_distance"):
        assert value[name] == pytest.approx(0, abs=1e-9)
    for name in ("norm_shift", "norm_shift:worst", "interchange", "interchange:circuit"):
        assert value[name] == pytest.approx(1, abs=1e-9)
    for name in ("frozen_norm_loss", "zero_loss", "mean_loss"):
        assert value[name] == pytest.approx(value["free_norm_loss"], abs=1e-9)
    assert found.details["roles"]["changed"] == []
    assert found.details["attention"]["became_uniform"] == []


def test_a_true_circuit_keeps_its_mechanism(planted: Planted) -> None:
    found = mechanism(subject_of(planted, planted.nodes(*QUOTE)))
    value = {name: measure.value for name, measure in found.measures.items()}
    assert value["fvu"] < 0.01
    assert value["fvu:median"] < 1e-9
    assert value["attention_distance"] < 1e-9
    assert value["interchange"] == value["interchange:circuit"] == 1
    assert value["sign_changes"] == 0
    assert value["norm_shift:worst"] < 1.2
    assert value["binarised_accuracy"] == 1
    assert value["frozen_norm_loss"] < 0.01
    # Its query is a constant that was cut: at zero the head looks nowhere.
    assert value["zero_loss"] > 0.3 > value["mean_loss"]
    assert all(measure.note and measure.bar is None for measure in found.measures.values())
    for measure in found.measures.values():
        if measure.low is not None and measure.high is not None:
            assert measure.low <= measure.value + 1e-12 and measure.value <= measure.high + 1e-12
    json.dumps(found.details, allow_nan=False)


def test_a_head_without_its_key_looks_nowhere(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE) - planted.nodes("key"))
    found = attention_findings(runs_of(subject), seed=0)
    head = planted.parts["value"].index // 8
    assert found.measures["attention_distance"].value > 0.8
    assert found.details["attention"]["became_uniform"] == [f"0.{head}"]
    (row,) = found.details["attention"]["heads"]
    assert (row["queries"], row["keys"], row["uniform_in_model"]) == (0, 0, False)
    assert role_findings(runs_of(subject), seed=0).measures["sign_changes"].value == 0


def test_attention_distance_is_total_variation_with_the_sink(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE) - planted.nodes("key"))
    runs = runs_of(subject)
    found = attention_findings(runs, seed=0).measures["attention_distance"].value
    sinks, head = attention(subject.model).sink, planted.parts["value"].index // 8
    assert sinks is not None
    site, own = Site.parse("0.attn.k"), slice(8 * head, 8 * head + 8)
    held = subject.holding.constants[site].double()
    distances = []
    for tokens, last in zip(runs.prompts.tokens, runs.prompts.last.tolist(), strict=True):
        taps = Taps(record=[site, Site.parse("0.attn.q")])
        with torch.no_grad():
            subject.model.read_out(tokens[None, : last + 1], taps)
        q, k = (taps.values[Site.parse(f"0.attn.{kind}")][0] for kind in "qk")
        query = subject.holding.constants[Site.parse("0.attn.q")].double()
        shares = []
        for one, keys in ((q[last], k), (query, held.expand_as(k))):
            scores = keys[:, own] @ one[own] / 8**0.5
            shares.append(torch.cat([scores, sinks.detach()[head : head + 1]]).softmax(0))
        distances.append(float((shares[0] - shares[1]).abs().sum() / 2))
    assert found == pytest.approx(np.mean(distances), abs=1e-9)


def test_a_circuit_without_values_has_no_attention_to_compare(planted: Planted) -> None:
    nodes = planted.nodes(*QUOTE) - planted.nodes("value")
    assert attention_findings(runs_of(subject_of(planted, nodes)), seed=0) == Findings()
    empty = mechanism(subject_of(planted, []))
    assert "fvu" not in empty.measures
    assert empty.measures["interchange"].value == 1


def test_nodes_that_change_sign_are_named() -> None:
    # The twin outvotes the value: without it, what is written means the opposite.
    twins = twin_values()
    model = deepcopy(twins.checkpoint.model)
    write, twin = twins.parts["write answer"].index, twins.parts["value twin"].index
    attention(model).out.weight.data[write, twin] = -1.5
    circuit = take_circuit(changed(twins, model), twins.task, twins.nodes(*QUOTE))
    runs = runs_of(exact(Subject.of(circuit, changed(twins, model), None)))
    found = role_findings(runs, seed=0)
    names = {str(twins.parts[part]) for part in ("write answer", "final answer")}
    assert found.measures["sign_changes"].value == 2 / len(runs.nodes)
    assert {row["node"] for row in found.details["roles"]["changed"]} == names
    assert {row["change"] for row in found.details["roles"]["changed"]} == {"flips"}
    assert attention_findings(runs, seed=0).measures["attention_distance"].value < 1e-9


def test_a_norm_that_amplifies_what_is_left_shows_and_freezing_it_costs(planted: Planted) -> None:
    # A decoy writes loudly where nothing reads: under zero ablation the last norm turns up.
    model = deepcopy(planted.checkpoint.model)
    for edge in planted.edges:
        if edge.target == planted.parts["decoy write attn"]:
            attention(model).out.weight.data[edge.target.index, edge.source.index] = 30.0
    checkpoint = changed(planted, model)
    config = DiscoveryConfig(ablation=AblationConfig(kind="zero"))
    nodes = planted.nodes(*QUOTE, "query")
    circuit = take_circuit(checkpoint, planted.task, nodes, config=config)
    subject = exact(Subject.of(circuit, checkpoint, None))
    runs = runs_of(subject)
    found = norm_findings(runs, seed=0)
    assert found.measures["norm_shift:worst"].value > 3
    factors = {row["norm"]: row["factor"] for row in found.details["norms"]}
    assert factors["final"] == found.measures["norm_shift:worst"].value
    assert factors["0.attn.in"] == pytest.approx(1, abs=1e-9)
    mean = np.exp(np.abs(np.log(list(factors.values()))).mean())
    assert found.measures["norm_shift"].value == pytest.approx(mean)
    assert role_findings(runs, seed=0).measures["sign_changes"].value == 0
    assert attention_findings(runs, seed=0).measures["attention_distance"].value < 1e-9
    margins = subject.circuit_margins(runs.prompts)
    frozen = replace(subject, holding=replace(subject.holding, config=AblationConfig.of_name(
        "zero+frozen-norms")))  # fmt: skip
    assert float(margins.mean()) > 3 * float(frozen.circuit_margins(runs.prompts).mean())
    again = norm_findings(runs_of(frozen), seed=0)
    assert again.measures["norm_shift:worst"].value == pytest.approx(1, abs=1e-9)


def test_fvu_is_the_formula(planted: Planted) -> None:
    nodes = planted.nodes(*QUOTE) - planted.nodes("key")
    subject = subject_of(planted, nodes)
    runs = runs_of(subject)
    held = {site: value.numpy() for site, value in subject.holding.constants.items()}
    sums = np.zeros(2)
    listed = {
        row["node"]: row["fvu"] for row in variance_findings(runs, seed=0).details["fvu"]["nodes"]
    }
    for node in nodes:
        both = []
        for taps in (keep_taps(subject.keep, held)(), Taps()):
            taps.record = frozenset([node.site])
            with torch.no_grad():
                subject.model.read_out(runs.prompts.tokens, taps)
            values = taps.values[node.site][..., node.index]
            every = torch.arange(values.shape[1]) <= runs.prompts.last[:, None]
            ends = torch.arange(values.shape[1]) == runs.prompts.last[:, None]
            both.append(values[ends if subject.whole.only_ends(node.site) else every].numpy())
        pruned, whole = both
        missed, spread = ((pruned - whole) ** 2).sum(), ((whole - whole.mean()) ** 2).sum()
        assert listed[str(node)] == pytest.approx(missed / spread, abs=1e-9)
        sums += missed, spread
    measure = variance_findings(runs, seed=0).measures["fvu"]
    assert measure.value == pytest.approx(sums[0] / sums[1], abs=1e-9)


@pytest.mark.parametrize(
    "ablation",
    ["mean-pretraining", "zero+frozen-norms+gate-before", "mean-position", "resample+frozen-norms"],
)
def test_values_of_the_same_run_change_nothing(planted: Planted, ablation: str) -> None:
    base = subject_of(planted, planted.nodes(*QUOTE, "query"))
    config = AblationConfig.of_name(ablation)
    holding = Holding.of(config, planted.checkpoint, base.fit)
    runs = runs_of(replace(base, holding=holding))
    subject, prompts = runs.subject, runs.prompts
    nothing = {site: np.zeros_like(kept) for site, kept in subject.keep.items()}
    own = subject.circuit_margins(prompts)
    for swapped in (nothing, subject.keep):
        again = runs.circuit_with(swapped, runs.pruned.values)
        torch.testing.assert_close(again, own, rtol=0, atol=1e-9)
    torch.testing.assert_close(
        runs.model_with(nothing), subject.margins(None, prompts), rtol=0, atol=1e-9
    )


def test_cut_edges_stay_cut_in_the_pruned_run() -> None:
    planted = close_quote()
    nodes = planted.nodes(*planted.parts)
    edge = next(e for e in planted.edges if e.target == planted.parts["key"])
    subject = subject_of(planted, nodes, cut=[edge])
    assert subject.cut == (edge,)
    runs = runs_of(subject)
    own = runs.circuit_with(subject.keep, runs.pruned.values)
    torch.testing.assert_close(own, subject.circuit_margins(runs.prompts), rtol=0, atol=1e-9)
    found = mechanism(subject)
    assert found.details["attention"]["became_uniform"] != []
    assert found.measures["binarised_accuracy"].value < 0.9
    # The value of the key in the whole model does not come through the edge: it mends the head.
    whole = {site: value.clone() for site, value in runs.whole.values.items()}
    key = {site: np.zeros_like(kept) for site, kept in subject.keep.items()}
    key[planted.parts["key"].site] = subject.keep[planted.parts["key"].site]
    assert bool((runs.circuit_with(key, whole) > 0).all())


@pytest.mark.long
def test_a_circuit_of_a_trained_model_is_told_from_the_model_itself() -> None:
    checkpoint = ww.load("reference/v1-sparse-small")
    task = ww.task("python/single_double_quote")
    task = replace(task, fit=task.fit[:64], select=task.select[:16], report=task.report[:64])
    encoded = task.encode(checkpoint.tokenizer, checkpoint.config.context)
    ranked = rank_nodes(Bench.of(checkpoint, encoded, DiscoveryConfig()), "attribution")
    every = [(abs(x), Node(site, i)) for site, xs in ranked.items() for i, x in enumerate(xs)]
    best = [node for _, node in sorted(every, reverse=True)[:120]]
    subject = exact(Subject.of(take_circuit(checkpoint, task, best), checkpoint, None))
    found = mechanism(subject)
    assert set(found.measures) == MEASURES
    assert found.measures["fvu"].value > 0.1
    assert found.measures["norm_shift"].value > 1.1
    assert found.measures["attention_distance"].value > 0.05
    json.dumps(found.details, allow_nan=False)
    keep = {site: np.ones_like(kept) for site, kept in subject.keep.items()}
    assert_identical(mechanism(replace(subject, keep=keep, cut=())))


def test_interchange_with_wrong_activations_changes_answers(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE) - planted.nodes("key"))
    runs = runs_of(subject)
    found = interchange_findings(runs, 1, seed=0)
    for way in ("model", "circuit"):
        curve = found.details["interchange"][way]
        assert curve["rate"][0] == 0 and curve["share"][0] == 1
        assert curve["layers"]["layer"] == [0, "final"]
        name = "interchange" + ("" if way == "model" else ":circuit")
        assert found.measures[name].value == min(curve["share"]) < 0.9
    swapped = runs.model_with(subject.keep)
    kept = (swapped > 0) == (subject.margins(None, runs.prompts) > 0)
    share = found.details["interchange"]["model"]["share"][-1]
    assert share == pytest.approx(float(kept.double().mean()))


def test_binarised_nodes_are_told_from_graded_ones() -> None:
    letters = copy_previous()
    found = mechanism(subject_of(letters, letters.active))
    table = found.details["binarised"]
    graded = {n for n, good in zip(table["node"], table["binarises"], strict=True) if not good}
    # Queries and keys are points on a circle, letters are signs.
    assert graded == {
        str(node) for name, node in letters.parts.items() if name[:3] in ("que", "key")
    }
    assert found.measures["binarised_accuracy"].value < 0.9
    quotes = close_quote()
    assert mechanism(subject_of(quotes, quotes.active)).measures["binarised_accuracy"].value == 1


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 9), st.integers(1, 3)),
        elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]),
    )
)
def test_two_values_have_the_least_error_of_all_splits(x: np.ndarray) -> None:
    found = two_values(torch.from_numpy(x))
    errors = ((found(torch.from_numpy(x)).numpy() - x) ** 2).sum(0)
    for column in range(x.shape[1]):
        own, least = x[:, column], np.inf
        for border in own:
            parts = [own[own <= border], own[own > border]]
            least = min(
                least, sum(((part - part.mean()) ** 2).sum() for part in parts if len(part))
            )
        assert errors[column] == pytest.approx(least, abs=1e-9)
        total = ((own - own.mean()) ** 2).sum()
        expected = 1 - least / total if total > 1e-9 else 1
        assert float(found.explained[column]) == pytest.approx(expected, abs=1e-9)


def test_findings_repeat_and_their_cost_is_told_ahead(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE))
    first = mechanism(subject)
    prompts = 0
    forward = CompactModel._final

    def counted(self: CompactModel, run: Any) -> torch.Tensor:
        nonlocal prompts
        prompts += len(run.packed.ends)
        return forward(self, run)

    monkeypatch.setattr(CompactModel, "_final", counted)
    assert mechanism(subject) == first
    assert mechanism_passes(subject, SMALL) == pytest.approx(prompts / 2 / SMALL.pairs, rel=0.25)


def test_other_ablations_are_those_of_the_masked_model(planted: Planted) -> None:
    subject = subject_of(planted, planted.nodes(*QUOTE, "query"))
    parts = subject.fit, subject.sample(16, 0)
    found = held_otherwise_findings(subject, *parts, seed=0)
    assert found.measures["mean_loss"].value == found.measures["free_norm_loss"].value
    config = DiscoveryConfig(ablation=AblationConfig(kind="zero"))
    nodes = planted.nodes(*QUOTE, "query")
    zero = take_circuit(planted.checkpoint, planted.task, nodes, config=config)
    other = exact(Subject.of(zero, planted.checkpoint, None))
    same = held_otherwise_findings(other, *parts, seed=0)
    for name in ("zero_loss", "mean_loss"):
        assert same.measures[name].value == pytest.approx(found.measures[name].value, abs=1e-9)
    assert same.measures["zero_loss"].value == same.measures["free_norm_loss"].value
