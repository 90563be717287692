"""Circuit files come back whole, whoever wrote them and whenever."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from safetensors.numpy import load as load_safetensors

from circuits import RICH, small_circuit
from networks import PLACES, Switches, switches
from wirework.circuit import Calibration, Circuit
from wirework.core import Site, WireworkError
from wirework.core.arrays import load_arrays, save_arrays

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "circuit-v1.circuit"
TOKENS = np.array([[0, 3, 8, 1], [5, 5, 2, 7]])


def assert_same(found: Circuit, wanted: Circuit) -> None:
    assert found.info() == wanted.info()
    assert found.edges() == wanted.edges()
    for name in ("nodes", "tokenizer", "task", "prompt_tokens", "calibration", "losses"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert (found.recipe, found.provenance) == (wanted.recipe, wanted.provenance)
    for dtype in (np.float32, np.float64):
        ours, theirs = found.trace(TOKENS, dtype), wanted.trace(TOKENS, dtype)
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        for site, value in theirs.sites.items():
            np.testing.assert_array_equal(ours.sites[site], value)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(switches())
def test_a_circuit_comes_back_as_it_was(tmp_path: Path, want: Switches) -> None:
    circuit = small_circuit(want)
    circuit.save(tmp_path / "a.circuit")
    found = Circuit.load(tmp_path / "a.circuit")
    assert_same(found, circuit)
    found.save(tmp_path / "b.circuit")
    assert (tmp_path / "a.circuit").read_bytes() == (tmp_path / "b.circuit").read_bytes()


def test_equal_circuits_give_equal_bytes_in_another_process(tmp_path: Path) -> None:
    program = "import sys; from circuits import *; small_circuit().save(sys.argv[1])"
    for name, seed in (("a", "1"), ("b", "2")):
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / name)],
            check=True,
            cwd=Path(__file__).parent,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_of_version_1_is_read_as_ever() -> None:
    """The file was written once, by version 1, and is never written again."""
    circuit = Circuit.load(GOLDEN)
    info = circuit.info()
    assert info.pop("model_hash") == "c0ffee" * 10
    assert info == {
        "version": 3,  # as it would be saved now
        "task": "test/copy",
        "nodes": 53,
        "edges": 69,
        "embedding_edges": 16,
        "unembedding_edges": 5,
        "position_edges": 17,
        "shadow_weights": 31,
        "answers": [7, 2, 4],
        "runs_alone": True,
        "ablation": "mean-pretraining",
        "calibration": {"scale": 1.5, "shift": -0.25},
        "model_step": 400,
        "task_loss": 0.125,
        "task_loss_raw": 0.5,
        "task_accuracy": 0.96875,
    }
    assert circuit.task["fit"] == [{"prompt": "a “b”", "answer": "c"}]
    assert circuit.nodes[Site(0, "mlp.in")] == (1, 4)
    logits = circuit.logits(TOKENS, np.float64)[0, 3]
    wanted = [0.2276054295077674, 0.6686603373234203, 0.9408983197915299]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-9)


def test_the_file_of_version_2_is_read_as_ever() -> None:
    """With LayerNorm, biases of norms and a rectified residual."""
    circuit = Circuit.load(DATA / "circuit-v2.circuit")
    network = circuit.network
    assert (network.norm, network.residual, network.eps) == ("layer", "relu", 1e-5)
    assert network.layers[1].position_norm_bias_mlp is not None
    logits = circuit.logits(TOKENS, np.float64)[0, 3]
    wanted = [1.3794794635721566, 1.1094635303191698, -0.08260877102017111]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-9)


def test_the_file_of_version_3_is_read_as_ever() -> None:
    """With gates before AbsTopK and edges that were cut."""
    circuit = Circuit.load(DATA / "circuit-v3.circuit")
    gates = circuit.network.gates
    assert {gate.before for gate in gates.values()} == {True, False}
    assert gates[Site(0, "mlp.neuron")].before
    assert (circuit.n_edges, circuit.shadow_weights) == (91, 78)
    logits = circuit.logits(TOKENS, np.float64)[0, 3]
    wanted = [1.730799759755687, 0.23930711077974232, -0.7903670102711438]
    np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("version", [2, 3])
def test_a_version_knows_no_part_of_the_next(tmp_path: Path, version: int) -> None:
    arrays, header = load_arrays(DATA / f"circuit-v{version}.circuit")
    save_arrays(tmp_path / "a.circuit", arrays, {**header, "version": version - 1})
    with pytest.raises(WireworkError) as caught:
        Circuit.load(tmp_path / "a.circuit")
    assert caught.value.code == "circuit-damaged"


def test_gates_before_abstopk_come_back(tmp_path: Path) -> None:
    network = small_circuit().network
    gates = {site: replace(gate, before=True) for site, gate in network.gates.items()}
    small_circuit(network=replace(network, gates=gates)).save(tmp_path / "a.circuit")
    assert all(g.before for g in Circuit.load(tmp_path / "a.circuit").network.gates.values())


def test_any_safetensors_reader_can_read_it() -> None:
    arrays = load_safetensors(GOLDEN.read_bytes())
    circuit = Circuit.load(GOLDEN)
    np.testing.assert_array_equal(
        arrays["layers.0.mlp_in.values"], circuit.network.layers[0].mlp_in.values
    )
    np.testing.assert_array_equal(arrays["outputs"], circuit.network.answers)


def test_information_is_plain_and_has_the_agreed_names() -> None:
    circuit = small_circuit()
    info = circuit.info()
    assert json.loads(json.dumps(info)) == info
    for name in (
        "nodes", "edges", "embedding_edges", "unembedding_edges", "shadow_weights", "runs_alone",
        "task", "task_loss", "task_loss_raw", "task_accuracy", "model_hash",
    ):  # fmt: skip
        assert name in info
    assert info["edges"] == circuit.n_edges == len(circuit.edges())
    assert info["nodes"] == circuit.n_nodes == sum(map(len, circuit.nodes.values()))
    text = str(circuit)
    for shown in (str(circuit.n_nodes), str(circuit.n_edges), "0.1250", "c0ffee", "test/copy"):
        assert shown in text


def test_a_circuit_that_needs_its_model_does_not_run_alone(tmp_path: Path) -> None:
    small_circuit(runs_alone=False, ablation="resample").save(tmp_path / "a.circuit")
    circuit = Circuit.load(tmp_path / "a.circuit")
    with pytest.raises(WireworkError) as caught:
        circuit.logits(TOKENS)
    assert caught.value.code == "circuit-needs-model"


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": {}},
        {"nodes": {Site(5, "mlp.in"): (0,)}},
        {"prompt_tokens": (0, 99)},
        {"prompt_tokens": (-1, 3)},
        {"prompt_tokens": (3, 0)},
    ],
)
def test_a_circuit_cannot_contradict_itself(change: dict[str, Any]) -> None:
    with pytest.raises(WireworkError) as caught:
        small_circuit(**change)
    assert caught.value.code == "circuit-inconsistent"


@pytest.mark.parametrize(
    ("scale", "shift"), [(-1.0, 0.0), (0.0, 0.0), (np.inf, 0.0), (1.0, np.nan)]
)
def test_a_calibration_has_a_positive_scale(scale: float, shift: float) -> None:
    with pytest.raises(WireworkError) as caught:
        Calibration(scale, shift)
    assert caught.value.code == "calibration-not-positive"


def test_numbers_that_json_lacks_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as caught:
        small_circuit(losses={"task_loss": float("nan")}).save(tmp_path / "a.circuit")
    assert caught.value.code == "circuit-not-finite"
    assert not list(tmp_path.iterdir())


def test_a_smaller_model_gives_a_smaller_file(tmp_path: Path) -> None:
    small_circuit().save(tmp_path / "two")
    small_circuit(replace(RICH, n_layer=1, topk=PLACES)).save(tmp_path / "one")
    assert (tmp_path / "one").stat().st_size < (tmp_path / "two").stat().st_size < 60_000
