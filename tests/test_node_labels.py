"""Labels of nodes: what planted nodes tell is found, held out, beside controls at chance."""

from __future__ import annotations

import json
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wirework as ww
from planted_circuits import all_nodes, circuit_of
from quote_labels import quote_features
from wirework.ablation import MEAN_PRETRAINING, PromptTensors
from wirework.circuit import Circuit
from wirework.core import Node, WireworkError
from wirework.explain import Evidence
from wirework.explain.channel_source import ChannelSource
from wirework.explain.label_effects import LabelEffects
from wirework.explain.node_label import NodeLabel
from wirework.explain.node_labels import label_nodes
from wirework.planted import Planted, close_quote
from wirework.probing.activation_source import WireworkSource
from wirework.probing.character_features import character_features
from wirework.probing.feature import FeatureSet
from wirework.probing.feature_sets import joined_features
from wirework.probing.label_tokens import label_tokens
from wirework.probing.labelled import LabelledTokens
from wirework.probing.position_features import position_features
from wirework.probing.python_features import python_features
from wirework.viewer.evidence import show_evidence


@pytest.fixture(scope="module")
def planted() -> Planted:
    return close_quote()


@pytest.fixture(scope="module")
def circuit(planted: Planted) -> Circuit:
    return circuit_of(planted, planted.active)


def documents(planted: Planted) -> dict[str, str]:
    pairs = (*planted.task.fit, *planted.task.select, *planted.task.report)
    texts = [text for pair in pairs for text in (pair.prompt, pair.counterfactual)]
    return {f"{number}.txt": text for number, text in enumerate(texts)}


def labelled(planted: Planted, features: FeatureSet) -> LabelledTokens:
    return label_tokens(documents(planted), planted.checkpoint.tokenizer, features)


@pytest.fixture(scope="module")
def found(planted: Planted, circuit: Circuit) -> dict[Node, NodeLabel]:
    features = quote_features()
    labels = labelled(planted, features)
    return label_nodes(circuit, planted.checkpoint, labels, features=features, seed=1)


@pytest.mark.parametrize(
    ("part", "feature"),
    [
        ("read double", "ends_in_double"),
        ("neuron", "ends_in_double"),
        ("write kind", "ends_in_double"),
        ("read kind", "ends_in_double"),
        ("read opening", "opens"),
        ("key", "opens"),
        ("write answer", "opened_by_double"),
        ("final answer", "opened_by_double"),
    ],
)
def test_a_planted_node_gets_the_label_that_it_was_made_for(
    planted: Planted, found: dict[Node, NodeLabel], part: str, feature: str
) -> None:
    label = found[planted.parts[part]]
    assert label.explained
    assert label.single is not None
    assert str(label.single) == feature
    assert label.single.f1 > 0.95
    assert label.single.low <= label.single.f1 <= label.single.high
    assert label.inside != pytest.approx(label.outside)
    assert str(label).startswith(feature)


def test_scores_are_those_of_what_the_label_says(
    planted: Planted, found: dict[Node, NodeLabel]
) -> None:
    for label in found.values():
        for score in (label.single, label.pair, label.control):
            assert score is not None
            both = score.precision + score.recall
            f1 = 2 * score.precision * score.recall / both if both else 0
            assert score.f1 == pytest.approx(f1)
            assert score.chance_f1 == pytest.approx(2 * score.base_rate / (1 + score.base_rate))
            assert score.mcc_low <= score.mcc <= score.mcc_high


def test_controls_are_at_chance(found: dict[Node, NodeLabel]) -> None:
    for label in found.values():
        for control in (label.control, label.pair_control):
            assert control is not None
            assert abs(control.mcc) < 0.15


def test_the_label_explains_what_the_node_does_for_the_task(
    planted: Planted, found: dict[Node, NodeLabel]
) -> None:
    for part in ("read double", "neuron", "write kind", "read kind", "write answer"):
        share = found[planted.parts[part]].share
        assert share.value is not None
        assert share.low is not None
        assert share.high is not None
        assert share.control is not None
        assert share.value > 0.8
        assert share.low <= share.value <= share.high
        assert share.control < 0.6 * share.value
        assert (share.pairs, share.unlabelled, share.reason) == (100, 0, "")


