"""Gradient scores agree with exact patching: sign, rank, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from test_rankings import SHAPE, constants, exact, flat, parts, random_model, some_prompts
from wirework.ablation import PromptTensors, margins
from wirework.discovery.exact_patching import exact_scores
from wirework.discovery.rankings import VALUES, attribution_scores, integrated_scores
from wirework.model import Taps, Transformer
from wirework.model.means import Means
from wirework.planted import Planted, close_quote, copy_previous, quote_with_decoys


def linear_model() -> Transformer:
    """Every node acts on the margin by itself linearly.

    Queries and keys are zero, so attention is even; neurons stand far on the open side of the
    ReLU; a channel that nothing reads makes up the whole norm, which the gains undo.
    """
    model = random_model(activation="relu", afrac=1.0, sink=False, bigram="none")
    large, width, draw = 1e7, SHAPE["d_model"], torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gain"):
                parameter.fill_(large / width**0.5)
            elif name.endswith("weight"):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
            if name.endswith("qkv.weight"):
                parameter[: 2 * SHAPE["n_head"] * SHAPE["d_head"]] = 0
            if name.endswith(("qkv.weight", "read.weight", "unembedding.weight")):
                parameter[:, 0] = 0
            if name.endswith(("out.weight", "write.weight")):
                parameter[0] = 0
            if name.endswith("read.bias"):
                parameter.fill_(30)
        model.embedding.weight[:, 0] = large
    return model


def test_on_a_linear_model_attribution_is_exact_patching() -> None:
    model, prompts = linear_model(), some_prompts(8)
    means = constants(model)
    truth = flat(exact(model, means, prompts, "margin"))
    found = flat(attribution_scores(model, means, prompts, VALUES["margin"]))
    assert found == pytest.approx(truth, abs=1e-9)
    # All nodes that do anything, beyond rounding.
    acts = np.abs(truth) > 1e-9
    assert acts.sum() > 100
    assert np.array_equal(np.sign(found[acts]), np.sign(truth[acts]))
    assert spearmanr(found, truth).statistic >= 0.99


def test_on_a_linear_model_integrated_gradients_of_one_site_are_exact_patching() -> None:
    """Gates of several sites stand in series, which is linear in each but not in all together."""
    model, prompts = linear_model(), some_prompts(8)
    matter = 0
    for site, mean in constants(model).items():
        means = {site: mean}
        nodes = {site: tuple(range(len(mean)))}
        truth = exact_scores(model, means, prompts, VALUES["margin"], nodes)[site]
        found = integrated_scores(model, means, prompts, VALUES["margin"], 3)[site]
        # The norm hardly moves with what is written, but it does.
        assert found == pytest.approx(truth, abs=1e-6), site
        matter += int((np.abs(truth) > 1e-6).sum())
    assert matter > 100


@pytest.mark.parametrize("metric", ["margin", "loss"])
def test_attribution_adds_up_to_the_first_order_change_of_the_metric(metric: str) -> None:
    """All gates moved together by h change the metric by h times the sum of the scores."""
    model, prompts = random_model(), some_prompts()
    means, step = constants(model), 1e-5
    found = attribution_scores(model, means, prompts, VALUES[metric])
    values = [gated(model, means, prompts, metric, 1 + h) for h in (step, -step)]
    slope = (values[0] - values[1]) / (2 * step)
    assert flat(found).sum() == pytest.approx(slope, rel=1e-6)


def gated(
    model: Transformer, means: Means, prompts: PromptTensors, metric: str, opened: float
) -> float:
    """The metric with every gate at `opened`."""

    def mixed(constant: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return constant + opened * (x - constant)

    replace = {site: partial(mixed, torch.from_numpy(mean)) for site, mean in means.items()}
    with torch.no_grad():
        found = VALUES[metric](margins(model, prompts, Taps(replace=replace)))
    return float(found.mean())


def test_integrated_gradients_add_up_to_model_less_all_cut() -> None:
    model, prompts = linear_model(), some_prompts(8)
    means = constants(model)
    found = integrated_scores(model, means, prompts, VALUES["margin"], 40)
    whole, nothing = (gated(model, means, prompts, "margin", opened) for opened in (1.0, 0.0))
    assert abs(whole - nothing) > 0.1
    assert flat(found).sum() == pytest.approx(whole - nothing, rel=1e-3)


def test_one_point_of_the_integral_is_the_gradient_half_way() -> None:
    model, prompts = random_model(), some_prompts()
    means, step = constants(model), 1e-5
    found = integrated_scores(model, means, prompts, VALUES["margin"], 1)
    values = [gated(model, means, prompts, "margin", 0.5 + h) for h in (step, -step)]
    assert flat(found).sum() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("builder", [close_quote, copy_previous, quote_with_decoys])
def test_gradients_have_the_signs_of_exact_patching_on_planted_models(
    builder: Callable[..., Planted],
) -> None:
    planted = builder()
    model, means, prompts = parts(planted)
    truth = flat(exact(model, means, prompts, "margin"))
    found = flat(attribution_scores(model, means, prompts, VALUES["margin"]))
    matters = np.abs(truth) > 1e-3
    assert np.array_equal(np.sign(found[matters]), np.sign(truth[matters]))
    assert not np.any(np.abs(found[~matters]) > 1e-3)
