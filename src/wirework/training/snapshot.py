"""What a running model is worth: figures on held-out text, and the checkpoint made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from wirework.core import RunRecord
from wirework.data import Batches, Corpus
from wirework.model import Checkpoint, Transformer
from wirework.model.means import reference_means
from wirework.training.config import TrainConfig
from wirework.training.evaluate import evaluate, nonzeros
from wirework.training.execution import Executor


def held_out(
    model: Transformer, config: TrainConfig, corpus: Corpus, executor: Executor
) -> dict[str, float]:
    """Figures of the whole model on the first validation batches."""
    batches = Batches(corpus.validation, batch=config.batch, context=config.model.context, seed=0)
    count = min(config.validation_batches, max(1, batches.windows_per_epoch // config.batch))
    split = corpus.manifest["splits"]["validation"]
    windows = _passes(batches, count, executor)
    return evaluate(model, windows, float(split["bytes"] / split["tokens"]))


def snapshot(
    model: Transformer,
    config: TrainConfig,
    corpus: Corpus,
    executor: Executor,
    step: int,
    losses: dict[str, float],
) -> Checkpoint:
    """The whole model after `step` steps, with its reference means and where it came from."""
    batches = Batches(
        corpus.train, batch=config.batch, context=config.model.context, seed=config.seed
    )
    texts = (windows[:, :-1] for windows in _passes(batches, config.mean_batches, executor))
    means = reference_means(model, texts)
    device = executor.world.device
    record = RunRecord.collect(
        seed=config.seed,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        dtype=str(executor.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={"corpus": corpus.hash()},
        config=config.plain(),
        config_hash=config.hash(),
    )
    losses = {**losses, "nonzeros": float(sum(nonzeros(model).values()))}
    plain: dict[str, Any] = {**record.to_json(), "execution": executor.record}
    return Checkpoint(model, corpus.tokenizer, means, step, losses, plain)


def _passes(batches: Batches, count: int, executor: Executor) -> Iterator[Tensor]:
    """Windows of the first `count` batches on the device, as many at once as in training."""
    for index in range(count):
        windows = torch.from_numpy(batches(index)).to(executor.world.device)
        yield from torch.split(windows, executor.micro_batch)
