"""Does the loaded model compute what the file says? Both are run on the same random tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wirework.core import WireworkError
from wirework.interop.openai.opening import Opened, open_folder
from wirework.interop.openai.reference import reference_logits

if TYPE_CHECKING:
    from wirework.model import Transformer

LARGEST_GAP = 1e-6
"""A correct model stays near 1e-13; beyond this, something else is computed."""


@dataclass(frozen=True)
class Parity:
    """`gap`: the largest difference of a logit, in float64, over `tokens` random tokens."""

    gap: float
    tokens: int

    def __str__(self) -> str:
        return f"parity: logits agree to {self.gap:.1g} on {self.tokens} random tokens"


def parity(model: Transformer, folder: Path | str) -> Parity:
    """Compare `model` with the files in `folder`, computed by `reference_logits`.

    Raises what `read_model` raises of the files, and `openai-parity-missed`.
    """
    return compare(model, open_folder(Path(folder)))


def compare(model: Transformer, opened: Opened, *, tokens: int = 64, seed: int = 0) -> Parity:
    """Compare `model` with the file's own tensors, in float64.

    The model is widened for the time of the comparison, which changes none of its float32
    weights. Raises `openai-parity-missed` where a logit differs by more than 1e-6.
    """
    import torch

    random = torch.Generator().manual_seed(seed)
    config = opened.published
    length = min(tokens, config.block_size)
    prompts = torch.randint(config.vocab_size, (tokens // length, length), generator=random)
    before = model.embedding.weight.dtype
    with torch.no_grad():
        wanted = [reference_logits(config, opened.tensors, prompt) for prompt in prompts]
        try:
            logits = model.double()(prompts)
        finally:
            model.to(before)
    gap = float((logits - torch.stack(wanted)).abs().max())
    if not gap <= LARGEST_GAP:
        raise WireworkError(
            "openai-parity-missed",
            "the loaded model does not compute what the published code would",
            expected=f"logits that agree to {LARGEST_GAP:g} in float64",
            got=f"a gap of {gap:.2g} on {prompts.numel()} random tokens",
        )
    return Parity(gap, prompts.numel())
