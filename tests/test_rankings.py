"""Rankings against the oracle (exact patching by hand), planted circuits, CPR and CMD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from wirework.ablation import PromptTensors, keep_taps, margins
from wirework.core import Node, Site, WireworkError
from wirework.core.names import sites
from wirework.discovery import DiscoveryConfig
from wirework.discovery.bench import Bench
from wirework.discovery.discretise import Scores, ranked
from wirework.discovery.exact_patching import exact_scores
from wirework.discovery.faithfulness import cmd, cpr, faithfulness_of
from wirework.discovery.rankings import (
    METHODS,
    VALUES,
    RankingConfig,
    in_order,
    magnitude_scores,
    rank_nodes,
)
from wirework.model import ModelConfig, Taps, Transformer
from wirework.model.layers import Layer
from wirework.model.means import Means
from wirework.planted import Planted, close_quote, copy_previous, quote_with_decoys, twin_values
from wirework.tasks import Prompts

SHAPE: dict[str, Any] = {
    "vocab_size": 20, "context": 8, "n_layer": 2, "d_model": 12, "n_head": 2, "d_head": 4,
    "d_mlp": 16, "bigram": "learned",
}  # fmt: skip


def random_model(**changes: Any) -> Transformer:
    model = Transformer(ModelConfig.parse({**SHAPE, **changes}), seed=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model


def some_prompts(pairs: int = 3) -> PromptTensors:
    """Rows of different lengths."""
    random = np.random.default_rng(0)
    ids = np.stack([random.permutation(20)[:2] for _ in range(2 * pairs)]).astype(np.int64)
    return PromptTensors.of(
        Prompts(
            tokens=random.integers(0, 20, (2 * pairs, 8)),
            last=random.integers(2, 8, 2 * pairs),
            wanted=ids[:, :1],
            other=ids[:, 1:],
            template=np.arange(2 * pairs) % 2,
        )
    )


def constants(model: Transformer) -> Means:
    random = np.random.default_rng(0)
    return {
        site: random.normal(size=model.config.width(site.kind)).astype(np.float32)
        for site in sites(model.config.n_layer)
    }


def every_node(means: Means) -> dict[Site, tuple[int, ...]]:
    return {site: tuple(range(len(mean))) for site, mean in means.items()}


def flat(scores: Scores) -> NDArray[np.float64]:
    return np.concatenate([scores[site] for site in sorted(scores)])


def exact(model: Transformer, means: Means, prompts: PromptTensors, metric: str) -> Scores:
    return exact_scores(model, means, prompts, VALUES[metric], every_node(means))


SWITCHES: list[dict[str, Any]] = [
    {},
    {"position": "concat", "position_table": "sinusoidal", "d_position": 4},
    {"position": "add", "sink": False, "norm": "layer"},
    {"afrac_places": ["attn.in", "mlp.neuron", "resid.attn", "resid.mlp"], "residual": "relu"},
]


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_exact_scores_are_those_of_cutting_one_node_after_the_other(
    changes: dict[str, Any],
) -> None:
    model, prompts = random_model(**changes), some_prompts()
    means = constants(model)
    found = {metric: exact(model, means, prompts, metric) for metric in VALUES}
    with torch.no_grad():
        whole = margins(model, prompts)
        for site, mean in means.items():
            for index in range(0, len(mean), 3):
                keep = {s: np.ones(len(m), dtype=np.bool_) for s, m in means.items()}
                keep[site][index] = False
                cut = margins(model, prompts, keep_taps(keep, means)())
                for metric, value in VALUES.items():
                    lost = float((value(whole) - value(cut)).mean())
                    assert found[metric][site][index] == pytest.approx(lost, abs=1e-9), site


def test_only_nodes_on_the_given_paths_are_tried() -> None:
    model, prompts = random_model(), some_prompts()
    means, site = constants(model), Site(1, "mlp.neuron")
    found = exact_scores(model, means, prompts, VALUES["margin"], {site: (3, 5)})
    whole = exact(model, means, prompts, "margin")
    assert found[site][[3, 5]] == pytest.approx(whole[site][[3, 5]])
    assert sum(np.count_nonzero(values) for values in found.values()) == 2


def test_a_node_that_stands_at_its_constant_scores_zero() -> None:
    model, prompts = random_model(bias=False, activation="relu"), some_prompts()
    means, site = constants(model), Site(0, "mlp.neuron")
    layer = model.layers[0]
    assert isinstance(layer, Layer)
    with torch.no_grad():
        layer.mlp.read.weight[4] = 0
    means[site][4] = 0
    assert exact(model, means, prompts, "margin")[site][4] == 0


def parts(planted: Planted) -> tuple[Transformer, Means, PromptTensors]:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    return checkpoint.model, checkpoint.means, PromptTensors.of(encoded.fit)


def test_padding_does_not_count_in_magnitudes() -> None:
    model, prompts = random_model(), some_prompts()
    means = constants(model)
    found = magnitude_scores(model, means, prompts)
    sums = {site: np.zeros(len(mean)) for site, mean in means.items()}
    for row, last in enumerate(prompts.last.tolist()):
        taps = Taps(record=means)
        with torch.no_grad():
            model.read_out(prompts.tokens[row : row + 1, : last + 1], taps)
        for site, value in taps.values.items():
            sums[site] += np.abs(value[0].numpy() - means[site]).sum(axis=0)
    tokens = int((prompts.last + 1).sum())
    for site, values in sums.items():
        assert found[site] == pytest.approx(values / tokens)


QUOTE = ["read opening", "read kind", "key", "value", "write answer", "final answer"]
TRUTH: dict[Callable[..., Planted], list[str]] = {
    close_quote: [*QUOTE, "read double", "neuron", "write kind"],
    quote_with_decoys: QUOTE,
    twin_values: [*QUOTE, "value twin"],
    copy_previous: [
        "query 0", "query 1", "key 0", "key 1", "read x", "read y", "value x", "value y",
        "write x", "write y", "final x", "final y",
    ],
}  # fmt: skip


@pytest.mark.parametrize("metric", ["margin", "loss"])
@pytest.mark.parametrize("builder", TRUTH, ids=lambda builder: builder.__name__)
def test_the_planted_circuit_has_the_top_exact_scores(
    builder: Callable[..., Planted], metric: str
) -> None:
    planted = builder()
    scores = scores_of(planted, "exact", RankingConfig.parse({"metric": metric}))
    truth = planted.nodes(*TRUTH[builder])
    assert best(scores, len(truth)) == truth
    low = min(scores[node.site][node.index] for node in truth)
    assert low > 0


def scores_of(planted: Planted, method: str, config: RankingConfig, seed: int = 0) -> Scores:
    return rank_nodes(bench_of(planted), method, config, seed=seed)


def bench_of(planted: Planted, **changes: Any) -> Bench:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    config = DiscoveryConfig(faithfulness=0, dtype="float32").replace(**changes)
    return Bench.of(checkpoint, encoded, config)


def best(scores: Scores, k: int) -> frozenset[Node]:
    keep = ranked(scores)(k)
    return frozenset(Node(site, int(i)) for site, m in keep.items() for i in np.flatnonzero(m))


@pytest.mark.parametrize("method", METHODS)
def test_scores_are_one_number_a_node_and_repeat(method: str) -> None:
    planted, config = quote_with_decoys(), RankingConfig(points=3)
    found, again, other = (scores_of(planted, method, config, seed) for seed in (0, 0, 1))
    means = planted.checkpoint.means
    assert {site: values.shape for site, values in found.items()} == {
        site: mean.shape for site, mean in means.items()
    }
    assert np.isfinite(flat(found)).all()
    assert np.array_equal(flat(found), flat(again))
    assert np.array_equal(flat(found), flat(other)) is (method != "random")


def test_an_unknown_method_is_named_with_the_known_ones() -> None:
    with pytest.raises(WireworkError, match="method-unknown") as caught:
        scores_of(quote_with_decoys(), "atribution", RankingConfig())
    assert "attribution" in str(caught.value)


def test_order_of_signed_scores() -> None:
    scores = {Site(0, "attn.q"): np.array([0.5, -2.0, 0.0])}
    assert best(in_order(scores, "signed"), 1) == {Node(Site(0, "attn.q"), 0)}
    assert best(in_order(scores, "absolute"), 1) == {Node(Site(0, "attn.q"), 1)}


def test_cpr_and_cmd_of_the_useless_and_the_perfect_circuit() -> None:
    """circuit_tools.md §6.3, T-MIB."""
    useless, perfect = [0.0] * 9 + [1.0], [1.0] * 10
    assert cpr(useless) == pytest.approx(0.250, abs=1e-12)
    assert cmd(useless) == pytest.approx(0.749, abs=1e-12)
    assert cpr(perfect) == pytest.approx(0.999, abs=1e-12)
    assert cmd(perfect) == 0


def test_cpr_by_hand() -> None:
    heights = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 1.4, 1.4, 1.0]
    area = 0.099 * 0.2 + 0.1 * 0.8 + 0.3 * 1.4 + 0.5 * 1.2
    distance = 0.099 * 0.8 + 0.1 * 0.6 + 0.3 * 0.4 + 0.5 * 0.2
    assert cpr(heights) == pytest.approx(area)
    assert cmd(heights) == pytest.approx(distance)


def test_faithfulness_by_hand() -> None:
    rows = np.array([[1.0, 5.0, 3.0, 5.0], [-1.0, 3.0, -1.0, 7.0]])
    assert faithfulness_of(rows) == pytest.approx([0.25, 1.5])
    assert np.isnan(faithfulness_of(np.ones((2, 4)))).all()
