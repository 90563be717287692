"""Published files -> our model and checkpoint, strictly and with a check of what it computes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core import RunRecord
from wirework.core.files import sha256_file
from wirework.interop.openai.config import CONFIG_FILE
from wirework.interop.openai.names import listed, published_name
from wirework.interop.openai.opening import Opened, open_folder
from wirework.interop.openai.parity import compare
from wirework.interop.openai.tokenizer import find_tokenizer
from wirework.interop.openai.weights import WEIGHTS_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from wirework.model import Checkpoint, Transformer

RECORD = "openai"
"""Under this key of a checkpoint's record: `config`, `remarks`, `parity`."""


def read_model(folder: Path | str, *, neutral: Collection[str] = ()) -> Transformer:
    """The weights alone, in float32, without tokenizer and without the comparison.

    Raises what `open_folder` raises.
    """
    return _build(open_folder(Path(folder), neutral))[0]


def read(folder: Path | str, *, neutral: Collection[str] = ()) -> Checkpoint:
    """A checkpoint of the published model in `folder`, compared with the file's own computation.

    It has no reference means: the files bring none. `record["openai"]` holds the published
    configuration, remarks on all that was read differently or passed over, and the parity line.
    `neutral`: unknown keys of the configuration that may be passed over. Raises what
    `open_folder` raises, `tokenizer-missing`, `tokenizer-foreign`, `openai-parity-missed`.
    """
    from wirework.model import Checkpoint

    path = Path(folder)
    opened = open_folder(path, neutral)
    tokenizer, place = find_tokenizer(path, opened.config.vocab_size)
    model, more = _build(opened)
    remarks = [*opened.remarks, *more]
    if place != path:
        remarks.append(f"tokenizer from {place}")
    record = RunRecord.collect(
        seed=None,
        inputs={name: sha256_file(path / name) for name in (CONFIG_FILE, WEIGHTS_FILE)},
        config={"model": opened.config.plain()},
        config_hash=opened.config.hash(),
    )
    about = {
        "config": opened.published.plain(),
        "remarks": remarks,
        "parity": str(compare(model, opened)),
    }
    return Checkpoint(
        model, tokenizer, means={}, step=0, record={**record.to_json(), RECORD: about}
    )


def _build(opened: Opened) -> tuple[Transformer, list[str]]:
    """The model with the file's numbers, and remarks on those of another width."""
    import torch

    from wirework.model import Transformer

    with torch.device("meta"):  # no numbers are drawn only to be replaced
        model = Transformer(opened.config)
    parts: dict[str, Tensor] = {}
    widened: dict[str, list[str]] = {}
    for ours, shape in opened.shapes.items():
        theirs = published_name(ours)
        value = opened.tensors.get(theirs)
        if value is None:
            value = torch.zeros(shape)
        elif value.dtype != torch.float32:
            widened.setdefault(str(value.dtype).removeprefix("torch."), []).append(theirs)
        # A copy: the file may go away while the model is used.
        parts[ours] = torch.empty(shape).copy_(value)
    model.load_state_dict(parts, strict=False, assign=True)
    if opened.config.tied:
        model.unembedding.weight = model.embedding.weight
    assert not any(value.is_meta for value in model.state_dict().values())
    remarks = [f"{kind} read as float32: {listed(names)}" for kind, names in widened.items()]
    return model, remarks
