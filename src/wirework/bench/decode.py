"""Generation by the engine beside torch on the same sparse model with its zeros written out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from wirework.bench.config import HEAD, BenchConfig
from wirework.bench.dense_decode import DenseDecoder
from wirework.bench.machine import describe_machine
from wirework.bench.memory import Memory, memory_to_generate
from wirework.bench.random_network import random_network
from wirework.bench.turns import Seconds, Side, milliseconds, quickest, ratio, take_turns
from wirework.core import Measure, Report, WireworkError
from wirework.core.progress import StartProgress, silent
from wirework.engine import Decoder, stream
from wirework.model import ModelConfig
from wirework.model.threads import threads

_BAR = 30.0
_MEMORY_BAR = 0.1

Tokens = NDArray[np.int64]


class DecodeBench(BenchConfig):
    """`tokens` are decoded after a `prompt`. `context`: where decoding is measured once more, up to
    that many tokens; how many are prefilled; and for how many the memory is counted."""

    usual_density: ClassVar[float] = 1 / 512

    d_model: int = Field(2048, ge=HEAD, multiple_of=HEAD)
    layers: int = Field(8, ge=1)
    context: int = Field(256, ge=2)
    prompt: int = Field(32, ge=1)
    tokens: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _check_context(self) -> Self:
        if self.context <= self.tokens:
            raise WireworkError(
                "context-too-short",
                f"{self.tokens} tokens are decoded, and some must stand before them",
                expected=f"a context of more than {self.tokens} tokens",
                got=str(self.context),
                hint=f"--context {4 * self.tokens}",
            )
        return self

    def model_config_of(self) -> ModelConfig:
        return ModelConfig(
            vocab_size=self.vocab_size, context=max(self.context, self.prompt + self.tokens),
            n_layer=self.layers, d_model=self.d_model, n_head=self.d_model // HEAD, d_head=HEAD,
            d_mlp=4 * self.d_model,
        )  # fmt: skip


def bench_decode(config: DecodeBench | None = None, *, start: StartProgress = silent) -> Report:
    """Every speedup is the quicker of torch in float32 and bfloat16 ÷ the engine in float32.

    `decode_speedup`: greedy tokens after a prompt, one thread; `generate_speedup`: the time of the
    prompt added. `decode_speedup_long`: as many tokens, the last of a whole context.
    `prefill_speedup`: a whole context at once, all threads; `prefill_speedup_without_abstopk`: as
    if the dense model could do without. `memory_ratio`: weights, caches and work buffers of the
    engine ÷ weights and caches of torch in bfloat16; `memory_ratio_resident`: the same with what
    the process really grew by.
    """
    config = config or DecodeBench()
    machine = describe_machine()
    shape = config.model_config_of()
    random = np.random.default_rng([config.seed, 2])
    text = random.integers(config.vocab_size, size=(1, shape.context))
    memory = _memory(config, text, start)
    network = random_network(shape, config.share, config.seed)
    engine = Decoder(network)
    dense = {
        name: DenseDecoder(network, dtype, capacity=shape.context)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    with threads(1):
        short = _decode(engine, dense, text[:, : config.prompt], config, start)
        long = _decode(engine, dense, text[:, : config.context - config.tokens], config, start)
    with threads(machine["threads"]):
        prefill, without = _prefill(engine, dense, text[:, : config.context], config, start)
    dense_bytes = dense["bfloat16"].weight_bytes + dense["bfloat16"].cache_bytes
    measures = {
        "decode_speedup": _speedup(short.decode, config.bar(_BAR)),
        "generate_speedup": _speedup(short.whole, None),
        "decode_speedup_long": _speedup(long.decode, None),
        "prefill_speedup": _speedup(prefill, None, "goal 3"),
        "prefill_speedup_without_abstopk": _speedup(without, None),
        **_memory_ratios(memory, dense_bytes, config.bar(_MEMORY_BAR)),
    }
    details = {
        "milliseconds": {
            "decode": milliseconds(short.decode), "generate": milliseconds(short.whole),
            "decode_long": milliseconds(long.decode), "prefill": milliseconds(prefill),
            "prefill_without_abstopk": milliseconds(without),
        },
        "tokens_as_dense_float32": short.agreed,
        "bytes": {
            "weights": memory.weights, "caches_and_buffers": memory.rest,
            "resident": memory.resident, "dense_bfloat16": dense_bytes,
        },
        "density": config.share,
    }  # fmt: skip
    return config.report("decode", measures, dtype="float32", machine=machine, details=details)


class _Generator(Protocol):
    """Reads a prompt (1, T) and gives one token after another, the most likely each time."""

    def stream(self, prompt: Tokens, tokens: int) -> Iterator[int]: ...


@dataclass(frozen=True)
class _Engine:
    decoder: Decoder

    def stream(self, prompt: Tokens, tokens: int) -> Iterator[int]:
        for _, token in stream(self.decoder, list(prompt), tokens=tokens):
            yield token


class _Run:
    """One side's generation in two parts: the prompt with the first token, then all others."""

    def __init__(self, generator: _Generator, prompt: Tokens, tokens: int) -> None:
        self.generator = generator
        self.prompt = prompt
        self.tokens = tokens
        self.found: list[int] = []

    def read_prompt(self) -> None:
        self.stream = self.generator.stream(self.prompt, 1 + self.tokens)
        self.found = [next(self.stream)]

    def decode(self) -> None:
        self.found += self.stream


