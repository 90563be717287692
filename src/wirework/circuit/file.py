"""The `.circuit` file, version 3: a header and a network in one checked safetensors file.

`docs/circuit-format.md` is the format's own page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wirework.core import Config, Site, WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.engine import Layer, Network, SiteGate, SparseMatrix, check_network

FORMAT = "wirework-circuit"
VERSION = 3
"""Version 1 had no `norm`, `residual`, `position_in_topk` and no biases of norms; version 2 had no
`gates_before`."""

_NETWORK_MATRICES = ("embedding", "unembedding")
_NETWORK_ARRAYS = (
    "positions", "final_gain", "final_norm_bias", "unembedding_bias", "bigram", "outputs",
)  # fmt: skip
_LAYER_MATRICES = ("q", "k", "v", "attn_out", "mlp_in", "mlp_out")
_LAYER_ARRAYS = (
    "attn_gain", "q_bias", "k_bias", "v_bias", "sink", "attn_out_bias", "head_constant",
    "mlp_gain", "mlp_in_bias", "mlp_out_bias", "position_gain_attn", "position_gain_mlp",
    "attn_norm_bias", "mlp_norm_bias", "position_norm_bias_attn", "position_norm_bias_mlp",
)  # fmt: skip
# What a file that was made to mislead brings out of the readers beneath.
_MISLED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_MATRIX_PARTS = ("indptr", "indices", "values")

_Arrays = dict[str, NDArray[Any]]


class CalibrationHeader(Config):
    scale: float = Field(gt=0, allow_inf_nan=False)
    shift: float = Field(allow_inf_nan=False)


class NetworkHeader(Config):
    """What of a network is no array; every width that an array shows is left to the array."""

    n_head: int = Field(ge=1, le=1 << 20)
    d_head: int = Field(ge=1, le=1 << 20)
    n_layer: int = Field(ge=0, le=1 << 16)
    activation: Literal["gelu", "relu"]
    norm: Literal["rms", "layer"]
    residual: Literal["identity", "relu"]
    position: Literal["none", "add", "concat"]
    position_in_topk: bool
    eps: float = Field(gt=0, allow_inf_nan=False)
    topk: dict[str, int]
    gates: tuple[str, ...]
    gates_before: tuple[str, ...]


class CircuitHeader(Config):
    """Everything of a circuit but its arrays, as plain JSON."""

    nodes: dict[str, tuple[int, ...]]
    network: NetworkHeader
    tokenizer: str
    task: dict[str, Any]
    prompt_tokens: tuple[int, ...]
    calibration: CalibrationHeader
    ablation: str
    runs_alone: bool
    model_hash: str
    model_step: int = Field(ge=0)
    losses: dict[str, float]
    recipe: dict[str, Any]
    provenance: dict[str, Any]


def describe(network: Network) -> NetworkHeader:
    """The header of a network."""
    return NetworkHeader(
        n_head=network.n_head,
        d_head=network.d_head,
        n_layer=len(network.layers),
        activation=network.activation,
        norm=network.norm,
        residual=network.residual,
        position=network.position,
        position_in_topk=network.position_in_topk,
        eps=network.eps,
        topk=dict(network.topk),
        gates=tuple(str(site) for site in sorted(network.gates)),
        gates_before=tuple(
            str(site) for site, gate in sorted(network.gates.items()) if gate.before
        ),
    )


def write_circuit(path: Path, header: CircuitHeader, network: Network) -> None:
    """Write atomically; equal circuits give equal bytes. Raises `circuit-not-finite`."""
    value = {"format": FORMAT, "version": VERSION, **header.plain()}
    try:
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise WireworkError(
            "circuit-not-finite", "a circuit holds numbers that no JSON file can", got=str(error)
        ) from None
    save_arrays(path, dict(_flatten(network)), value)


def read_circuit(path: Path) -> tuple[CircuitHeader, Network]:
    """Inverse of `write_circuit`, trusting nothing.

    Raises `file-missing`, `file-unreadable`, `circuit-foreign`, `circuit-version`,
    `circuit-damaged`.
    """
    if not path.is_file():
        raise WireworkError(
            "file-missing", f"there is no file {path}", expected="a .circuit file", got=str(path)
        )
    _check_envelope(path)
    try:
        arrays, value = load_arrays(path)
        header = _parse_header(path, value)
        network = _assemble(header.network, arrays)
        check_network(network)
    except WireworkError as error:
        if error.code.startswith("circuit-"):
            raise
        raise _damaged(path, f"{error.message}: {error.got}") from None
    except _MISLED as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    return header, network


def _damaged(path: Path, got: str) -> WireworkError:
    return WireworkError(
        "circuit-damaged",
        f"{path} is truncated or edited",
        expected="the circuit file as it was written",
        got=got[:300],
        hint="copy it again from its source, or run `wirework discover` again",
    )


def _foreign(path: Path, got: str) -> WireworkError:
    return WireworkError(
        "circuit-foreign", f"{path} is not a circuit file",
        expected="a file written by `wirework discover`", got=got,
    )  # fmt: skip


def _check_envelope(path: Path) -> None:
    """Tell foreign files from damaged ones, and see the bytes that the checksum does not cover."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if file.read(2) != b'{"':
                raise _foreign(path, "a file of another kind")
            if not 2 <= length <= path.stat().st_size - 8:
                raise _damaged(path, "a file shorter than its header says")
            text = file.read(length - 2)
    except OSError as error:
        raise WireworkError(
            "file-unreadable", f"{path} cannot be read", expected="a readable file", got=str(error)
        ) from None
    if b'"wirework"' not in text:
        raise _foreign(path, "a safetensors file of another program")
    # The header is filled up with spaces; other white space there would pass unnoticed.
    if not text.rstrip(b" ").endswith(b"}"):
        raise _damaged(path, "a header that does not end")


