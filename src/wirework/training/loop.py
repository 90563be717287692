"""Train a sparse model: the loop, read downward."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from wirework.core import WireworkError
from wirework.core.files import write_json
from wirework.core.interrupt import interrupted
from wirework.core.progress import StartProgress, silent
from wirework.data import Batches, Corpus, Tokenizer, prepare_corpus
from wirework.model import Checkpoint, Transformer
from wirework.plots import draw_training
from wirework.sparsity import SparseAdamW
from wirework.sparsity.optimizer import check_densities
from wirework.training.config import TrainConfig
from wirework.training.distributed import World, joined
from wirework.training.execution import ExecutionConfig, Executor, check_shares
from wirework.training.failures import first_not_finite, memory_told, rows_that_fit
from wirework.training.metrics import Metrics
from wirework.training.runs import checkpoint_path, open_origin
from wirework.training.snapshot import held_out, snapshot
from wirework.training.state import read_state, restore, save_state

LOG_EVERY = 10


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    start: StartProgress = silent,
    execution: ExecutionConfig | None = None,
) -> Checkpoint:
    """Train `config` into `folder`; returns the last checkpoint.

    The folder holds config.json, corpus/, metrics.jsonl, curve.svg, state.safetensors (to resume
    from) and checkpoints/. With `resume` an interrupted run goes on, and ends with the bytes of
    an uninterrupted one where it is executed in the same way. Under a launcher such as
    `torchrun` every process calls this, with a folder that all of them see; one of them raises
    what goes wrong, and the others end with exit code 1.

    Raises `run-exists`, `resume-mismatch`, `state-mismatch`, `density-too-small`,
    `loss-not-finite`, `gradient-not-finite`, `out-of-memory`, `model-too-large`, `interrupted`,
    and what the corpus, `open_origin`, `joined` and `check_shares` raise.
    """
    execution = execution or ExecutionConfig()
    with joined(execution.parallel, execution.device) as world:
        return _train(
            config, Path(folder), resume, start if world.first else silent, execution, world
        )


def _train(
    config: TrainConfig,
    folder: Path,
    resume: bool,
    start: StartProgress,
    execution: ExecutionConfig,
    world: World,
) -> Checkpoint:
    state = folder / "state.safetensors"
    _check_folder(folder, resume)
    check_shares(config, execution, world)
    saved = read_state(state, config) if resume and state.exists() else None
    origin = open_origin(config) if config.start_from else None
    with memory_told():
        model = Transformer(config.model, seed=config.seed)
    check_densities(model, config.sparsity)
    tokenizer = None if origin is None else origin.tokenizer
    corpus = _prepare(config, folder, tokenizer, start, world)
    batches = Batches(
        corpus.train, batch=config.batch, context=config.model.context, seed=config.seed
    )
    with memory_told():
        if origin is not None:
            model.load_state_dict(origin.model.state_dict())
        elif saved is None and config.bigram_start == "counts":
            start_bigram_from_counts(model, corpus)
        executor = Executor(model, config, execution, world)
        optimizer = SparseAdamW(executor.model, config.sparsity, config.steps)
        first = restore(saved, optimizer) if saved is not None else 0
    saved = None  # as large as the model and its moments
    metrics = Metrics(folder / "metrics.jsonl", first)

    with (
        world.interruptible() as stop,
        start("train", config.steps, first) as progress,
        memory_told(executor.micro_batch, lambda: rows_that_fit(executor, optimizer, batches(0))),
    ):
        for step in range(first, config.steps):
            loss = executor.backward(executor.share(batches(step)))
            figures = optimizer.step(step) if math.isfinite(loss) else {}
            if not math.isfinite(figures.get("gradient_rms", loss)):
                save_state(folder / "not-finite.safetensors", optimizer, step, config, world)
                raise _not_finite(step, loss, first_not_finite(executor, batches(step)), config)
            done = step + 1
            progress.advance(loss=loss, density=figures["density"])
            due = done % config.checkpoint_every == 0 or done == config.steps
            validating = due or done % config.validate_every == 0
            whole = executor.whole() if validating else None  # None but on the first process
            with world.alone(validating):
                if whole is not None:
                    measured = held_out(whole, config, corpus, executor)
                    figures |= measured
            if validating or done % LOG_EVERY == 0:
                metrics.add({"step": done, "loss": loss, **figures})
            with world.alone(due):
                if whole is not None and due:
                    losses = {**measured, "train_loss": metrics.recent_loss()}
                    made = snapshot(whole, config, corpus, executor, done, losses)
                    made.save(checkpoint_path(folder, done))
            stopping = world.any(stop.requested)
            if world.first and (validating or stopping):
                metrics.save()
            if due or stopping:
                save_state(state, optimizer, done, config, world)
            if stopping and done < config.steps:
                raise interrupted(done, config.steps, "the same command with --resume")
    with world.alone() as mine:
        if mine:
            draw_training(metrics.rows, folder / "curve.svg")
    return Checkpoint.load(checkpoint_path(folder, config.steps))


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


def _prepare(
    config: TrainConfig,
    folder: Path,
    tokenizer: Tokenizer | None,
    start: StartProgress,
    world: World,
) -> Corpus:
    """The first process writes the configuration and prepares the corpus; the others open it."""
    place = folder / "corpus"
    with world.alone() as mine:
        if mine:
            write_json(folder / "config.json", config.plain())
            corpus = prepare_corpus(config.corpus, place, tokenizer, start)
    if not mine:
        corpus = Corpus.open(place)
    # A small text may fill fewer ids than asked; the rest of the model's stay unused.
    if corpus.tokenizer.vocab_size > config.model.vocab_size:
        raise WireworkError(
            "vocabulary-mismatch",
            "the corpus has more tokens than the model",
            expected=f"model.vocab_size >= {corpus.tokenizer.vocab_size}",
            got=f"model.vocab_size = {config.model.vocab_size}",
        )
    return corpus


def _check_folder(folder: Path, resume: bool) -> None:
    if (folder / "metrics.jsonl").exists() and not resume:
        raise WireworkError(
            "run-exists",
            f"{folder} already holds a run",
            expected="a new folder",
            got=str(folder),
            hint="--resume to go on with it, or another --out",
        )


def _not_finite(step: int, loss: float, culprit: str, config: TrainConfig) -> WireworkError:
    lower = f"{config.sparsity.lr / 4:.3g}"
    if math.isfinite(loss):
        return WireworkError(
            "gradient-not-finite",
            f"the gradients of step {step} are not finite, the first of them {culprit}; "
            "not-finite.safetensors holds the run as it was then, the last state is unchanged",
            expected="finite gradients",
            got=f"{culprit}; the loss was {loss:.4g}",
            hint=f"a lower rate in another --out: --set sparsity.lr={lower}",
        )
    return WireworkError(
        "loss-not-finite",
        f"the loss became {loss} at step {step}, and {culprit} was the first not to be finite; "
        "not-finite.safetensors holds the run as it was then, the last state is unchanged",
        expected="a finite loss",
        got=f"{loss}, from {culprit}",
        hint=f"a lower rate in another --out: --set sparsity.lr={lower}",
    )
