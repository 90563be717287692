"""What a head does on a task, in the mean over its prompts: where it looks and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit import Circuit
from wirework.data import Tokenizer
from wirework.explain.query_key import ChannelParts, explain_scores, heads

_TOKENS = 3


@dataclass(frozen=True)
class PartSummary:
    """What one source gives to a channel, mean over prompts. `source`: a kept read channel, or
    `positions` or `constant`. `there`: at the position in question; `elsewhere`: over the other
    keys, None for a query."""

    source: str
    weight: float | None
    there: float
    elsewhere: float | None


@dataclass(frozen=True)
class ChannelSummary:
    """One channel of a head. `share`: of how its score changes from key to key
    (`HeadScores.shares`). `there`: its term of the score at the key that the head looks at most,
    `elsewhere`: at the other keys, means over prompts. `query`, `key`: what the channel is made
    of on either side, None where that side is held at a constant."""

    index: int
    share: float
    there: float
    elsewhere: float
    query: tuple[PartSummary, ...] | None
    key: tuple[PartSummary, ...] | None


@dataclass(frozen=True)
class HeadSummary:
    """One head at the last token of every prompt.

    `looks_at`: the tokens that it looks at most, with their shares of the prompts; `attention` on
    that key, `on_sink` on the sink, means. `constant`, `sink`: see `HeadScores`. `channels`: the
    largest share first.
    """

    layer: int
    head: int
    looks_at: tuple[tuple[str, float], ...]
    attention: float
    on_sink: float
    constant: float
    sink: float | None
    channels: tuple[ChannelSummary, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def summarise_heads(
    circuit: Circuit, tokens: NDArray[np.integer[Any]], last: NDArray[np.integer[Any]]
) -> tuple[HeadSummary, ...]:
    """Every head of a circuit, asked at position `last` (B) of prompts `tokens` (B, T).

    Raises what `explain_scores` raises.
    """
    return tuple(_summary(circuit, layer, head, tokens, last) for layer, head in heads(circuit))


def _summary(
    circuit: Circuit,
    layer: int,
    head: int,
    tokens: NDArray[np.integer[Any]],
    last: NDArray[np.integer[Any]],
) -> HeadSummary:
    found = explain_scores(circuit, layer, head, tokens)
    rows = np.arange(len(tokens))
    weights = found.attention[rows, last]
    there = weights.argmax(1)
    others = (np.arange(tokens.shape[1]) <= last[:, None]) & (
        np.arange(tokens.shape[1]) != there[:, None]
    )
    terms = found.terms[:, rows, last]
    shares = found.shares(last)
    first = head * circuit.network.d_head
    queries = {parts.node.index: _query(parts, rows, last) for parts in found.queries}
    keys = {parts.node.index: _key(parts, rows, there, others) for parts in found.keys}
    channels = [
        ChannelSummary(
            index=first + channel,
            share=float(share),
            there=float(term[rows, there].mean()),
            elsewhere=_mean(term, others),
            query=queries.get(first + channel),
            key=keys.get(first + channel),
        )
        for channel, share, term in zip(found.channels, shares, terms, strict=True)
    ]
    tokenizer = Tokenizer.from_json(circuit.tokenizer)
    looked = Counter(int(token) for token in tokens[rows, there])
    return HeadSummary(
        layer=layer,
        head=head,
        looks_at=tuple(
            (tokenizer.token_text(token), count / len(tokens))
            for token, count in looked.most_common(_TOKENS)
        ),
        attention=float(weights.max(1).mean()),
        on_sink=float(found.on_sink[rows, last].mean()),
        constant=found.constant,
        sink=found.sink,
        channels=tuple(sorted(channels, key=lambda channel: (-channel.share, channel.index))),
    )


def _query(parts: ChannelParts, rows: NDArray[Any], last: NDArray[Any]) -> tuple[PartSummary, ...]:
    return tuple(
        PartSummary(source, weight, float(value[rows, last].mean()), None)
        for source, weight, value in _sources(parts)
    )


def _key(
    parts: ChannelParts, rows: NDArray[Any], there: NDArray[Any], others: NDArray[np.bool_]
) -> tuple[PartSummary, ...]:
    return tuple(
        PartSummary(source, weight, float(value[rows, there].mean()), _mean(value, others))
        for source, weight, value in _sources(parts)
    )


def _sources(parts: ChannelParts) -> list[tuple[str, float | None, NDArray[Any]]]:
    found: list[tuple[str, float | None, NDArray[Any]]] = []
    for place, source in enumerate(parts.sources):
        found.append((str(source), float(parts.weights[place]), parts.parts[..., place]))
    for name, value in (("positions", parts.positions), ("constant", parts.constant)):
        if value.any():
            found.append((name, None, value))
    return found


def _mean(values: NDArray[Any], where: NDArray[np.bool_]) -> float:
    return float(values[where].mean()) if where.any() else 0.0
