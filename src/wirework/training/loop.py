"""Train a sparse model: the loop, read downward."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from wirework.core import RunRecord, WireworkError
from wirework.core.files import write_json, write_text
from wirework.core.interrupt import Interruptible, interrupted
from wirework.core.progress import StartProgress, silent
from wirework.data import Batches, Corpus, prepare_corpus
from wirework.model import Checkpoint, Transformer
from wirework.model.means import reference_means
from wirework.model.precision import autocast, resolve_dtype
from wirework.plots import draw_training
from wirework.sparsity import SparseAdamW
from wirework.training.config import TrainConfig
from wirework.training.evaluate import evaluate, nonzeros
from wirework.training.loss import next_token_loss
from wirework.training.state import load_state, save_state

LOG_EVERY = 10


def train(
    config: TrainConfig, folder: Path, *, resume: bool = False, start: StartProgress = silent
) -> Checkpoint:
    """Train `config` into `folder`; returns the last checkpoint.

    The folder holds config.json, corpus/, metrics.jsonl, curve.svg, state.safetensors (to resume
    from) and checkpoints/. With `resume` an interrupted run goes on and ends with the bytes of
    an uninterrupted one. Raises `run-exists`, `resume-mismatch`, `density-too-small`,
    `loss-not-finite`, `interrupted` and what the corpus raises.
    """
    folder = Path(folder)
    state = folder / "state.safetensors"
    _check_folder(folder, state, resume)
    model = Transformer(config.model, seed=config.seed)
    optimizer = SparseAdamW(model, config.sparsity, config.steps)  # checks densities first
    write_json(folder / "config.json", config.plain())
    corpus = prepare_corpus(config.corpus, folder / "corpus", start=start)
    _check_vocabulary(config, corpus)
    batches = Batches(corpus.train, batch=config.batch, context=config.model.context,
                      seed=config.seed)  # fmt: skip
    dtype = resolve_dtype(config.dtype)
    if state.exists() and resume:
        first = load_state(state, optimizer, config)
    else:
        first = 0
        if config.bigram_start == "counts":
            start_bigram_from_counts(model, corpus)
    metrics = _Metrics(folder / "metrics.jsonl", first)

    with Interruptible() as stop, start("train", config.steps, first) as progress:
        for step in range(first, config.steps):
            windows = torch.from_numpy(batches(step))
            with autocast(dtype):
                loss = next_token_loss(model, windows)
            loss.backward()  # type: ignore[no-untyped-call]
            value = float(loss.detach())
            if not math.isfinite(value):
                raise _not_finite(step, value, folder)
            figures = optimizer.step(step)
            done = step + 1
            progress.advance(loss=value, density=figures["density"])
            if done % config.validate_every == 0 or done == config.steps:
                figures |= _validate(model, config, corpus)
            if done % LOG_EVERY == 0 or "val_loss" in figures:
                metrics.add({"step": done, "loss": value, **figures})
            due = done % config.checkpoint_every == 0 or done == config.steps
            if due:
                made = _checkpoint(model, config, corpus, batches, done, metrics)
                made.save(checkpoint_path(folder, done))
            if due or stop.requested:
                metrics.save()
                save_state(state, optimizer, done, config)
            if stop.requested and done < config.steps:
                raise interrupted(done, config.steps, "the same command with --resume")
    draw_training(metrics.rows, folder / "curve.svg")
    return Checkpoint.load(checkpoint_path(folder, config.steps))


def checkpoint_path(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:07d}"


def start_bigram_from_counts(model: Transformer, corpus: Corpus) -> None:
    """Fill the bigram table with log p(next | token) of the training text.

    Counts are smoothed with `smoothing` observations of the unigram distribution.
    """
    if model.bigram is None:
        return
    size, smoothing = model.config.vocab_size, 4.0
    tokens = np.asarray(corpus.train, dtype=np.int64)
    pairs = np.bincount(tokens[:-1] * size + tokens[1:], minlength=size * size)
    counts = pairs.reshape(size, size).astype(np.float64)
    unigram = np.bincount(tokens, minlength=size) + 1.0
    smoothed = counts + smoothing * unigram / unigram.sum()
    log_share = np.log(smoothed / (counts.sum(1, keepdims=True) + smoothing))
    with torch.no_grad():
        model.bigram.copy_(torch.from_numpy(log_share.astype(np.float32)))


def _check_folder(folder: Path, state: Path, resume: bool) -> None:
    if (folder / "metrics.jsonl").exists() and not resume:
        raise WireworkError(
            "run-exists",
            f"{folder} already holds a run",
            expected="a new folder",
            got=str(folder),
            hint="--resume to go on with it, or another --out",
        )


def _check_vocabulary(config: TrainConfig, corpus: Corpus) -> None:
    """A small text may fill fewer ids than asked; the rest of the model's stay unused."""
    if corpus.tokenizer.vocab_size > config.model.vocab_size:
        raise WireworkError(
            "vocabulary-mismatch",
            "the corpus has more tokens than the model",
            expected=f"model.vocab_size >= {corpus.tokenizer.vocab_size}",
            got=f"model.vocab_size = {config.model.vocab_size}",
        )


def _validate(model: Transformer, config: TrainConfig, corpus: Corpus) -> dict[str, float]:
    batches = Batches(corpus.validation, batch=config.batch, context=config.model.context, seed=0)
    count = min(config.validation_batches, max(1, batches.windows_per_epoch // config.batch))
    windows: list[Tensor] = [torch.from_numpy(batches(index)) for index in range(count)]
    return evaluate(model, windows, _bytes_per_token(corpus))


def _bytes_per_token(corpus: Corpus) -> float:
    split = corpus.manifest["splits"]["validation"]
    return float(split["bytes"] / split["tokens"])


def _checkpoint(
    model: Transformer,
    config: TrainConfig,
    corpus: Corpus,
    batches: Batches,
    step: int,
    metrics: _Metrics,
) -> Checkpoint:
    texts = (torch.from_numpy(batches(index)[:, :-1]) for index in range(config.mean_batches))
    losses = {**_validate(model, config, corpus), "train_loss": metrics.recent_loss()}
    record = RunRecord.collect(
        seed=config.seed,
        dtype=str(resolve_dtype(config.dtype)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        inputs={"corpus": corpus.hash()},
        config=config.plain(),
        config_hash=config.hash(),
    )
    losses["nonzeros"] = float(sum(nonzeros(model).values()))
    means = reference_means(model, texts)
    return Checkpoint(model, corpus.tokenizer, means, step, losses, record.to_json())


def _not_finite(step: int, value: float, folder: Path) -> WireworkError:
    return WireworkError(
        "loss-not-finite",
        f"the loss became {value} at step {step}; the last saved state is unchanged",
        expected="a finite loss",
        got=str(value),
        hint=f"a lower rate in another folder than {folder}: --set sparsity.lr=2e-3",
    )


class _Metrics:
    """metrics.jsonl: one line per logged step, without times, so that resumed runs are equal."""

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if first and path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            self.rows = [row for row in rows if row["step"] <= first]

    def add(self, row: dict[str, float]) -> None:
        self.rows.append(row)

    def recent_loss(self, count: int = 20) -> float:
        return float(np.mean([row["loss"] for row in self.rows[-count:]]))

    def save(self) -> None:
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in self.rows))