@dataclass(frozen=True)
class _Decoded:
    """`agreed`: share of the tokens on which the engine and torch in float32 agree."""

    decode: Seconds
    whole: Seconds
    agreed: float


def _decode(
    engine: Decoder,
    dense: dict[str, DenseDecoder],
    prompt: Tokens,
    config: DecodeBench,
    start: StartProgress,
) -> _Decoded:
    generators: dict[str, _Generator] = {"engine": _Engine(engine), **dense}
    runs = {name: _Run(one, prompt, config.tokens) for name, one in generators.items()}
    sides = {}
    for name, run in runs.items():
        sides[f"{name} prompt"] = Side(run.read_prompt)
        sides[name] = Side(run.decode)
    label = f"decode after {prompt.shape[1]}"
    seconds = take_turns(sides, turns=config.pairs, warm_up=1, label=label, start=start)
    whole = {n: list(np.add(seconds[n], seconds[f"{n} prompt"])) for n in runs}
    agreed = np.mean(np.equal(runs["engine"].found, runs["float32"].found))
    return _Decoded({name: seconds[name] for name in runs}, whole, float(agreed))


def _prefill(
    engine: Decoder,
    dense: dict[str, DenseDecoder],
    text: Tokens,
    config: DecodeBench,
    start: StartProgress,
) -> tuple[Seconds, Seconds]:
    """With AbsTopK on the dense side, and without."""
    sides = {"engine": Side(lambda: engine.open(text[0], text.shape[1]))}
    for name, decoder in dense.items():
        sides[name] = Side(partial(decoder.prefill, text))
        without = copy.copy(decoder)
        without.top_k = False
        sides[f"{name} without"] = Side(partial(without.prefill, text))
    seconds = take_turns(sides, turns=config.pairs, warm_up=1, label="prefill", start=start)
    names = ["engine", *dense]
    bare = {name: seconds[f"{name} without"] for name in dense}
    return {name: seconds[name] for name in names}, {"engine": seconds["engine"], **bare}


def _speedup(seconds: Seconds, bar: float | None, note: str = "") -> Measure:
    """The quickest of the others ÷ the engine."""
    rivals = {name: every for name, every in seconds.items() if name != "engine"}
    best = quickest(rivals)
    said = "; ".join(part for part in (f"beside {best}", note) if part)
    return ratio(rivals[best], seconds["engine"], better="higher", bar=bar, note=said)


def _memory(config: DecodeBench, text: Tokens, start: StartProgress) -> Memory:
    with start("memory", 1) as progress:
        prompt, tokens = text[:, : config.context - config.tokens], config.tokens
        shape = config.model_config_of()
        memory = memory_to_generate(shape, config.share, config.seed, prompt, tokens)
        progress.advance()
    return memory


def _memory_ratios(memory: Memory, dense: int, bar: float | None) -> dict[str, Measure]:
    found = {"memory_ratio": memory.counted}
    if memory.resident is not None:
        found["memory_ratio_resident"] = memory.resident
    return {
        name: Measure(taken / dense, n=1, better="lower", bar=bar) for name, taken in found.items()
    }
