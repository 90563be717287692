"""Next-token loss of a window of text."""

from __future__ import annotations

from torch import Tensor, nn


def next_token_loss(model: nn.Module, windows: Tensor) -> Tensor:
    """Mean cross-entropy in nats of windows (B, T+1) of tokens, to be differentiated.

    `model` is a `Transformer`, perhaps wrapped.
    """
    loss: Tensor = model(windows[:, :-1], targets=windows[:, 1:])
    return loss
