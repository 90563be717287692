"""The checkpoint folder: config.json, model.safetensors, means.safetensors, tokenizer, run.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

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
from wirework.model.transformer import Transformer
from wirework.model.weights_file import Weights, pack_rounded, pack_weights, unpack_weights

FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with what belongs to it.

    `means`: reference means over pretraining text (`reference_means`); empty where nobody has
    computed them, as in published files. `step`: optimizer steps taken. `losses`: `train_loss`,
    `val_loss` (nats per token), `val_bits_per_byte` and the like. `record`: a `RunRecord` as plain
    values.
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
        """sha256 of configuration, weights, means and tokenizer.

        A buffer that is all zero is left out: later versions may add one. Zeros of projected
        matrices have no sign, as in the file.
        """
        digest = hashlib.sha256(self.config.hash().encode())
        digest.update(self.tokenizer.hash().encode())
        buffers = {name for name, _ in self.model.named_buffers()}
        sparse = {matrix.name for matrix in self.model.projected()}
        for name, value in sorted(self.model.stored().items()):
            if name in buffers and not value.any():
                continue
            digest.update(name.encode())
            array = value.detach().float().contiguous().cpu().numpy()
            # Adding nothing makes +0.0 of -0.0.
            digest.update((array + np.float32(0) if name in sparse else array).tobytes())
        for site in sorted(self.means):
            digest.update(str(site).encode())
            digest.update(self.means[site].tobytes())
        return digest.hexdigest()

    def require_means(self) -> Means:
        """The reference means. Raises `means-missing` where there are none."""
        if not self.means:
            raise WireworkError(
                "means-missing",
                "this model came without the average activations that cut nodes are held at",
                expected="reference means over text like that which the model was trained on",
                got="a checkpoint without means",
                hint="wirework convert MODEL FOLDER --means-from python-stdlib, then use FOLDER",
            )
        return self.means

    def sparse(self) -> Network:
        """The weights compressed for the torch-free engine."""
        return sparse(self.model)

    def save(
        self, folder: Path | str, *, dtype: Literal["float32", "bfloat16"] = "float32"
    ) -> Checkpoint:
        """Write the folder atomically, projected matrices sparsely; returns what it then holds.

        `bfloat16` rounds the weights, and a bigram table to 8 bits an entry: another, smaller
        model, which is then kept exactly.
        """
        sparse = [matrix.name for matrix in self.model.projected()]
        if dtype == "bfloat16":
            weights = pack_rounded(_weights(self.model), sparse)
            model = Transformer(self.config)
            _load_weights(model, weights)
            stored = replace(self, model=model)
        else:
            weights, stored = pack_weights(_weights(self.model), sparse), self
        means = {str(site): value for site, value in self.means.items()}
        with write_folder(Path(folder)) as draft:
            write_json(draft / "config.json", self.config.plain())
            write_bytes(draft / "model.safetensors", save(weights))
            write_bytes(draft / "means.safetensors", save(means))
            self.tokenizer.save(draft / "tokenizer.json")
            state = {"format": FORMAT, "step": self.step, "losses": self.losses}
            write_json(draft / "run.json", {**state, "record": self.record, "hash": stored.hash()})
        return stored

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


def _weights(model: Transformer) -> Weights:
    return {
        name: value.detach().float().contiguous().cpu().numpy()
        for name, value in model.stored().items()
    }


def _load_weights(model: Transformer, arrays: dict[str, NDArray[Any]]) -> None:
    dense = unpack_weights(arrays)
    state = model.stored()
    if "logit_bias" not in dense:  # written before there was one
        dense["logit_bias"] = np.zeros(model.config.vocab_size, dtype=np.float32)
    expected = {name: tuple(value.shape) for name, value in state.items()}
    found = {name: array.shape for name, array in dense.items()}
    if expected != found:
        wrong = sorted(set(expected.items()) ^ set(found.items()))
        raise WireworkError(
            "checkpoint-damaged",
            "the weights do not fit the configuration beside them",
            expected=json.dumps({n: list(s) for n, s in expected.items() if (n, s) in wrong}),
            got=json.dumps({n: list(s) for n, s in found.items() if (n, s) in wrong}),
        )
    for name, value in state.items():
        value.copy_(torch.from_numpy(dense[name]))


def _read_means(config: ModelConfig, arrays: dict[str, NDArray[Any]]) -> Means:
    means: Means = {}
    if not arrays:
        return means
    for site in sites(config.n_layer):
        value = arrays.get(str(site))
        if value is None or value.shape != (config.width(site.kind),):
            raise WireworkError("checkpoint-damaged", f"the reference means of {site} are missing")
        means[site] = value.astype(np.float32)
    return means
