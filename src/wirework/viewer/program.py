"""What a page needs to run the circuit by itself: every number of its network and its tokenizer."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit
from wirework.circuit.file import describe
from wirework.data import Tokenizer
from wirework.data.tokenizer import SPLIT_PATTERN
from wirework.engine import Layer, Network, SparseMatrix

_WHOLE = {1: "u8", 2: "u16", 4: "u32"}


def program(circuit: Circuit, answers: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """The circuit as `createEngine` in engine.js takes it, None where it does not run alone.

    `answers`: name of an answer set -> its token ids; in the program they are columns of the
    logits. `arrays`: one base64 text of the deflated bytes of every array, exactly, and where in
    them each lies (`_Pack`). Network and gates stand there as in the `.circuit` file, matrices as
    the gaps between their nonzeros. A tokenizer that does not split texts as the published one
    has no `merges` there: the page can then run on tokens, not on texts.
    """
    if not circuit.runs_alone:
        return None
    network, pack = circuit.network, _Pack()
    matrices = {}
    for name, part in _parts(network):
        if isinstance(part, SparseMatrix):
            matrices[name] = list(part.shape)
            places = part.row_of * part.shape[1] + part.indices
            pack.add(f"{name}.gaps", np.diff(places, prepend=0))
            pack.add(f"{name}.values", part.values)
        else:
            pack.add(f"network.{name}", part)
    for site, gate in network.gates.items():
        pack.add(f"gate.{site}.keep", gate.keep.astype(np.int64))
        pack.add(f"gate.{site}.constant", gate.constant)
    _add_tokenizer(pack, circuit.tokenizer)
    columns = {int(token): column for column, token in enumerate(network.answers)}
    width = 0 if network.positions is None else network.positions.shape[1]
    header = {**describe(network).plain(), "matrices": matrices, "position_width": width}
    scale = circuit.calibration
    return {
        "network": header,
        "context": network.context,
        "calibration": {"scale": scale.scale, "shift": scale.shift},
        "ablation": circuit.ablation,
        "answers": {name: [columns[token] for token in ids] for name, ids in answers.items()},
        "arrays": {"index": pack.index, "data": pack.text()},
    }


def _parts(network: Network) -> Iterator[tuple[str, SparseMatrix | NDArray[Any]]]:
    """Every matrix and array of a network and of its layers, by its name in the file."""
    owners: list[tuple[str, Network | Layer]] = [("", network)]
    owners += [(f"layers.{index}.", layer) for index, layer in enumerate(network.layers)]
    for prefix, owner in owners:
        for part in fields(owner):
            value = getattr(owner, part.name)
            if isinstance(value, SparseMatrix | np.ndarray):
                yield f"{prefix}{part.name}", value
    if network.outputs is None:
        yield "outputs", network.answers


def _add_tokenizer(pack: _Pack, text: str) -> None:
    tokenizer = Tokenizer.from_json(text)
    pieces = [
        # Special tokens have no bytes of their own; they show their names.
        tokenizer.token_bytes(token) or tokenizer.token_text(token).encode()
        for token in range(tokenizer.vocab_size)
    ]
    pack.add("pieces.sizes", np.array([len(piece) for piece in pieces]))
    pack.add("pieces.bytes", np.frombuffer(b"".join(pieces), dtype=np.uint8))
    plain = json.loads(text)
    if _splits_as_published(plain):
        vocabulary = plain["model"]["vocab"]
        merges = [
            pair.split(" ") if isinstance(pair, str) else pair for pair in plain["model"]["merges"]
        ]
        rows = [(vocabulary[a], vocabulary[b], vocabulary[a + b]) for a, b in merges]
        pack.add("merges", np.array(rows, dtype=np.int64))


def _splits_as_published(plain: Mapping[str, Any]) -> bool:
    """Whether a tokenizer cuts and merges texts as those of `wirework.data` do."""
    model = plain["model"]
    before = plain.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", []) if before.get("type") == "Sequence" else []
    wanted: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated"},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ]
    alike = len(steps) == len(wanted) and all(
        step.get(key) == value
        for step, want in zip(steps, wanted, strict=True)
        for key, value in want.items()
    )
    odd = ("ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")
    plainly = not any(model.get(key) for key in odd) and not plain.get("normalizer")
    # Other added tokens would be found in texts before they are split.
    return alike and plainly and all(token["special"] for token in plain["added_tokens"])


@dataclass
class _Pack:
    """Arrays, one behind the other. `index`: name -> [kind, how many numbers, where they begin].

    Kinds: `u8`, `u16`, `u32` for whole numbers, `bf16` (the upper half of float32), `f32`, `f64`
    for others: the smallest that holds an array exactly. Of every array the first bytes of all
    numbers come first, then the second ones, little end first: that compresses better.
    """

    index: dict[str, list[Any]] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, array: NDArray[Any]) -> None:
        kind, numbers = _smallest(array.reshape(-1))
        planes = numbers.astype(numbers.dtype.newbyteorder("<")).view(np.uint8)
        chunk = planes.reshape(len(numbers), numbers.itemsize).T.tobytes()
        self.index[name] = [kind, len(numbers), self.size]
        self.chunks.append(chunk)
        self.size += len(chunk)

    def text(self) -> str:
        return base64.b64encode(zlib.compress(b"".join(self.chunks), 9)).decode("ascii")


def _smallest(array: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    if np.issubdtype(array.dtype, np.integer):
        whole = array.astype(np.min_scalar_type(int(array.max(initial=0))))
        assert whole.itemsize in _WHOLE and array.min(initial=0) >= 0
        return _WHOLE[whole.itemsize], whole
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if not np.array_equal(single, array):
        return "f64", array
    bits = single.view(np.uint32)
    if np.any(bits & 0xFFFF):
        return "f32", single
    return "bf16", (bits >> 16).astype(np.uint16)
