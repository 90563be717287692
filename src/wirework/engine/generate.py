"""Text that a network goes on with, token by token."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import DTypeLike, NDArray

from wirework.core import WireworkError
from wirework.engine.decode import Decoder, Stream, push_all
from wirework.engine.forward import check_tokens
from wirework.engine.network import Network
from wirework.engine.sampling import Sampling
from wirework.engine.tiles import Floats

Prompts = Sequence[Sequence[int] | NDArray[np.integer]]
"""Token ids of every prompt, of any lengths from 1 on."""


def generate(
    network: Network | Decoder,
    prompts: Prompts,
    *,
    tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: Collection[int] = (),
    context: int | None = None,
    dtype: DTypeLike = np.float32,
) -> list[NDArray[np.int64]]:
    """Up to `tokens` new token ids for every prompt; without the one in `stop` that ended it.

    See `stream`, which gives the same tokens as they come.
    """
    found: list[list[int]] = [[] for _ in prompts]
    for index, token in stream(
        network, prompts, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        seed=seed, stop=stop, context=context, dtype=dtype,
    ):  # fmt: skip
        found[index].append(token)
    return [np.array(ids, dtype=np.int64) for ids in found]


def stream(
    network: Network | Decoder,
    prompts: Prompts,
    *,
    tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    stop: Collection[int] = (),
    context: int | None = None,
    dtype: DTypeLike = np.float32,
) -> Iterator[tuple[int, int]]:
    """(index of the prompt, next token id), as they come; prompts advance together.

    `temperature`, `top_k`, `top_p`: see `Sampling`. What is drawn for a prompt depends on `seed`
    and its own tokens, not on the prompts beside it. `context`: the longest prompt and text
    together, where the network sets no limit itself; the text does not slide. A `Decoder` in
    place of the network saves laying the weights out again; `dtype` is then its own. Raises,
    before anything is computed, `tokens-malformed`, `token-unknown`, `generation-too-long`,
    `sampling-impossible`.
    """
    sampling = Sampling(temperature, top_k, top_p)
    decoder = network if isinstance(network, Decoder) else None
    whole = network.network if isinstance(network, Decoder) else network
    rows = [np.asarray(prompt) for prompt in prompts]
    for row in rows:
        _check(whole, row, tokens, context)
    decoder = decoder or Decoder(whole, dtype=dtype)
    return _advance(decoder, rows, tokens, sampling, seed, frozenset(stop))


def _check(network: Network, prompt: NDArray[np.integer], tokens: int, context: int | None) -> None:
    check_tokens(network, prompt[np.newaxis])
    if tokens < 1:
        raise WireworkError(
            "generation-empty", "no new tokens are asked for", expected="1 or more",
            got=str(tokens),
        )  # fmt: skip
    limit = min((n for n in (network.context, context) if n is not None), default=None)
    if limit is not None and len(prompt) + tokens - 1 > limit:
        raise WireworkError(
            "generation-too-long",
            f"{len(prompt)} tokens of prompt and {tokens} new ones exceed the context",
            expected=f"at most {limit + 1} together: the last one is never read",
            got=str(len(prompt) + tokens),
        )


@dataclass(eq=False)
class _Text:
    """One prompt and what became of it."""

    index: int
    stream: Stream
    logits: Floats
    random: np.random.Generator
    left: int


def _advance(
    decoder: Decoder,
    prompts: list[NDArray[np.integer]],
    tokens: int,
    sampling: Sampling,
    seed: int,
    stop: frozenset[int],
) -> Iterator[tuple[int, int]]:
    answers = decoder.network.answers
    texts = []
    for index, prompt in enumerate(prompts):
        opened, logits = decoder.open(prompt, len(prompt) + tokens - 1)
        random = np.random.default_rng([seed % 2**64, *(int(token) for token in prompt)])
        texts.append(_Text(index, opened, logits, random, tokens))
    with ExitStack() as stack:
        threads = min(len(texts), numba.get_num_threads())
        pool = stack.enter_context(ThreadPoolExecutor(threads)) if threads > 1 else None
        while texts:
            going, chosen = [], []
            for text in texts:
                token = int(answers[sampling.choose(text.logits, text.random)])
                text.left -= 1
                if token in stop:
                    continue
                yield text.index, token
                if text.left > 0:
                    going.append(text)
                    chosen.append(token)
            found = push_all([text.stream for text in going], chosen, pool)
            for text, logits in zip(going, found, strict=True):
                text.logits = logits
            texts = going
