"""The transformer: AbsTopK with its tie rule, sinks on every path, taps, positions, switches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from wirework.core import Site, WireworkError
from wirework.core.names import sites
from wirework.model import ModelConfig, Taps, Transformer
from wirework.model.abstopk import abs_top_k, keep_factor, keep_factor_plain
from wirework.model.attention import attend, attend_fused, attend_plain
from wirework.model.cross_entropy import next_token_loss, next_token_loss_plain
from wirework.model.means import reference_means
from wirework.model.norm import rms_norm, rms_norm_plain

SMALL: dict[str, Any] = {
    "vocab_size": 40, "context": 12, "n_layer": 2, "d_model": 16, "n_head": 2, "d_head": 8,
    "d_mlp": 32, "d_position": 6,
}  # fmt: skip


def build(**changes: Any) -> Transformer:
    return Transformer(ModelConfig.parse({**SMALL, **changes}), seed=1).double()


def tokens(batch: int = 3, length: int = 10) -> torch.Tensor:
    return torch.randint(0, 40, (batch, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@given(
    values=arrays(np.float32, (5, 24), elements=st.integers(-4, 4).map(float)),
    k=st.integers(1, 24),
)
def test_abs_top_k_keeps_exactly_k_and_breaks_ties_by_index(
    dtype: torch.dtype, values: np.ndarray[Any, Any], k: int
) -> None:
    x = torch.from_numpy(values).to(dtype)
    fast, plain = keep_factor(x, k), keep_factor_plain(x, k)
    assert torch.equal(fast, plain)
    assert torch.all(fast.sum(-1) == k)


@given(values=arrays(np.float64, (3, 33), elements=st.floats(-1e300, 1e300)), k=st.integers(1, 33))
def test_abs_top_k_orders_any_magnitudes(values: np.ndarray[Any, Any], k: int) -> None:
    x = torch.from_numpy(values)
    assert torch.equal(keep_factor(x, k), keep_factor_plain(x, k))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("width", [7, 96, 1000])
def test_abs_top_k_is_x_times_factor_in_value_and_gradient(dtype: torch.dtype, width: int) -> None:
    """Many rows of very different sizes, which stand apart in memory, some of them all zero."""
    draw = torch.Generator().manual_seed(width)
    x = torch.randn(2, 70, 3 * width, generator=draw) * torch.logspace(-20, 20, 70)[:, None]
    x[:, 30:34] = 0
    x[:, ::5] = x[:, ::5].round()
    part = x.to(dtype)[..., width : 2 * width].requires_grad_()
    weight = torch.randn(2, 70, width, generator=draw).to(dtype)
    for k in (1, width // 4 + 1, width - 1):
        kept = abs_top_k(part, k)
        (slope,) = torch.autograd.grad((kept * weight).sum(), part)
        factor = keep_factor_plain(part, k)
        assert torch.equal(kept, part * factor)
        assert torch.equal(slope, weight * factor)


def test_abs_top_k_passes_gradients_only_to_survivors() -> None:
    x = torch.tensor([[3.0, -5.0, 1.0, 5.0]], requires_grad=True)
    y = abs_top_k(x, 2)
    assert y.tolist() == [[0.0, -5.0, 0.0, 5.0]]
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 1.0, 0.0, 1.0]]


def test_abs_top_k_off_changes_nothing() -> None:
    x = torch.randn(2, 5)
    assert abs_top_k(x, None) is x


@pytest.mark.parametrize("width", [5, 32])
def test_fused_rms_norm_is_the_plain_one(width: int) -> None:
    draw = torch.Generator().manual_seed(width)
    x, weight = torch.randn(2, 3, 50, width, generator=draw, dtype=torch.float64)
    gain = torch.randn(width, generator=draw, dtype=torch.float64)
    results = []
    for path in (rms_norm_plain, rms_norm):
        inputs = [x.clone().requires_grad_(), gain.clone().requires_grad_()]
        out = path(*inputs)
        results.append([out, *torch.autograd.grad((out * weight).sum(), inputs)])
    for expected, found in zip(*results, strict=True):
        assert (expected - found).abs().max() < 1e-12
    with torch.autocast("cpu", torch.bfloat16):
        halves = rms_norm(x.float(), gain.float())
    assert torch.equal(halves, rms_norm(x.float(), gain.float()).bfloat16())


@pytest.mark.parametrize("with_sink", [False, True])
@pytest.mark.parametrize("width", [3, 8, 16])
def test_all_attention_paths_compute_the_same(with_sink: bool, width: int) -> None:
    """Values and gradients, over rows that cross the width of the kernel's vectors."""
    draw = torch.Generator().manual_seed(width)
    parts = [torch.randn(2, 4, 70, width, generator=draw).double() for _ in range(3)]
    parts += [torch.randn(4, generator=draw).double()] if with_sink else []
    weight = torch.randn(2, 4, 70, width, generator=draw).double()
    results = []
    for path in (attend_plain, attend_fused, attend):
        q, k, v, *sink = inputs = [part.clone().requires_grad_() for part in parts]
        out = path(q, k, v, sink[0] if with_sink else None)
        results.append([out, *torch.autograd.grad((out * weight).sum(), inputs)])
    for other in results[1:]:
        for expected, found in zip(results[0], other, strict=True):
            assert (expected - found).abs().max() < 1e-11


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bigram", [None, "frozen", "learned"])
def test_fused_loss_is_the_plain_one(dtype: torch.dtype, bigram: str | None) -> None:
    draw = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(50, 37, generator=draw)).to(dtype)
    tokens, targets = torch.randint(0, 37, (2, 50), generator=draw)
    kind = torch.float64 if dtype == torch.float64 else torch.float32
    table = torch.randn(37, 37, generator=draw).to(kind).requires_grad_(bigram == "learned")
    results = []
    for path in (next_token_loss_plain, next_token_loss):
        inputs = [logits.clone().requires_grad_()] + [table] * (bigram == "learned")
        loss = path(inputs[0], tokens, targets, None if bigram is None else table)
        results.append([loss.detach(), *torch.autograd.grad(3 * loss, inputs)])
    allowed = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 1e-3}[dtype]
    for expected, found in zip(*results, strict=True):
        assert (expected.double() - found.double()).abs().max() < allowed


