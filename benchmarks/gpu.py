"""Figures of one GPU: a sparse training step beside a dense one, AbsTopK, the projection.

    python benchmarks/gpu.py --out benchmarks/results/gpu.json

Claims: a compiled sparse step takes at most 1.15 times a dense one (d_model 2048, 8 layers,
context 256), AbsTopK takes a fraction of `torch.topk`, the projection at most 8% of the step.
Sides are timed turn by turn with CUDA events, after all of them were compiled and warm. Before
that the kernels are compared with their definitions on the same machine.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from wirework.bench import TrainBench
from wirework.bench.turns import ratio
from wirework.core import Measure, RunRecord, WireworkError
from wirework.core.files import write_json
from wirework.model import Transformer
from wirework.model.abstopk import abs_top_k, keep_factor, keep_factor_plain
from wirework.sparsity import SparseAdamW, projection_factor
from wirework.training.config import TrainConfig
from wirework.training.distributed import World, joined
from wirework.training.execution import ExecutionConfig, Executor

Kind = Literal["sparse", "dense"]

STEPS = 1000
"""Of the run that the learning rate believes in."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--d-model", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64, help="windows of one step")
    parser.add_argument("--pairs", type=int, default=7, help="turns of every side, at least 5")
    parser.add_argument("--repeats", type=int, default=4, help="steps of one turn")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu.json"))
    wanted = parser.parse_args()
    if not torch.cuda.is_available():
        error = WireworkError(
            "device-missing",
            "these are figures of a GPU, and there is none that this PyTorch can use",
            expected="a CUDA device and a CUDA build of PyTorch",
            got=f"torch {torch.__version__}",
            hint="wirework bench train",
        )
        raise SystemExit(str(error))
    config = TrainBench(
        d_model=wanted.d_model, layers=wanted.layers, context=wanted.context,
        batch=wanted.batch, pairs=wanted.pairs,
    )  # fmt: skip
    with joined("none", "cuda") as world:
        check_kernels(config, world)
        measures = {
            **measure_steps(config, world, wanted.repeats),
            **measure_abs_top_k(config, world),
        }
    record = RunRecord.collect(
        seed=config.seed, dtype="bfloat16", threads=torch.get_num_threads(), config=config.plain()
    )
    results = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "measures": {name: measure.to_json() for name, measure in measures.items()},
        "provenance": record.to_json(),
    }
    write_json(wanted.out, results)
    print(json.dumps(results, indent=1))


def take_turns(
    sides: dict[str, Callable[[], object]], *, turns: int, repeats: int, warm_up: int = 3
) -> dict[str, list[float]]:
    """Milliseconds that each side takes, once a turn, the mean of `repeats` runs in a row."""
    for side in sides.values():
        for _ in range(warm_up):
            side()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(turns):
        for name, side in sides.items():
            begin, end = event(), event()
            torch.cuda.synchronize()
            begin.record()
            for _ in range(repeats):
                side()
            end.record()
            torch.cuda.synchronize()
            taken[name].append(begin.elapsed_time(end) / repeats)
    return taken


def event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def check_kernels(config: TrainBench, world: World) -> None:
    """The kernels against their definitions, on rows that tie and on a matrix after a step."""
    x = torch.randn(512, 4 * config.d_model, device=world.device).bfloat16()
    k = x.shape[1] // 4
    assert torch.equal(keep_factor(x, k), keep_factor_plain(x, k)), "AbsTopK is wrong here"
    weight = torch.randn(config.d_model, 3 * config.d_model, device=world.device)
    for values in (weight, weight.bfloat16()):
        k = int(values.numel() * config.share)
        for axis in (0, 1):
            fast = projection_factor(values, k, 4, axis).cpu()
            assert torch.equal(fast, projection_factor(values.cpu(), k, 4, axis)), "projection"


class Step:
    """Steps of `wirework train --compile`, one after another, always on the same windows."""

    def __init__(
        self, config: TrainBench, world: World, *, activations: Kind, weights: Kind
    ) -> None:
        recipe = TrainConfig(
            steps=STEPS, batch=config.batch, model=config.model_config_of(activations),
            sparsity=config.sparsity_of(weights), dtype="bfloat16",
        )  # fmt: skip
        model = Transformer(recipe.model)
        execution = ExecutionConfig(compile=True, device="cuda")
        self.executor = Executor(model, recipe, execution, world)
        self.optimizer = SparseAdamW(model, recipe.sparsity, STEPS)
        random = torch.Generator().manual_seed(config.seed)
        shape = (config.batch, config.context + 1)
        windows = torch.randint(recipe.model.vocab_size, shape, generator=random)
        self.windows = windows.to(world.device)
        self.number = 0

    def __call__(self) -> None:
        self.executor.backward(self.windows)
        self.optimizer.step(self.number % STEPS)
        self.number += 1


def measure_steps(config: TrainBench, world: World, repeats: int) -> dict[str, Measure]:
    """Sparse ÷ dense, and what of the sparse step is projection and what AbsTopK.

    Both shares are differences of whole steps, launches and lost fusions included.
    """
    taken = take_turns(
        {
            "sparse": Step(config, world, activations="sparse", weights="sparse"),
            "unprojected": Step(config, world, activations="sparse", weights="dense"),
            "dense": Step(config, world, activations="dense", weights="dense"),
        },
        turns=config.pairs,
        repeats=repeats,
    )
    sparse, unprojected, dense = taken["sparse"], taken["unprojected"], taken["dense"]
    asked = (config.d_model, config.layers, config.context) == (2048, 8, 256)
    return {
        "sparse_over_dense_step": ratio(sparse, dense, better="lower", bar=1.15 if asked else None),
        "projection_share": ratio(
            difference(sparse, unprojected), sparse, better="lower", bar=0.08 if asked else None
        ),
        "abs_top_k_share": ratio(difference(unprojected, dense), sparse, better="lower"),
        "sparse_step_ms": plain(sparse),
        "dense_step_ms": plain(dense),
    }


def difference(above: list[float], below: list[float]) -> list[float]:
    return [a - b for a, b in zip(above, below, strict=True)]


def plain(milliseconds: list[float]) -> Measure:
    """The median itself, with its interval."""
    return ratio(milliseconds, [1.0] * len(milliseconds), better="lower")


def measure_abs_top_k(config: TrainBench, world: World) -> dict[str, Measure]:
    """Beside `torch.topk`, and beside a copy of the same rows, at both widths of the model."""
    measures = {}
    for width in (config.d_model, 4 * config.d_model):
        x = torch.randn(config.batch * config.context, width, device=world.device).bfloat16()
        k = width // 4

        def published(x: Tensor = x, k: int = k) -> Tensor:
            chosen = x.abs().topk(k, dim=-1, sorted=False).indices
            return torch.zeros_like(x).scatter_(-1, chosen, x.gather(-1, chosen))

        def ours(x: Tensor = x, k: int = k) -> Tensor:
            return abs_top_k(x, k)

        taken = take_turns(
            {"ours": ours, "topk": published, "copy": x.clone}, turns=config.pairs, repeats=20
        )
        measures[f"topk_over_abs_top_k@{width}"] = ratio(
            taken["topk"], taken["ours"], better="higher"
        )
        measures[f"copy_over_abs_top_k@{width}"] = ratio(
            taken["copy"], taken["ours"], better="higher"
        )
        measures[f"abs_top_k_ms@{width}"] = plain(taken["ours"])
    return measures


if __name__ == "__main__":
    main()
