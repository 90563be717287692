"""Small runs for tests: text to train on, a configuration, what a run left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wirework.core.files import sha256_file
from wirework.training import TrainConfig

CODE = '''
def add(left, right):
    """Add two numbers."""
    return left + right

class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y
'''


def text_folder(folder: Path) -> Path:
    folder.mkdir()
    for index in range(12):
        (folder / f"part{index}.py").write_text(CODE * 6 + f"value_{index} = {index}\n")
    return folder


def config(text: Path, **changes: Any) -> TrainConfig:
    base = {
        "steps": 24, "batch": 4, "checkpoint_every": 8, "validate_every": 8,
        "validation_batches": 1, "mean_batches": 1, "bigram_start": "counts", "dtype": "float32",
        "model": {"vocab_size": 300, "context": 16, "n_layer": 1, "d_model": 16, "n_head": 2,
                  "d_head": 8, "d_mlp": 32, "bigram": "frozen", "afrac": 0.5},
        "corpus": {"source": str(text), "vocab_size": 300, "validation_share": 0.2},
        "sparsity": {"density": 0.3, "embedding_density": 0.3, "lr": 0.01, "epsilon": 1e-8},
    }  # fmt: skip
    return TrainConfig.parse({**base, **changes})


def content(folder: Path) -> dict[str, str]:
    """Hash of every file of a run that must not depend on when it was made."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}


def toml(values: dict[str, Any], prefix: str = "") -> str:
    """Plain values as a TOML file."""
    plain = "".join(f"{k} = {json.dumps(v)}\n" for k, v in values.items()
                    if not isinstance(v, dict) and v is not None)  # fmt: skip
    tables = [
        f"[{prefix}{k}]\n" + toml(v, f"{prefix}{k}.")
        for k, v in values.items()
        if isinstance(v, dict)
    ]
    return plain + "".join(tables)
