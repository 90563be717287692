"""A circuit file that is cut, edited, foreign or lies is told, never believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save as save_safetensors

from circuits import small_circuit
from wirework.circuit import Circuit
from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays

GOLDEN = Path(__file__).parent / "data" / "circuit-v1.circuit"
Arrays = dict[str, NDArray[Any]]
OFTEN = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


def error_of(path: Path) -> str:
    with pytest.raises(WireworkError) as caught:
        Circuit.load(path)
    return caught.value.code


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
    for version in (4, 0, "1", None, [1]):
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


@pytest.mark.parametrize(
    "value", [["1.mlp.in", "1.mlp.in"], ["9.mlp.in"], ["nowhere"], [7], "final", None, [["final"]]]
)
def test_gates_before_abstopk_that_are_no_gates_are_told(tmp_path: Path, value: Any) -> None:
    arrays, header = load_arrays(GOLDEN.with_name("circuit-v3.circuit"))
    header["network"]["gates_before"] = value
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