def _parse_header(path: Path, value: Any) -> CircuitHeader:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise _foreign(path, "another file of wirework")
    if value.get("version") not in (1, 2, VERSION):
        raise WireworkError(
            "circuit-version",
            f"{path} is of a version that this wirework cannot read",
            expected=f"version 1 to {VERSION}",
            got=f"version {value.get('version')!r}"[:80],
            hint="install the wirework that wrote it, or a newer one",
        )
    json.dumps(value, allow_nan=False)
    rest = {key: item for key, item in value.items() if key not in ("format", "version")}
    for version in range(value["version"], VERSION):
        rest["network"] = _upgraded(path, version, rest.get("network"))
    return CircuitHeader.parse(rest, str(path))


_NEW: dict[int, dict[str, Any]] = {
    1: {"norm": "rms", "residual": "identity", "position_in_topk": False},
    2: {"gates_before": ()},
}
"""Version -> what the part `network` of a header lacks there, and means without it."""


def _upgraded(path: Path, version: int, network: Any) -> dict[str, Any]:
    """The part `network` of a header of a version, as the next one would say it."""
    new = _NEW[version]
    if not isinstance(network, dict) or network.keys() & new:
        raise _damaged(path, f"a network that version {version} does not know")
    return {**network, **new}


def _flatten(network: Network) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from _members("", network, _NETWORK_MATRICES, _NETWORK_ARRAYS)
    for index, layer in enumerate(network.layers):
        yield from _members(f"layers.{index}.", layer, _LAYER_MATRICES, _LAYER_ARRAYS)
    for site, gate in network.gates.items():
        yield f"gates.{site}.keep", gate.keep
        yield f"gates.{site}.constant", gate.constant


def _members(
    prefix: str, owner: Network | Layer, matrices: tuple[str, ...], arrays: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[Any]]]:
    for name in matrices:
        matrix: SparseMatrix = getattr(owner, name)
        yield f"{prefix}{name}.shape", np.asarray(matrix.shape, dtype=np.int64)
        for part in _MATRIX_PARTS:
            yield f"{prefix}{name}.{part}", getattr(matrix, part)
    for name in arrays:
        array = getattr(owner, name)
        if array is not None:
            yield f"{prefix}{name}", array


def _assemble(header: NetworkHeader, arrays: _Arrays) -> Network:
    rest = dict(arrays)
    layers = tuple(
        Layer(**_take(f"layers.{index}.", rest, _LAYER_MATRICES, _LAYER_ARRAYS))
        for index in range(header.n_layer)
    )
    gates = {}
    for name in header.gates:
        keep, constant = rest.pop(f"gates.{name}.keep"), rest.pop(f"gates.{name}.constant")
        gates[Site.parse(name)] = SiteGate(keep, constant, name in header.gates_before)
    if len(set(header.gates_before) & set(header.gates)) != len(header.gates_before):
        raise ValueError("a gate before AbsTopK that is no gate, or is named twice")
    parts = _take("", rest, _NETWORK_MATRICES, _NETWORK_ARRAYS)
    if rest:
        raise ValueError(f"arrays that no part asks for, such as {min(rest)}")
    return Network(
        n_head=header.n_head,
        d_head=header.d_head,
        activation=header.activation,
        norm=header.norm,
        residual=header.residual,
        position=header.position,
        position_in_topk=header.position_in_topk,
        eps=header.eps,
        topk=header.topk,
        layers=layers,
        gates=gates,
        **parts,
    )


def _take(
    prefix: str, rest: _Arrays, matrices: tuple[str, ...], arrays: tuple[str, ...]
) -> Mapping[str, Any]:
    taken: dict[str, Any] = {}
    for name in matrices:
        shape = rest.pop(f"{prefix}{name}.shape")
        if shape.dtype != np.int64 or shape.shape != (2,):
            raise ValueError(f"{prefix}{name} has no shape")
        parts = [rest.pop(f"{prefix}{name}.{part}") for part in _MATRIX_PARTS]
        taken[name] = SparseMatrix((int(shape[0]), int(shape[1])), *parts)
    for name in arrays:
        if f"{prefix}{name}" in rest:
            taken[name] = rest.pop(f"{prefix}{name}")
    return taken
