"""Next-token loss of a window of text."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from wirework.model import Transformer


def next_token_loss(model: Transformer, windows: Tensor) -> Tensor:
    """Mean cross-entropy in nats of windows (B, T+1) of tokens, to be differentiated."""
    logits = model(windows[:, :-1])
    return functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