def test_a_node_at_its_constant_has_none_of_its_effect_left(
    planted: Planted, circuit: Circuit
) -> None:
    node = planted.parts["read double"]
    encoded = planted.task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)
    prompts = PromptTensors.of(encoded.report)
    effects = LabelEffects.of(circuit, prompts, 3, seed=0)
    constant = float(circuit.network.gates[node.site].constant[node.index])
    marks = np.zeros(prompts.tokens.shape, bool)
    share = effects.share(node, marks, constant, constant)
    assert share.value == pytest.approx(0, abs=1e-4)
    assert (share.pairs, share.unlabelled) == (len(prompts), 3)


def test_a_pair_says_what_no_single_feature_can(planted: Planted, circuit: Circuit) -> None:
    labels = labelled(planted, quote_features("ends_in_quote", "has_single", "is_word"))
    node = planted.parts["neuron"]
    label = label_nodes(circuit, planted.checkpoint, labels, nodes=[node], seed=1)[node]
    assert label.best is label.pair
    assert label.best is not None
    assert label.single is not None
    assert str(label.best) == "ends_in_quote and not has_single"
    assert label.best.f1 > 0.99 > label.single.f1
    assert label.explained


def test_nodes_that_tell_nothing_asked_are_said_to_be_unexplained(
    planted: Planted, circuit: Circuit
) -> None:
    positions = position_features().only(["is_even_position", "in_first_half"])
    nodes = planted.nodes("neuron", "write kind", "read kind", "value")
    labels = labelled(planted, positions)
    for label in label_nodes(circuit, planted.checkpoint, labels, nodes=nodes, seed=0).values():
        assert not label.explained
        assert str(label).startswith("unexplained: ")
        assert label.share.value is None
        assert label.share.reason == "the node is unexplained"


def test_a_feature_that_is_nearly_always_there_explains_nothing_by_its_frequency(
    planted: Planted, circuit: Circuit
) -> None:
    """Always saying yes has a high F1 then."""
    random = np.random.default_rng(0)
    plain = labelled(planted, quote_features("is_word"))
    labels = (random.random((len(plain), 1)) < 0.95).astype(np.int8)
    frequent = LabelledTokens(**{**vars(plain), "labels": labels})
    nodes = planted.nodes("neuron", "key", "final answer")
    found = label_nodes(circuit, planted.checkpoint, frequent, nodes=nodes, seed=0, least=10)
    assert len(found) == 3
    for label in found.values():
        assert label.single is None or label.single.chance_f1 > 0.95
        assert not label.explained


def test_the_seed_decides_everything_node_by_node(
    planted: Planted, circuit: Circuit, found: dict[Node, NodeLabel]
) -> None:
    features = quote_features()
    nodes = [planted.parts["neuron"], planted.parts["key"]]
    labels = labelled(planted, features)
    again, other = (
        label_nodes(circuit, planted.checkpoint, labels, features=features, nodes=nodes, seed=seed)
        for seed in (1, 2)
    )
    assert again == {node: found[node] for node in nodes}
    assert other != again
    assert all(str(other[n].single) == str(found[n].single) for n in nodes)


