"""Reference means for a checkpoint that came without: over text of the user's choice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from wirework.core.progress import StartProgress, silent
from wirework.data import Batches, CorpusConfig, prepare_corpus
from wirework.model import Checkpoint, reference_means

_BATCH = 8
_LONGEST = 256
"""Tokens of a window: what the published models were trained on (weight_sparse_paper.md §2.1)."""


def with_means(
    checkpoint: Checkpoint,
    source: str,
    *,
    windows: int = 256,
    seed: int = 0,
    start: StartProgress = silent,
) -> Checkpoint:
    """The same model with its average activations over `source` (as `corpus.source` takes it).

    Over `windows` random windows of at most 256 tokens, rounded up to whole batches. The record
    says which text it was. Raises `split-too-short` and what the corpus raises.
    """
    config = CorpusConfig(source=source, seed=seed)
    length = min(checkpoint.config.context, _LONGEST)
    steps = -(-windows // _BATCH)
    with tempfile.TemporaryDirectory() as folder:
        corpus = prepare_corpus(config, Path(folder) / "corpus", checkpoint.tokenizer, start)
        batches = Batches(corpus.train, batch=_BATCH, context=length, seed=seed)
        with start("means", steps) as progress:

            def rows() -> Iterator[Tensor]:
                for step in range(steps):
                    yield torch.from_numpy(batches(step)[:, :-1])
                    progress.advance()

            means = reference_means(checkpoint.model, rows())
    told = {"source": source, "tokens": steps * _BATCH * length, "corpus": corpus.hash()}
    return replace(checkpoint, means=means, record={**checkpoint.record, "means": told})
