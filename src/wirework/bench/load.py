"""A sparse checkpoint on disk beside a dense one of the same shape: bytes, and time to load."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from wirework.bench.config import FLOOR, HEAD, BenchConfig
from wirework.bench.machine import describe_machine
from wirework.bench.turns import Side, milliseconds, ratio, take_turns
from wirework.core import Measure, Report
from wirework.core.progress import StartProgress, silent
from wirework.data import Tokenizer
from wirework.model import Checkpoint, ModelConfig, ProjectedMatrix, Transformer
from wirework.sparsity import project


class LoadBench(BenchConfig):
    """The density is that of the embeddings too."""

    usual_density: ClassVar[float] = 1 / 256

    d_model: int = Field(1024, ge=HEAD, multiple_of=HEAD)
    layers: int = Field(8, ge=1)


def bench_load(config: LoadBench | None = None, *, start: StartProgress = silent) -> Report:
    """`bytes_per_nonzero_float32`, exact, and `bytes_per_nonzero_bfloat16`: values and places of
    the projected matrices in the file. `load_speedup`: loading the dense checkpoint ÷ the sparse
    one, both float32, both by `Checkpoint.load`, which checks what it reads.
    """
    config = config or LoadBench()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with start("checkpoints", 3) as progress:
            model = _random_model(config)
            tokenizer = Tokenizer.train(["x"], 257)
            Checkpoint(model, tokenizer, {}, 0).save(folder / "dense")
            progress.advance()
            for matrix in model.projected():
                project(matrix, config.share, FLOOR)
            sparse = Checkpoint(model, tokenizer, {}, 0)
            sparse.save(folder / "float32")
            progress.advance()
            sparse.save(folder / "bfloat16", dtype="bfloat16")
            progress.advance()
        matrices = model.projected()
        nonzeros = sum(int(matrix.weight.count_nonzero()) for matrix in matrices)
        measures = {
            f"bytes_per_nonzero_{dtype}": Measure(
                bytes_of(folder / dtype / "model.safetensors", matrices) / nonzeros,
                n=nonzeros, better="lower", bar=bar, note="exact count",
            )
            for dtype, bar in (("float32", 6.0), ("bfloat16", 4.0))
        }  # fmt: skip
        seconds = take_turns(
            {
                name: Side(partial(Checkpoint.load, folder / name))
                for name in ("float32", "dense")
            },
            turns=config.pairs, warm_up=1, label="loads", start=start,
        )  # fmt: skip
        sizes = {
            path.name: (path / "model.safetensors").stat().st_size for path in folder.iterdir()
        }
    measures["load_speedup"] = ratio(seconds["dense"], seconds["float32"], better="higher")
    details = {
        "milliseconds": milliseconds(seconds),
        "file_bytes": sizes,
        "nonzeros": nonzeros,
        "density": nonzeros / sum(matrix.weight.numel() for matrix in matrices),
    }
    return config.report("load", measures, dtype="float32", machine=machine, details=details)


def bytes_of(path: Path, matrices: list[ProjectedMatrix]) -> int:
    """Bytes that these matrices take in a safetensors file, whatever arrays they are kept as."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    names = {matrix.name for matrix in matrices}
    spans = [e["data_offsets"] for key, e in header.items() if key.partition("/")[0] in names]
    return sum(end - begin for begin, end in spans)


def _random_model(config: LoadBench) -> Transformer:
    """As training leaves it: random weights, and entries of the bigram table too."""
    shape = ModelConfig(
        vocab_size=config.vocab_size, n_layer=config.layers, d_model=config.d_model,
        n_head=config.d_model // HEAD, d_head=HEAD, d_mlp=4 * config.d_model,
    )  # fmt: skip
    return Transformer(shape, seed=config.seed)
