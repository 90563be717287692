"""A sparse training step beside a dense one and beside the plain reference, turn by turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from wirework.bench.config import FLOOR, HEAD, BenchConfig
from wirework.bench.machine import describe_machine
from wirework.bench.reference_step import Attend, ReferenceStep
from wirework.bench.turns import Side, milliseconds, quickest, ratio, take_turns
from wirework.core import Report
from wirework.core.progress import StartProgress, silent
from wirework.model import ModelConfig, Transformer
from wirework.model.precision import autocast, resolve_dtype
from wirework.model.threads import threads
from wirework.sparsity import SparseAdamW, SparsityConfig, project
from wirework.training.loss import next_token_loss

_STEPS = 10_000
"""Of the run that the schedules believe in."""

_BATCHES = 4


class TrainBench(BenchConfig):
    """`batch` windows of `context` tokens a step; `dtype` as in `TrainConfig`."""

    usual_density: ClassVar[float] = 1 / 64

    context: int = Field(256, ge=2)
    batch: int = Field(32, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"

    def model_config_of(self, kind: Literal["sparse", "dense"]) -> ModelConfig:
        return ModelConfig(
            vocab_size=self.vocab_size, context=self.context, n_layer=self.layers,
            d_model=self.d_model, n_head=self.d_model // HEAD, d_head=HEAD,
            d_mlp=4 * self.d_model, afrac=0.25 if kind == "sparse" else 1.0,
        )  # fmt: skip

    def sparsity_of(self, kind: Literal["sparse", "dense"]) -> SparsityConfig:
        """The published recipe, at its final density from the first step on."""
        return SparsityConfig(
            density=self.share if kind == "sparse" else 1.0,
            embedding_density=min(1.0, 4 * self.share) if kind == "sparse" else 1.0,
            floor=FLOOR, anneal_start=0.0, anneal_stop=0.0,
        )  # fmt: skip


def bench_train(config: TrainBench | None = None, *, start: StartProgress = silent) -> Report:
    """Ratios of whole steps: forward, loss, backward, optimizer, projection.

    `sparse_over_dense_step`, `reference_over_sparse_step`, and `projection_share`: the projection
    on its own ÷ the sparse step. All models have the same shape, seed and batches.
    """
    config = config or TrainBench()
    machine = describe_machine()
    dtype = resolve_dtype(config.dtype)
    with threads(machine["threads"]):
        reference, tried = _quickest_reference(config, dtype, start)
        seconds = take_turns(
            {
                "sparse": Side(_OurStep(config, "sparse", dtype)),
                "dense": Side(_OurStep(config, "dense", dtype)),
                "reference": Side(reference),
                "projection": _projection(config, dtype),
            },
            turns=config.pairs, warm_up=2, label="steps", start=start,
        )  # fmt: skip
    sparse = seconds["sparse"]
    measures = {
        "sparse_over_dense_step": ratio(
            sparse, seconds["dense"], better="lower", bar=config.bar(1.2)
        ),
        "reference_over_sparse_step": ratio(
            seconds["reference"], sparse, better="higher", bar=config.bar(1.6), note="goal 2.5"
        ),
        "projection_share": ratio(
            seconds["projection"], sparse, better="lower", bar=config.bar(0.08)
        ),
    }
    details = {
        "milliseconds": milliseconds(seconds),
        "reference_attention": reference.attend,
        "reference_attention_tried": tried,
        "density": config.share,
    }
    name = str(dtype).removeprefix("torch.")
    return config.report("train", measures, dtype=name, machine=machine, details=details)


def batches(config: TrainBench) -> list[Tensor]:
    """Windows (batch, context + 1) of random tokens."""
    random = np.random.default_rng([config.seed, 0])
    shape = (_BATCHES, config.batch, config.context + 1)
    return list(torch.from_numpy(random.integers(config.vocab_size, size=shape)))


class _OurStep:
    """The step of `wirework train`, one after another."""

    def __init__(
        self, config: TrainBench, kind: Literal["sparse", "dense"], dtype: torch.dtype
    ) -> None:
        self.model = fresh_model(config, kind, dtype)
        self.optimizer = SparseAdamW(self.model, config.sparsity_of(kind), _STEPS)
        self.dtype = dtype
        self.batches = batches(config)
        self.step = 0

    def __call__(self) -> float:
        with autocast(self.dtype):
            loss = next_token_loss(self.model, self.batches[self.step % _BATCHES])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(self.step)
        self.step += 1
        return float(loss.detach())


@dataclass
class _TheirStep:
    """The reference step, one after another."""

    take: ReferenceStep
    batches: list[Tensor]
    step: int = 0

    @property
    def attend(self) -> Attend:
        return self.take.attend

    def __call__(self) -> float:
        loss = self.take(self.batches[self.step % _BATCHES], self.step)
        self.step += 1
        return loss


def fresh_model(
    config: TrainBench, kind: Literal["sparse", "dense"], dtype: torch.dtype
) -> Transformer:
    model = Transformer(config.model_config_of(kind), seed=config.seed)
    return model.double() if dtype == torch.float64 else model


def _quickest_reference(
    config: TrainBench, dtype: torch.dtype, start: StartProgress
) -> tuple[_TheirStep, dict[str, object]]:
    """The reference with the form of attention that is quicker here, so that it is a fair one."""
    rivals = {}
    for attend in get_args(Attend):
        model = fresh_model(config, "sparse", dtype)
        sparsity = config.sparsity_of("sparse")
        taken = ReferenceStep(model, sparsity, _STEPS, dtype=dtype, attend=attend)
        rivals[attend] = _TheirStep(taken, batches(config))
    seconds = take_turns(
        {name: Side(rival) for name, rival in rivals.items()},
        turns=3, warm_up=1, label="reference attention", start=start,
    )  # fmt: skip
    return rivals[quickest(seconds)], milliseconds(seconds)


def _projection(config: TrainBench, dtype: torch.dtype) -> Side:
    """The projection of all matrices, on weights as Adam leaves them before every turn."""
    step = _OurStep(config, "sparse", dtype)
    step()
    recipe = step.optimizer.config
    step.optimizer = SparseAdamW(step.model, config.sparsity_of("dense"), _STEPS)
    step()  # the same, without projection
    matrices = step.model.projected()
    before = [matrix.weight.detach().clone() for matrix in matrices]

    def restore() -> None:
        with torch.no_grad():
            for matrix, weight in zip(matrices, before, strict=True):
                matrix.weight.copy_(weight)

    def run() -> None:
        for matrix in matrices:
            project(matrix, recipe.final_density(matrix), recipe.floor)

    return Side(run, restore)
