"""Losses while a single weight is ablated: those of the edited model, position by position."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from edited_weights import plain_losses
from wirework.core import Edge
from wirework.core.names import EDGE_BLOCKS
from wirework.explain.model_weight import ModelWeight
from wirework.explain.weight_ablation import WeightAblation
from wirework.explain.window_sample import WindowSample
from wirework.model import ModelConfig, Transformer
from wirework.probing import Feature, LabelledTokens

CONTEXT, VOCABULARY = 12, 20


def random_model(position: str = "concat", **changes: object) -> Transformer:
    given: dict[str, object] = {
        "vocab_size": VOCABULARY, "context": CONTEXT, "n_layer": 2, "d_model": 16, "n_head": 2,
        "d_head": 8, "d_mlp": 24, "position": position, "sink": True, "afrac": 0.5,
    }  # fmt: skip
    if position == "concat":
        given["d_position"] = 4
    model = Transformer(ModelConfig.parse({**given, **changes}), seed=1).double()
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.4, generator=random)
    return model


def random_text(seed: int = 0) -> LabelledTokens:
    """Documents of several lengths, some longer than the context."""
    random = np.random.default_rng(seed)
    lengths = [30, 5, 12, 1, 17]
    return LabelledTokens(
        tokens=random.integers(0, VOCABULARY, sum(lengths)),
        document=np.repeat(np.arange(len(lengths)), lengths),
        position=np.concatenate([np.arange(length) for length in lengths]),
        labels=np.zeros((sum(lengths), 1), np.int8),
        features=(Feature("none", "none", "none"),),
        documents=tuple(map(str, range(len(lengths)))),
        feature_set="none",
    )


def sampled(text: LabelledTokens, most: int = 1000) -> WindowSample:
    return WindowSample.of(text, np.ones(len(text), bool), CONTEXT, most, seed=0)


def every_block(model: Transformer) -> list[Edge]:
    random = np.random.default_rng(3)
    width = model.config.width
    return [
        Edge.parse(
            f"{layer}.{source}:{random.integers(width(source))} -> "
            f"{layer}.{target}:{random.integers(width(target))}"
        )
        for layer, (source, target) in product(range(2), EDGE_BLOCKS)
    ]


@pytest.mark.parametrize("position", ["concat", "add", "none"])
def test_losses_are_those_of_the_edited_model(position: str) -> None:
    """Ablated everywhere, nowhere and somewhere; an edge of every kind, in every layer."""
    model, text = random_model(position), random_text()
    sample = sampled(text)
    assert sorted(sample.rows.tolist()) == list(range(len(text)))
    some = every_block(model)[:: 1 if position == "concat" else 5]
    weights = [ModelWeight.of(model, one) for one in some]
    runs = WeightAblation(model, sample, weights)
    somewhere = np.random.default_rng(4).random(len(text)) < 0.5
    effects = 0.0
    for number, weight in enumerate(weights):
        given_to = weight.value * runs.read[number]
        for off in (np.zeros(len(text), bool), np.ones(len(text), bool), somewhere):
            losses = runs.losses(weight, np.where(off[sample.rows], given_to, 0.0))
            expected = plain_losses(model, text, weight, off)[sample.rows]
            np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
            assert off.any() or np.array_equal(losses, runs.base)
            effects += np.abs(losses - runs.base).sum()
    assert effects > 1


def test_slopes_are_those_of_the_losses() -> None:
    model = random_model(afrac=1.0)
    sample = sampled(random_text())
    weights = [ModelWeight.of(model, one) for one in every_block(model)]
    runs = WeightAblation(model, sample, weights, slopes=True)
    step = 1e-5 * np.eye(len(sample))
    for number, weight in enumerate(weights):
        taken = weight.value * runs.read[number]
        _, without = runs.losses_and_slope(weight, taken)
        for at, slope in ((0.0, runs.slope[number]), (taken, without)):
            place = 3 + number
            up, down = (runs.losses(weight, at + sign * step[place]) for sign in (-1, 1))
            measured = float((up - down).sum()) / 2e-5
            assert slope[place] == pytest.approx(measured, rel=1e-4, abs=1e-6)


def test_windows_are_drawn_whole_and_by_seed() -> None:
    text = random_text()
    allowed = text.document != 0
    few = WindowSample.of(text, allowed, CONTEXT, 15, seed=0)
    assert 15 <= len(few) < 15 + CONTEXT
    assert not (text.document[few.rows] == 0).any()
    assert np.array_equal(few.tokens, text.tokens[few.rows])
    many = sampled(text)
    behind = many.targets >= 0
    assert np.array_equal(many.targets[behind], text.tokens[many.rows[behind] + 1])
    assert (~behind).sum() == len(text.documents)
    flat = np.concatenate([batch[batch >= 0] for batch in many.batches])
    assert sorted(flat.tolist()) == list(range(len(many)))
