"""Circuit files: they come back whole, and a file that lies is told, never believed."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from circuits import RICH, small_circuit
from networks import PLACES, Switches, switches
from wirework.circuit import Calibration, Circuit
from wirework.core import Site, WireworkError
from wirework.core.arrays import load_arrays, save_arrays

GOLDEN = Path(__file__).parent / "data" / "circuit-v1.circuit"
TOKENS = np.array([[0, 3, 8, 1], [5, 5, 2, 7]])
Arrays = dict[str, NDArray[Any]]
OFTEN = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def error_of(path: Path) -> str:
    with pytest.raises(WireworkError) as caught:
        Circuit.load(path)
    return caught.value.code


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
        "version": 1,
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


@OFTEN
@given(st.data())
def test_an_edited_byte_anywhere_is_told(tmp_path: Path, data: st.DataObject) -> None:
    good = bytearray(GOLDEN.read_bytes())
    # Half of the edits hit the header, most of which would otherwise go into the arrays.
    end = data.draw(st.sampled_from([len(good), 8 + int.from_bytes(good[:8], "little"), 9]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, end - 1))
        good[place] ^= data.draw(st.integers(1, 255))
    if bytes(good) != GOLDEN.read_bytes():
        path = tmp_path / "edited.circuit"
        path.write_bytes(bytes(good))
        assert error_of(path) in ("circuit-damaged", "circuit-foreign", "circuit-version")


def test_edited_filling_between_header_and_arrays_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.circuit"
    for length in range(8):
        small_circuit(tokenizer="x" * length).save(path)
        data = bytearray(path.read_bytes())
        end = 8 + int.from_bytes(data[:8], "little")
        if data[end - 1] == ord(" "):
            data[end - 1] = ord("\n")
            path.write_bytes(bytes(data))
            assert error_of(path) == "circuit-damaged"
            return
    pytest.fail("no header had a filling")


@OFTEN
@given(st.integers(0, 10**6), st.binary(max_size=40))
def test_a_cut_or_lengthened_file_is_told(tmp_path: Path, length: int, more: bytes) -> None:
    good = GOLDEN.read_bytes()
    path = tmp_path / "cut.circuit"
    path.write_bytes(good[: length % len(good)])
    assert error_of(path) in ("circuit-damaged", "circuit-foreign")
    if more:
        path.write_bytes(good + more)
        assert error_of(path) == "circuit-damaged"


@OFTEN
@given(st.binary(max_size=200))
def test_noise_is_foreign(tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "noise.circuit"
    path.write_bytes(noise)
    assert error_of(path) == "circuit-foreign"


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    assert error_of(tmp_path / "nothing.circuit") == "file-missing"
    assert error_of(tmp_path) == "file-missing"
    path = tmp_path / "x.circuit"
    path.write_bytes(save_safetensors({"a": np.ones(3)}))
    assert error_of(path) == "circuit-foreign"
    path.write_bytes(save_safetensors({"a": np.ones(3)}, {"format": "pt"}))
    assert error_of(path) == "circuit-foreign"
    save_arrays(path, {"a": np.ones(3)}, {"format": "something else"})
    assert error_of(path) == "circuit-foreign"
    save_arrays(path, {"a": np.ones(3)}, ["wirework-circuit"])
    assert error_of(path) == "circuit-foreign"
    path.write_bytes((2**63).to_bytes(8, "little") + b'{"__metadata__":{"wirework":"')
    assert error_of(path) == "circuit-damaged"


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    arrays, header = load_arrays(GOLDEN)
    for version in (2, 0, "1", None, [1]):
        save_arrays(tmp_path / "x", arrays, {**header, "version": version})
        assert error_of(tmp_path / "x") == "circuit-version"


def changed(name: str, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Callable[[Arrays], None]:
    def apply(arrays: Arrays) -> None:
        arrays[name] = change(arrays[name])

    return apply


def at(place: int, value: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    def put(array: NDArray[Any]) -> NDArray[Any]:
        array = array.copy()
        array[place] = value
        return array

    return put


@pytest.mark.parametrize(
    "lie",
    [
        changed("embedding.indices", at(0, -1)),
        changed("embedding.indices", at(0, 10**6)),
        changed("embedding.indptr", at(1, 10**12)),
        changed("embedding.indptr", at(-1, 0)),
        changed("embedding.indptr", lambda a: a[:-1]),
        changed("embedding.indptr", lambda a: a.reshape(1, -1)),
        changed("embedding.values", at(0, np.nan)),
        changed("embedding.values", at(0, 0)),
        changed("embedding.values", lambda a: a.astype(np.int64)),
        changed("embedding.shape", at(1, 2**62)),
        changed("embedding.shape", at(0, -9)),
        changed("embedding.shape", lambda a: a[:1]),
        changed("embedding.shape", lambda a: a.astype(np.float64)),
        changed("layers.0.q.shape", at(1, 3)),
        changed("layers.0.mlp_in.values", at(-1, np.inf)),
        changed("layers.0.attn_gain", lambda a: a[:-1]),
        changed("layers.0.attn_gain", lambda a: a.astype(np.float16)),
        changed("layers.0.sink", lambda a: np.concatenate([a, a])),
        changed("layers.0.head_constant", lambda a: a.T),
        changed("positions", lambda a: a[0]),
        changed("positions", lambda a: a[:0]),
        changed("bigram", lambda a: a.T),
        changed("final_gain", at(0, np.nan)),
        changed("outputs", at(0, -1)),
        changed("outputs", at(0, 9)),
        changed("outputs", lambda a: a[[0, 0, 1]]),
        changed("outputs", lambda a: a.astype(np.int32)),
        changed("outputs", lambda a: a[:0]),
        changed("gates.final.keep", lambda a: ~a),
        changed("gates.final.keep", lambda a: a.astype(np.int64)),
        changed("gates.final.constant", at(0, np.nan)),
        changed("gates.final.constant", lambda a: a[:3]),
        changed("gates.final.constant", lambda a: a.astype(np.float32)),
        lambda arrays: arrays.pop("layers.0.v.values"),
        lambda arrays: arrays.pop("layers.0.position_gain_mlp"),
        lambda arrays: arrays.pop("gates.final.keep"),
        lambda arrays: arrays.pop("outputs"),
        lambda arrays: arrays.update({"more": np.ones(1)}),
        lambda arrays: arrays.clear(),
    ],
)
def test_arrays_that_do_not_fit_are_told(tmp_path: Path, lie: Callable[[Arrays], None]) -> None:
    """With a right checksum: whoever edits a file can also mend that."""
    arrays, header = load_arrays(GOLDEN)
    lie(arrays)
    save_arrays(tmp_path / "x", arrays, header)
    assert error_of(tmp_path / "x") == "circuit-damaged"


HUGE = 10**400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("network", "n_head"), 0),
        (("network", "n_head"), HUGE),
        (("network", "n_head"), 5),
        (("network", "n_head"), True),
        (("network", "d_head"), 3),
        (("network", "n_layer"), 2),
        (("network", "n_layer"), 0),
        (("network", "n_layer"), 60000),
        (("network", "n_layer"), -1),
        (("network", "activation"), "swish"),
        (("network", "position"), "add"),
        (("network", "position"), "none"),
        (("network", "eps"), 0),
        (("network", "eps"), float("nan")),
        (("network", "topk"), {"final": 3}),
        (("network", "topk"), {"mlp.in": 0}),
        (("network", "topk"), {"mlp.in": -2}),
        (("network", "topk"), {"mlp.in": 2.5}),
        (("network", "gates"), ["0.mlp.inn"]),
        (("network", "gates"), ["9.mlp.in"]),
        (("network", "gates"), []),
        (("network", "gates"), ["final", "final"]),
        (("network", "more"), 1),
        (("network",), None),
        (("nodes",), {}),
        (("nodes",), {"final": [-1]}),
        (("nodes",), {"nowhere": [1]}),
        (("nodes",), [1]),
        (("nodes", "final"), [HUGE]),
        (("nodes", "final"), ["1"]),
        (("prompt_tokens",), [HUGE]),
        (("prompt_tokens",), [-1]),
        (("prompt_tokens",), [[1]]),
        (("calibration", "scale"), -1.0),
        (("calibration", "scale"), float("inf")),
        (("calibration", "shift"), float("nan")),
        (("losses", "task_loss"), float("nan")),
        (("losses", "task_loss"), "low"),
        (("recipe", "deep"), float("inf")),
        (("task",), [1]),
        (("tokenizer",), 7),
        (("tokenizer",), "\ud800"),
        (("model_hash",), None),
        (("model_step",), -1),
        (("runs_alone",), "yes"),
    ],
)
def test_headers_that_lie_are_told(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    arrays, header = load_arrays(GOLDEN)
    inner = header
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    save_arrays(tmp_path / "x", arrays, header)
    assert error_of(tmp_path / "x") == "circuit-damaged"


def test_every_key_of_the_header_is_needed(tmp_path: Path) -> None:
    arrays, header = load_arrays(GOLDEN)
    for key in header:
        less = {name: value for name, value in header.items() if name != key}
        save_arrays(tmp_path / "x", arrays, less)
        code = {"format": "circuit-foreign", "version": "circuit-version"}.get(
            key, "circuit-damaged"
        )
        assert error_of(tmp_path / "x") == code, key


@pytest.mark.parametrize(
    "metadata",
    [
        "not json",
        "[" * 100_000,
        "7",
        "[]",
        '"text"',
        "{}",
        '{"header": 7, "sha256": 7}',
        '{"header": "{}"}',
        '{"header": "\\ud800", "sha256": ""}',
        json.dumps({"header": "1" * 5000, "sha256": "0" * 64}),
    ],
)
def test_metadata_made_to_mislead_is_told(tmp_path: Path, metadata: str) -> None:
    (tmp_path / "x").write_bytes(save_safetensors({"a": np.ones(1)}, {"wirework": metadata}))
    assert error_of(tmp_path / "x") == "circuit-damaged"


@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_a_header_nested_too_deep_is_told(tmp_path: Path, depth: int) -> None:
    arrays, header = load_arrays(GOLDEN)
    text = json.dumps({**header, "recipe": {"deep": "HERE"}})
    text = text.replace('"HERE"', "[" * depth + "]" * depth)
    # The checksum as docs/circuit-format.md gives it.
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name}|{arrays[name].dtype}|{arrays[name].shape}|".encode())
        digest.update(arrays[name].tobytes())
    metadata = {"wirework": json.dumps({"header": text, "sha256": digest.hexdigest()})}
    (tmp_path / "x").write_bytes(save_safetensors(arrays, metadata))
    assert error_of(tmp_path / "x") == "circuit-damaged"


def test_types_of_numbers_that_numpy_lacks_are_told(tmp_path: Path) -> None:
    for kind in ("BF16", "F8_E4M3", "X9"):
        size = 1 if kind == "F8_E4M3" else 2
        text = json.dumps(
            {
                "__metadata__": {"wirework": json.dumps({"header": "{}", "sha256": ""})},
                "a": {"dtype": kind, "shape": [1], "data_offsets": [0, size]},
            },
            separators=(",", ":"),
        ).encode()
        data = len(text).to_bytes(8, "little") + text + b"\0" * size
        (tmp_path / "x").write_bytes(data)
        assert error_of(tmp_path / "x") == "circuit-damaged"


def test_a_smaller_model_gives_a_smaller_file(tmp_path: Path) -> None:
    small_circuit().save(tmp_path / "two")
    small_circuit(replace(RICH, n_layer=1, topk=PLACES)).save(tmp_path / "one")
    assert (tmp_path / "one").stat().st_size < (tmp_path / "two").stat().st_size < 60_000
