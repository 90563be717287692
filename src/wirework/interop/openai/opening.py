"""A published folder opened strictly: every tensor is used or known, none is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core import WireworkError
from wirework.core.files import read_json
from wirework.interop.openai.config import (
    CONFIG_FILE,
    PublishedConfig,
    from_published,
    parse_config,
)
from wirework.interop.openai.names import MASK, layer_of, listed, published_name
from wirework.interop.openai.weights import WEIGHTS_FILE, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from wirework.model import ModelConfig

_HEAD, _EMBEDDING, _POSITIONS = "lm_head.weight", "transformer.wte.weight", "transformer.wpe.weight"
_LOGIT_BIAS = "final_logits_bias"

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Opened:
    """`config`: ours. `tensors`: all that the file holds, by the file's names. `shapes`: of the
    parts of our model, by our names. `remarks`: what was read differently or passed over."""

    published: PublishedConfig
    config: ModelConfig
    tensors: dict[str, Tensor]
    shapes: dict[str, Shape]
    remarks: tuple[str, ...]


def open_folder(folder: Path, neutral: Collection[str] = ()) -> Opened:
    """Read both files and check that they fit, tensor by tensor.

    `neutral`: keys of the configuration that may be passed over though nothing is known of them.
    Raises `folder-missing`, `file-missing`, `file-damaged`, `config-invalid`,
    `openai-config-unsupported`, `openai-weights-damaged`, `openai-weights-hostile`,
    `openai-tensors-mismatch`, `openai-weights-not-finite`.
    """
    if not folder.is_dir():
        raise WireworkError(
            "folder-missing", f"there is no folder {folder}",
            expected=f"a folder with {CONFIG_FILE} and {WEIGHTS_FILE}", got=str(folder),
        )  # fmt: skip
    published, remarks = parse_config(read_json(folder / CONFIG_FILE), neutral)
    tensors = load_tensors(folder / WEIGHTS_FILE)
    if published.n_layer > len(tensors):  # before a model of so many layers is drawn up
        raise _mismatch(f"n_layer = {published.n_layer}", f"{len(tensors)} tensors in all")
    table = tensors.get(_POSITIONS)
    added = published.d_pos_emb is None
    with_positions = added and table is not None and bool(table.any())
    config = from_published(published, with_positions=with_positions)
    shapes = _shapes(config)
    more = _check_names(published, shapes, tensors)
    _check_values(published, tensors)
    if added and not with_positions:
        more.append(f"positions left out: {_POSITIONS} is zero")
    return Opened(published, config, tensors, shapes, (*remarks, *more))


def _shapes(config: ModelConfig) -> dict[str, Shape]:
    """Our name and the shape of every part of the model, without its numbers."""
    import torch

    from wirework.model import Transformer

    with torch.device("meta"):
        return {name: tuple(part.shape) for name, part in Transformer(config).stored().items()}


def _check_names(
    config: PublishedConfig, shapes: Mapping[str, Shape], tensors: Mapping[str, Tensor]
) -> list[str]:
    """Raise `openai-tensors-mismatch`, naming all that is missing, unused or of a wrong kind."""
    needed = {published_name(name): shape for name, shape in shapes.items()}
    bias = needed.pop(_LOGIT_BIAS)
    needed[_POSITIONS] = (config.block_size, config.d_pos_emb or config.d_model)
    known = {**needed, _LOGIT_BIAS: bias, _HEAD: needed[_EMBEDDING]}
    masks = [name for name in tensors if (layer_of(name) or (0, ""))[1] == MASK]
    missing = [name for name in needed if name not in tensors]
    unused = [name for name in tensors if name not in known and name not in masks]
    wrong = [
        name
        for name in known
        if name in tensors
        and (tuple(tensors[name].shape) != known[name] or not tensors[name].is_floating_point())
    ]
    faults = []
    if missing:
        faults.append(f"missing: {listed(missing)}")
    if unused:
        faults.append(f"unused: {listed(unused)}")
    for name in wrong:
        asked = " x ".join(map(str, known[name]))
        faults.append(f"{name} of {_kind(tensors[name])} where floats {asked} are needed")
    if faults:
        hint = ""
        if missing and not unused and all(name.endswith("sink_logit") for name in missing):
            hint = f'"sink": false in {CONFIG_FILE}: trained without flash, a model has no sinks'
        raise _mismatch(f"what {CONFIG_FILE} says, {len(needed)} tensors", "; ".join(faults), hint)
    remarks = []
    if masks:
        remarks.append(f"passed over: causal masks {listed(masks)}")
    if _LOGIT_BIAS not in tensors:
        remarks.append(f"no {_LOGIT_BIAS}: zeros")
    return remarks


def _check_values(config: PublishedConfig, tensors: Mapping[str, Tensor]) -> None:
    import torch

    # In float32, which is what they become: a larger number is infinite there.
    wild = [name for name, value in tensors.items() if not torch.isfinite(value.float()).all()]
    if wild:
        raise WireworkError(
            "openai-weights-not-finite", f"{WEIGHTS_FILE} holds weights that are no numbers",
            expected="finite weights", got=listed(wild),
        )  # fmt: skip
    size = config.block_size
    for name, value in tensors.items():
        if (layer_of(name) or (0, ""))[1] != MASK:
            continue
        fits = tuple(value.shape) == (1, 1, size, size)
        if not fits or not torch.equal(value[0, 0] != 0, torch.ones(size, size).tril() != 0):
            raise _mismatch("attention to all earlier tokens", f"another mask in {name}")
    head = tensors.get(_HEAD) if config.tied_unembed else None
    if head is not None and not torch.equal(head, tensors[_EMBEDDING]):
        raise _mismatch("tied_unembed = true, one matrix", f"{_HEAD} unlike {_EMBEDDING}")


def _kind(value: Tensor) -> str:
    return f"{str(value.dtype).removeprefix('torch.')} {' x '.join(map(str, value.shape))}"


def _mismatch(expected: str, got: str, hint: str = "") -> WireworkError:
    return WireworkError(
        "openai-tensors-mismatch", f"{WEIGHTS_FILE} does not hold the model of {CONFIG_FILE}",
        expected=expected, got=got, hint=hint,
    )  # fmt: skip
