"""A training run as one configuration, and the presets."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from wirework.core import Config, WireworkError
from wirework.data import CorpusConfig
from wirework.model import ModelConfig
from wirework.sparsity import SparsityConfig


class TrainConfig(Config):
    """Everything that decides a run's weights.

    `steps` of `batch` windows of `model.context` tokens. `bigram_start`: `random` (published) or
    `counts`, the log of smoothed bigram counts of the training text. `checkpoint_every` and
    `validate_every` count steps. `mean_batches`: batches of training text behind the reference
    means. `dtype` `auto` is bfloat16 where the machine has a unit for it (design §6); `float64`
    computes and keeps everything so, for checks. `start_from`: a model as `load_checkpoint` takes
    it, whose weights and tokenizer the run starts from. Not what a run is executed on: that is
    `ExecutionConfig`.
    """

    name: str = "custom"
    steps: int = Field(1000, ge=1)
    batch: int = Field(32, ge=1)
    seed: int = 0
    model: ModelConfig = ModelConfig()
    sparsity: SparsityConfig = SparsityConfig()
    corpus: CorpusConfig = CorpusConfig()
    bigram_start: Literal["random", "counts"] = "random"
    start_from: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    checkpoint_every: int = Field(500, ge=1)
    validate_every: int = Field(100, ge=1)
    validation_batches: int = Field(8, ge=1)
    mean_batches: int = Field(16, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.vocab_size != self.corpus.vocab_size:
            raise WireworkError(
                "vocabulary-mismatch",
                "the model and the corpus disagree on the size of the vocabulary",
                expected=f"corpus.vocab_size = {self.model.vocab_size}",
                got=f"corpus.vocab_size = {self.corpus.vocab_size}",
            )
        return self