def test_model_with_targets_gives_the_loss_of_its_logits() -> None:
    model = build().double()
    before, after = tokens()[:, :-1], tokens()[:, 1:]
    with torch.no_grad():
        logits, loss = model(before), model(before, targets=after)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), after.flatten())
    assert float(loss) == pytest.approx(float(expected), abs=1e-12)


def test_sink_takes_its_share_of_the_first_token() -> None:
    """One key besides the sink: its share is exp(s) / (exp(s) + exp(sink))."""
    q = k = torch.ones(1, 1, 1, 4)
    v = torch.full((1, 1, 1, 4), 2.0)
    score, sink = 4 * 4**-0.5, 0.7
    expected = 2 * np.exp(score) / (np.exp(score) + np.exp(sink))
    for path in (attend_plain, attend_fused, attend):
        out = path(q, k, v, torch.tensor([sink]))
        assert out.flatten().tolist() == pytest.approx([expected] * 4, rel=1e-6)


def test_attention_never_looks_ahead() -> None:
    model = build()
    first = tokens()
    second = first.clone()
    second[:, -1] = (second[:, -1] + 1) % 40
    with torch.no_grad():
        gap = (model(first) - model(second)).abs().amax((0, 2))
    assert gap[:-1].max() == 0
    assert gap[-1] > 0


SWITCHES: list[dict[str, Any]] = [
    {},
    {"sink": False},
    {"bias": False},
    {"activation": "relu"},
    {"bigram": "none"},
    {"bigram": "frozen"},
    {"afrac": 1.0},
    {"position": "add"},
    {"position": "concat"},
    {"position": "concat", "position_table": "sinusoidal"},
    {"afrac_places": ["attn.in", "mlp.in", "resid.attn", "resid.mlp"]},
]


@pytest.mark.parametrize("changes", SWITCHES, ids=str)
def test_engine_equals_the_model(changes: dict[str, Any]) -> None:
    from wirework.engine import forward
    from wirework.model import sparse

    model = build(**changes)
    places = sites(2)
    taps = Taps(record=places)
    with torch.no_grad():
        logits = model(tokens(), taps).numpy()
    trace = forward(sparse(model), tokens().numpy(), dtype=np.float64, record=True)
    assert np.abs(trace.logits - logits).max() < 1e-9
    for site in places:
        assert np.abs(trace.sites[site] - taps.values[site].numpy()).max() < 1e-9, site


def test_every_site_respects_its_share() -> None:
    model = build()
    taps = Taps(record=sites(2))
    model(tokens(), taps)
    for site, value in taps.values.items():
        kept = model.config.kept(site.kind)
        if kept is not None and site.kind != "final":
            assert int((value != 0).sum(-1).max()) <= kept, site


def test_taps_replace_then_record_and_reach_gradients() -> None:
    model = build()
    site = Site(1, "mlp.neuron")
    taps = Taps(replace={site: lambda x: x * 0 + 0.5}, record=[site], grad=[Site(0, "attn.out")])
    model(tokens(), taps).sum().backward()
    assert torch.all(taps.values[site] == 0.5)
    inner = taps.values[Site(0, "attn.out")].grad
    assert inner is not None
    assert inner.abs().sum() > 0


def test_zero_in_the_residual_stays_zero_behind_the_norm() -> None:
    model = build()
    with torch.no_grad():
        model.embedding.weight[:, 3] = 0
    taps = Taps(record=[Site(0, "attn.in")])
    model(tokens(), taps)
    assert torch.all(taps.values[Site(0, "attn.in")][..., 3] == 0)


def test_prompts_longer_than_the_context_are_refused() -> None:
    with pytest.raises(WireworkError, match="prompt-too-long") as caught:
        build()(torch.zeros(1, 13, dtype=torch.long))
    assert "at most 12" in str(caught.value)


def test_unknown_place_names_the_nearest() -> None:
    with pytest.raises(WireworkError, match=r"place-unknown[\s\S]*attn\.out"):
        build(afrac_places=["attn.aut"])


def test_afrac_that_keeps_nothing_is_refused() -> None:
    with pytest.raises(WireworkError, match="afrac-too-small"):
        build(afrac=0.01)


def test_reference_means_are_plain_averages() -> None:
    model = build().float()
    batches = [tokens(2), tokens(2) % 7]
    means = reference_means(model, batches)
    taps = [Taps(record=sites(2)) for _ in batches]
    for batch, tap in zip(batches, taps, strict=True):
        model(batch, tap)
    for site, mean in means.items():
        both = torch.cat([tap.values[site] for tap in taps]).double().mean((0, 1))
        assert np.allclose(mean, both.numpy(), atol=1e-6), site


def test_equal_seeds_give_equal_weights() -> None:
    first, second = (Transformer(ModelConfig(**SMALL), seed=3) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_projected_matrices_are_named_as_in_the_state() -> None:
    for changes in ({}, {"position": "add"}, {"position": "concat"}):
        model = build(**changes)
        state = model.state_dict()
        for matrix in model.projected():
            assert state[matrix.name].data_ptr() == matrix.weight.data_ptr()
            assert dataclasses.is_dataclass(matrix)
