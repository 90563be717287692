"""Evidence: the strongest places, random places, the effect of every node."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from planted_circuits import circuit_of
from wirework.ablation import PromptTensors, all_margins, keep_of, keep_taps
from wirework.circuit import Circuit
from wirework.core import Node, WireworkError
from wirework.explain import Evidence, evidence_path, node_effects, top_examples
from wirework.model import Taps
from wirework.planted import Planted, close_quote, quote_with_decoys


@pytest.fixture(scope="module")
def planted() -> Planted:
    return close_quote()


@pytest.fixture(scope="module")
def circuit(planted: Planted) -> Circuit:
    return circuit_of(planted, planted.active)


@pytest.fixture(scope="module")
def windows(planted: Planted) -> NDArray[np.int64]:
    """Running text cut into windows of 30 tokens."""
    pairs = (*planted.task.fit, *planted.task.select, *planted.task.report)
    texts = planted.checkpoint.tokenizer.encode_many([f"{pair.prompt}\n" for pair in pairs])
    stream = [token for text in texts for token in text]
    return np.array(stream[: len(stream) // 30 * 30]).reshape(-1, 30)


@pytest.fixture(scope="module")
def evidence(planted: Planted, circuit: Circuit, windows: NDArray[np.int64]) -> Evidence:
    return top_examples(circuit, planted.checkpoint, windows, top=5, random=3, seed=1, span=10)


@pytest.fixture(scope="module")
def values(planted: Planted, windows: NDArray[np.int64]) -> dict[Node, NDArray[np.float32]]:
    """Activation of every active node in the whole model, (windows, positions)."""
    taps = Taps(record={node.site for node in planted.active})
    with torch.no_grad():
        planted.checkpoint.model.read_out(torch.from_numpy(windows), taps)
    return {node: taps.values[node.site][..., node.index].numpy() for node in planted.active}


def test_top_examples_are_the_largest_magnitudes_of_different_windows(
    planted: Planted, evidence: Evidence, values: dict[Node, NDArray[np.float32]]
) -> None:
    assert set(evidence.nodes) == set(planted.active)
    for node, found in evidence.nodes.items():
        shown = [abs(example.values[example.position]) for example in found.top]
        best = np.sort(np.abs(values[node]).max(axis=1))[::-1][:5]
        assert shown == pytest.approx(best[best > 0].tolist(), rel=1e-4)
        assert shown == sorted(shown, reverse=True)


def test_examples_show_the_text_and_the_values_around_the_place(
    planted: Planted,
    evidence: Evidence,
    windows: NDArray[np.int64],
    values: dict[Node, NDArray[np.float32]],
) -> None:
    tokenizer = planted.checkpoint.tokenizer
    texts = [[tokenizer.token_text(int(token)) for token in row] for row in windows]
    for node, found in evidence.nodes.items():
        for example in (*found.top, *found.random):
            assert len(example.tokens) == len(example.values) == 10
            assert any(
                list(example.tokens) == text[i : i + 10]
                and np.allclose(example.values, values[node][row, i : i + 10], rtol=1e-4)
                for row, text in enumerate(texts)
                for i in range(21)
            )


def test_random_examples_are_nonzero_and_depend_on_the_seed_alone(
    planted: Planted, circuit: Circuit, windows: NDArray[np.int64], evidence: Evidence
) -> None:
    for found in evidence.nodes.values():
        assert len(found.random) == 3
        assert all(example.values[example.position] != 0 for example in found.random)
    again, other = (
        top_examples(circuit, planted.checkpoint, windows, top=5, random=3, seed=seed, span=10)
        for seed in (1, 2)
    )
    assert again == evidence
    assert all(other.nodes[n].top == evidence.nodes[n].top for n in evidence.nodes)
    assert any(other.nodes[n].random != evidence.nodes[n].random for n in evidence.nodes)


def test_random_examples_are_drawn_evenly_from_nonzero_places(
    planted: Planted, circuit: Circuit, windows: NDArray[np.int64]
) -> None:
    node = planted.parts["read opening"]
    row = windows[0]
    taps = Taps(record=[node.site])
    with torch.no_grad():
        planted.checkpoint.model.read_out(torch.from_numpy(row[None]), taps)
    places = np.flatnonzero(taps.values[node.site][0, :, node.index].numpy()).tolist()
    assert len(places) > 1
    found = top_examples(circuit, planted.checkpoint, np.tile(row, (300, 1)), random=300, span=30)
    drawn = [example.position for example in found.nodes[node].random]
    assert set(drawn) == set(places)
    even = 300 / len(places)
    assert all(0.5 * even < drawn.count(place) < 1.6 * even for place in places)


def test_the_key_fires_on_opening_quotes(planted: Planted, evidence: Evidence) -> None:
    for example in evidence.nodes[planted.parts["key"]].top:
        assert example.tokens[example.position] in (' "', " '")


def test_effects_are_what_cutting_one_node_costs(planted: Planted, circuit: Circuit) -> None:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.report)
    effects = node_effects(circuit, prompts)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}

    def margin(nodes: set[Node]) -> float:
        masks = keep_of({}, widths)
        for node in nodes:
            masks[node.site][node.index] = True
        taps = keep_taps(masks, checkpoint.means)
        return float(all_margins(checkpoint.model, prompts, taps).mean())

    whole = margin(set(planted.active))
    assert set(effects) == set(planted.active)
    for node, effect in effects.items():
        assert effect == pytest.approx(margin(set(planted.active) - {node}) - whole, abs=1e-4)
        assert effect < -1


def test_a_node_that_does_nothing_has_no_effect() -> None:
    decoys = quote_with_decoys()
    idle = decoys.parts["decoy neuron 0"]
    circuit = circuit_of(decoys, {*decoys.active, idle})
    checkpoint = decoys.checkpoint
    encoded = decoys.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    assert node_effects(circuit, PromptTensors.of(encoded.report))[idle] == 0


def test_evidence_is_json_beside_the_circuit(evidence: Evidence, tmp_path: Path) -> None:
    path = evidence_path(tmp_path / "quote.circuit")
    assert path.name == "quote.evidence.json"
    evidence.save(path)
    assert Evidence.load(path) == evidence
    plain = json.loads(path.read_text())
    assert plain == json.loads(json.dumps(evidence.to_json()))
    assert set(plain) == {"version", "model_hash", "nodes", "edges", "labels", "predicates"}
    name, found = next(iter(plain["nodes"].items()))
    assert str(Node.parse(name)) == name
    assert set(found) == {"effect", "top", "random"}
    assert set(found["top"][0]) == {"tokens", "values", "position"}


def test_evidence_of_another_kind_is_refused(evidence: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "x.evidence.json"
    for text, code in (
        ("{", "file-damaged"),
        ("[]", "evidence-foreign"),
        ("{}", "evidence-foreign"),
        ('{"version": 9}', "evidence-version"),
        ('{"version": 1, "model_hash": "x", "nodes": {"0.mlp.neuron": {}}}', "evidence-foreign"),
        ('{"version": 2, "model_hash": "x", "nodes": {}}', "evidence-foreign"),
        (
            '{"version": 2, "model_hash": "x", "nodes": {}, "edges": [{"edge": 1}]}',
            "evidence-foreign",
        ),
        ('{"model_hash": "x", "nodes": {"final:1": {"effect": 1}}}', "evidence-foreign"),
    ):
        path.write_text(text)
        with pytest.raises(WireworkError) as caught:
            Evidence.load(path)
        assert caught.value.code == code
    with pytest.raises(WireworkError) as caught:
        Evidence.load(tmp_path / "absent.json")
    assert caught.value.code == "file-missing"


def test_another_model_is_refused(circuit: Circuit, windows: NDArray[np.int64]) -> None:
    with pytest.raises(WireworkError) as caught:
        top_examples(circuit, close_quote(seed=1).checkpoint, windows)
    assert caught.value.code == "circuit-model-mismatch"


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 8), dtype=np.int64),
        np.zeros(8, dtype=np.int64),
        np.full((2, 8), 10_000),
        np.full((2, 8), -1),
        np.zeros((2, 33), dtype=np.int64),
        np.zeros((2, 8)),
    ],
    ids=["empty", "one row", "unknown token", "negative", "too long", "no integers"],
)
def test_windows_that_the_model_cannot_read_are_refused(
    planted: Planted, circuit: Circuit, wrong: NDArray[np.int64]
) -> None:
    with pytest.raises(WireworkError) as caught:
        top_examples(circuit, planted.checkpoint, wrong)
    assert caught.value.code == "windows-malformed"


def test_short_windows_show_what_there_is(
    planted: Planted, circuit: Circuit, windows: NDArray[np.int64]
) -> None:
    found = top_examples(circuit, planted.checkpoint, windows[:2, :4], span=16)
    assert found.model_hash == planted.checkpoint.hash()
    for node in found.nodes.values():
        assert all(len(example.tokens) == 4 for example in (*node.top, *node.random))
        assert len(node.top) <= 2


def test_a_circuit_that_needs_another_ablation_is_refused(
    planted: Planted, circuit: Circuit, windows: NDArray[np.int64]
) -> None:
    with pytest.raises(WireworkError) as caught:
        top_examples(replace(circuit, ablation="by hand"), planted.checkpoint, windows)
    assert caught.value.code == "ablation-unknown"
