"""The checkpoint folder: config.json, model.safetensors, means.safetensors, tokenizer, run.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from wirework.core import WireworkError
from wirework.core.files import read_json, verify_folder, write_bytes, write_folder, write_json
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.engine import Network
from wirework.model.compress import sparse
from wirework.model.config import ModelConfig
from wirework.model.means import Means
from wirework.model.packing import pack, unpack
from wirework.model.transformer import Transformer

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with what belongs to it.

    `means`: reference means over pretraining text (`reference_means`). `step`: optimizer steps
    taken. `losses`: `train_loss`, `val_loss` (nats per token), `val_bits_per_byte` and the like.
    `record`: a `RunRecord` as plain values.
    """

    model: Transformer
    tokenizer: Tokenizer
    means: Means
    step: int
    losses: dict[str, float] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> ModelConfig:
        return self.model.config

    def hash(self) -> str:
        """sha256 of configuration, weights, means and tokenizer."""
        digest = hashlib.sha256(self.config.hash().encode())
        digest.update(self.tokenizer.hash().encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().float().contiguous().cpu().numpy().tobytes())
        for site in sorted(self.means):
            digest.update(str(site).encode())
            digest.update(self.means[site].tobytes())
        return digest.hexdigest()

    def sparse(self) -> Network:
        """The weights compressed for the torch-free engine."""
        return sparse(self.model)

    def save(self, folder: Path | str) -> None:
        """Write the folder atomically; projected matrices are stored sparsely."""
        weights = _pack_weights(self.model)
        means = {str(site): value for site, value in self.means.items()}
        with write_folder(Path(folder)) as draft:
            write_json(draft / "config.json", self.config.plain())
            write_bytes(draft / "model.safetensors", save(weights))
            write_bytes(draft / "means.safetensors", save(means))
            self.tokenizer.save(draft / "tokenizer.json")
            state = {"format": FORMAT, "step": self.step, "losses": self.losses}
            write_json(draft / "run.json", {**state, "record": self.record, "hash": self.hash()})

    @classmethod
    def load(cls, folder: Path | str) -> Checkpoint:
        """Read and check everything.

        Raises `folder-missing`, `folder-foreign`, `checksum-mismatch`, `checkpoint-version`,
        `checkpoint-damaged`.
        """
        path = Path(folder)
        verify_folder(path)
        for name in ("config.json", "model.safetensors", "means.safetensors", "run.json"):
            if not (path / name).is_file():
                raise WireworkError(
                    "checkpoint-damaged", f"{path} holds no {name}", expected="a checkpoint folder"
                )
        run = read_json(path / "run.json")
        if run.get("format") != FORMAT:
            raise WireworkError(
                "checkpoint-version",
                f"{path} is of a format that this version cannot read",
                expected=f"format {FORMAT}",
                got=str(run.get("format")),
            )
        config = ModelConfig.parse(read_json(path / "config.json"), str(path / "config.json"))
        model = Transformer(config)
        _load_weights(model, _read_arrays(path / "model.safetensors"))
        means = _read_means(config, _read_arrays(path / "means.safetensors"))
        tokenizer = Tokenizer.load(path / "tokenizer.json")
        return cls(model, tokenizer, means, int(run["step"]), run["losses"], run["record"])


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays: dict[str, NDArray[Any]] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WireworkError(
            "checkpoint-damaged", f"{path} is not a safetensors file", got=str(error)
        ) from None
    return arrays


def _pack_weights(model: Transformer) -> dict[str, NDArray[Any]]:
    sparse = {matrix.name for matrix in model.projected()}
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in model.state_dict().items():
        dense = value.detach().float().contiguous().cpu().numpy()
        if name in sparse and np.count_nonzero(dense) < dense.size / 2:
            arrays.update({f"{name}/{part}": array for part, array in pack(dense).items()})
        else:
            arrays[name] = dense
    return arrays


def _load_weights(model: Transformer, arrays: dict[str, NDArray[Any]]) -> None:
    dense: dict[str, NDArray[Any]] = {}
    packed: dict[str, dict[str, NDArray[Any]]] = {}
    for key, array in arrays.items():
        name, slash, part = key.partition("/")
        if slash:
            packed.setdefault(name, {})[part] = array
        else:
            dense[name] = array
    for name, parts in packed.items():
        if set(parts) != {"values", "gaps", "shape"}:
            raise WireworkError("checkpoint-damaged", f"the sparse matrix {name} is incomplete")
        dense[name] = unpack(parts, name)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: array.shape for name, array in dense.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        raise WireworkError(
            "checkpoint-damaged",
            "the weights do not fit the configuration beside them",
            expected=json.dumps({n: list(s) for n, s in expected.items() if (n, s) in wrong}),
            got=json.dumps({n: list(s) for n, s in found.items() if (n, s) in wrong}),
        )
    model.load_state_dict({name: torch.from_numpy(array) for name, array in dense.items()})


def _read_means(config: ModelConfig, arrays: dict[str, NDArray[Any]]) -> Means:
    means = {}
    for site in sites(config.n_layer):
        value = arrays.get(str(site))
        if value is None or value.shape != (config.width(site.kind),):
            raise WireworkError("checkpoint-damaged", f"the reference means of {site} are missing")
        means[site] = value.astype(np.float32)
    return means