def test_labels_are_plain_json_and_back(found: dict[Node, NodeLabel]) -> None:
    for label in found.values():
        assert NodeLabel.from_json(label.to_json()) == label
    for wrong in ({}, {**label.to_json(), "single": {"terms": []}}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            NodeLabel.from_json(wrong)


def test_evidence_holds_labels_and_older_evidence_has_none(
    circuit: Circuit, found: dict[Node, NodeLabel], tmp_path: Path
) -> None:
    path = tmp_path / "quote.evidence.json"
    Evidence(circuit.model_hash, {}, (), found).save(path)
    assert Evidence.load(path).labels == found
    plain = json.loads(path.read_text())
    assert plain["version"] == 4
    path.write_text(json.dumps({**plain, "version": 3, "predicates": None}))
    assert Evidence.load(path).labels == found
    for older in (1, 2):
        path.write_text(json.dumps({**plain, "version": older, "labels": None}))
        assert Evidence.load(path) == Evidence(circuit.model_hash, {})
    name = next(iter(plain["labels"]))
    wrongs: list[Any] = [None, {"neuron": {}}, {name: {**plain["labels"][name], "share": 1}}]
    for wrong in wrongs:
        path.write_text(json.dumps({**plain, "labels": wrong}))
        with pytest.raises(WireworkError, match="evidence-foreign"):
            Evidence.load(path)
    shown = show_evidence(circuit, plain)["nodes"]
    assert {name for name, node in shown.items() if node["label"]} == set(plain["labels"])


def test_shares_that_cannot_be_measured_say_why(planted: Planted, circuit: Circuit) -> None:
    features = quote_features()
    labels = labelled(planted, features)
    node = planted.parts["neuron"]
    without = label_nodes(circuit, planted.checkpoint, labels, nodes=[node], seed=1)
    assert without[node].explained
    assert without[node].share.reason == "nobody said which features label the prompts"

    tied = replace(circuit, ablation="resample", runs_alone=False)
    alone = label_nodes(tied, planted.checkpoint, labels, features=features, nodes=[node], seed=1)
    assert alone[node].share.reason == "the circuit cannot run alone"
    assert alone[node].share.value is None


def test_wrong_input_is_refused(planted: Planted, circuit: Circuit) -> None:
    labels = labelled(planted, quote_features())
    foreign = LabelledTokens(**{**vars(labels), "tokenizer": "0" * 64})
    for given, least, code in (
        (foreign, 50, "labels-tokenizer-mismatch"),
        (labels, 10**6, "scan-without-features"),
    ):
        with pytest.raises(WireworkError) as caught:
            label_nodes(circuit, planted.checkpoint, given, seed=0, least=least)
        assert caught.value.code == code
    with pytest.raises(WireworkError, match="feature-unknown"):
        label_nodes(circuit, planted.checkpoint, labels, seed=0, features=quote_features("is_word"))
    idle = Node(planted.parts["neuron"].site, planted.parts["neuron"].index - 1)
    with pytest.raises(WireworkError, match="node-unknown"):
        label_nodes(circuit, planted.checkpoint, labels, seed=0, nodes=[idle])
    with pytest.raises(WireworkError, match="circuit-model-mismatch"):
        label_nodes(circuit, close_quote(seed=1).checkpoint, labels, seed=0)


def test_some_channels_of_a_source(planted: Planted) -> None:
    whole = WireworkSource(planted.checkpoint)
    source = ChannelSource(whole, {"1.attn.in": [4, 0], "0.mlp.neuron": [14]})
    assert source.sites() == ("0.mlp.neuron", "1.attn.in")
    assert [source.width(site) for site in source.sites()] == [1, 2]
    tokens = np.array([planted.checkpoint.tokenizer.encode(planted.task.fit[0].prompt)])
    found = source.run(tokens, source.sites())
    expected = whole.run(tokens, source.sites())
    assert np.array_equal(found["1.attn.in"], expected["1.attn.in"][..., [4, 0]])
    assert np.array_equal(found["0.mlp.neuron"], expected["0.mlp.neuron"][..., [14]])
    assert source.hash() != ChannelSource(whole, {"1.attn.in": [0, 4]}).hash()
    for wrong in ({"9.attn.in": [0]}, {"1.mlp.in": [0]}):
        with pytest.raises(WireworkError, match="site-absent"):
            ChannelSource(source, wrong)


@pytest.mark.long
def test_a_node_of_a_trained_model_is_named() -> None:
    """`0.attn.v:79` of this model goes down where a bracket and a string open in one token."""
    checkpoint = ww.load("reference/v1-sparse-small")
    # Every node is kept: the circuit is the model.
    whole = Planted(
        checkpoint=checkpoint, task=ww.task("python/single_double_quote"),
        ablation=MEAN_PRETRAINING, reference="", active=(), parts={}, edges=frozenset(),
    )  # fmt: skip
    circuit = circuit_of(whole, all_nodes(whole))
    features = joined_features(python_features(), character_features())
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = {file.name: file.read_text() for file in files if file.stat().st_size < 8000}
    few = dict(list(texts.items())[:24])
    labels = label_tokens(few, checkpoint.tokenizer, features)
    node = Node.parse("0.attn.v:79")
    label = label_nodes(circuit, checkpoint, labels, nodes=[node], seed=0, least=20)[node]
    assert label.best is not None
    assert label.best_control is not None
    assert str(label.best) == "has_single_quote and has_open_paren"
    assert label.best.direction == "off"
    assert label.best.f1 > 0.9
    assert label.best_control.mcc < 0.2
    assert label.share.unlabelled == 0
    assert label.share.value is not None
    assert label.share.control is not None
    assert label.share.value > 0.5 > label.share.control
