"""Our checkpoint -> published files, which the published code can load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core.files import disk_errors, write_folder, write_json
from wirework.interop.openai.config import CONFIG_FILE, to_published
from wirework.interop.openai.names import published_name
from wirework.interop.openai.reading import RECORD
from wirework.interop.openai.tokenizer import write_tokenizer
from wirework.interop.openai.weights import WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from wirework.model import Checkpoint, Transformer

_WITHOUT_EFFECT = (
    "dropout",
    "debug_nans",
    "tokenizer_name",
    "grad_checkpointing",
    "dropout_cat_pos_emb",
    "enable_sparse_kernels",
)
"""Fields that came with a published file and go back as they were."""


def write(checkpoint: Checkpoint, folder: Path | str) -> None:
    """Write `beeg_config.json`, `final_model.pt` and the tokenizer's files into `folder`.

    Weights are dense, zeros included, in float32. Reference means have no place in the format.
    Raises `openai-not-expressible`, `path-occupied`, `disk-full`, `path-not-writable`.
    """
    import torch

    published = to_published(checkpoint.config)
    before = checkpoint.record.get(RECORD, {}).get("config", {})
    kept = {key: before[key] for key in _WITHOUT_EFFECT if key in before}
    tensors = _tensors(checkpoint.model)
    with write_folder(Path(folder)) as draft:
        write_json(draft / CONFIG_FILE, published.replace(**kept).plain())
        # Through an open file torch names the zip's folder `archive`, as readers expect it.
        with disk_errors(draft), (draft / WEIGHTS_FILE).open("wb") as file:
            torch.save(tensors, file)
        write_tokenizer(checkpoint.tokenizer, draft)


def _tensors(model: Transformer) -> dict[str, Tensor]:
    import torch

    tensors = {}
    for ours, value in model.stored().items():
        # A new tensor: torch would save all of the memory that a view belongs to.
        tensors[published_name(ours)] = torch.empty(value.shape).copy_(value)
    config = model.config
    if config.position == "none":
        tensors[published_name("positions")] = torch.zeros(config.context, config.d_model)
    if config.tied:
        tensors[published_name("unembedding.weight")] = tensors[published_name("embedding.weight")]
    return tensors
