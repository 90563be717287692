"""A source of activations: any model that gives named vectors for rows of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from wirework.core import Site, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.names import sites
from wirework.model import Checkpoint, Taps

PADDING = -1
"""What stands in a row of tokens behind its end."""

Batch = dict[str, NDArray[np.float32]]

Held = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Site -> channels, and the values that they are held at, at every position."""


class Source(Protocol):
    """What activations can be taken from.

    `context`: the longest row that it reads, in tokens of the text. `vocab_size`: ids are below
    it; None where nobody knows. `tokenizer`: the hash of the model's own, empty where nobody
    knows. `causal`: an activation depends on no later token.
    """

    @property
    def context(self) -> int: ...

    @property
    def vocab_size(self) -> int | None: ...

    @property
    def tokenizer(self) -> str: ...

    @property
    def causal(self) -> bool: ...

    def sites(self) -> tuple[str, ...]:
        """Names of the vectors, in the order in which they are computed."""
        ...

    def width(self, site: str) -> int:
        """Number of channels of a site. Raises `site-absent`."""
        ...

    def hash(self) -> str:
        """sha256 of what the model is: equal where activations are."""
        ...

    def describe(self) -> dict[str, Any]:
        """What else decides the activations, as plain JSON values."""
        ...

    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        """tokens (B, T), PADDING behind the end of a row -> site -> (B, T, channels) float32.

        What stands at padding means nothing. Raises `site-absent`.
        """
        ...


class Ablatable(Source, Protocol):
    """A source that predicts the next token, also while some channels are held at a value."""

    def losses(self, tokens: NDArray[np.int64], held: Held) -> NDArray[np.float32]:
        """tokens (B, T), PADDING behind the end of a row -> (B, T): the cross-entropy in nats of
        predicting, at every token, the one behind it; NaN at the last token of a row and behind.

        Raises `site-absent`, `losses-unavailable` where the model predicts no next token.
        """
        ...


class WireworkSource:
    """A checkpoint of ours. Sites by our names (`3.mlp.neuron`): what `Taps` records."""

    causal = True

    def __init__(self, checkpoint: Checkpoint, *, context: int | None = None) -> None:
        """`context`: shorter windows than the model could read. Raises `context-too-long`."""
        self._checkpoint = checkpoint
        config = checkpoint.config
        self.context = checked_context(context, config.context)
        self.vocab_size: int | None = config.vocab_size
        self.tokenizer = checkpoint.tokenizer.hash()
        self._sites = {str(site): site for site in sites(config.n_layer)}

    def sites(self) -> tuple[str, ...]:
        return tuple(self._sites)

    def width(self, site: str) -> int:
        return self._checkpoint.config.width(self._site(site).kind)

    def hash(self) -> str:
        """The checkpoint's hash, as circuits have it too."""
        return self._checkpoint.hash()

    def describe(self) -> dict[str, Any]:
        dtype = next(self._checkpoint.model.parameters()).dtype
        return {"kind": "wirework", "dtype": str(dtype)}

    @torch.no_grad()
    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        model = self._checkpoint.model
        taps = Taps(record=[self._site(site) for site in sites])
        rows = torch.from_numpy(np.where(tokens == PADDING, 0, tokens))
        model.read_out(rows.to(next(model.parameters()).device), taps)
        return {site: taps.values[self._site(site)].float().cpu().numpy() for site in sites}

    @torch.no_grad()
    def losses(self, tokens: NDArray[np.int64], held: Held) -> NDArray[np.float32]:
        model = self._checkpoint.model
        rows = torch.from_numpy(np.where(tokens == PADDING, 0, tokens))
        taps = Taps(replace={self._site(name): partial(hold, *held[name]) for name in held})
        logits = model(rows.to(next(model.parameters()).device), taps)
        return next_token_losses(logits, tokens)

    def _site(self, name: str) -> Site:
        if name not in self._sites:
            raise absent_site(name, self.sites())
        return self._sites[name]


def hold(channels: NDArray[np.int64], values: NDArray[np.float32], x: Tensor) -> Tensor:
    """x (B, T, ...), flat over what follows T, with some channels at the same value everywhere."""
    flat = x.flatten(2).clone()
    flat[..., torch.from_numpy(channels)] = torch.from_numpy(values).to(flat)
    return flat.view(x.shape)


def next_token_losses(logits: Tensor, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """Losses of `Ablatable` from logits (B, T, V) of tokens (B, T)."""
    losses = np.full(tokens.shape, np.nan, np.float32)
    behind = np.zeros(tokens.shape, bool)
    behind[:, :-1] = tokens[:, 1:] != PADDING
    rows, columns = np.nonzero(behind)
    targets = torch.from_numpy(tokens[rows, columns + 1]).to(logits.device)
    chosen = logits[torch.from_numpy(rows), torch.from_numpy(columns)].float()
    losses[rows, columns] = functional.cross_entropy(chosen, targets, reduction="none").cpu()
    return losses


def losses_unavailable(what: str, hint: str = "") -> WireworkError:
    """The error for a model that predicts no next token."""
    return WireworkError(
        "losses-unavailable",
        "neurons cannot be ablated here: the model predicts no next token",
        expected="a causal model with its unembedding",
        got=what,
        hint=hint,
    )


def absent_site(name: str, known: tuple[str, ...]) -> WireworkError:
    """The error for a site that a source has not."""
    return unknown_choice("site-absent", "site of this model", name, known)


def checked_context(wanted: int | None, longest: int) -> int:
    """The context of a source whose model reads at most `longest` tokens of the text."""
    if longest < 1 or (wanted is not None and not 1 <= wanted <= longest):
        raise WireworkError(
            "context-too-long",
            "windows must fit into what the model can read",
            expected=f"a context of 1 to {longest} tokens",
            got=str(longest if wanted is None else wanted),
            hint=str(max(1, longest)),
        )
    return longest if wanted is None else wanted
