"""The compact model equals the whole one under the same gates, in every variant."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from test_discovery import SHAPE
from wirework.ablation import (
    AblationConfig,
    CompactModel,
    Holding,
    Keep,
    PromptTensors,
    all_margins,
    keep_taps,
    lone_margins,
    margins,
    masked_margins,
    site_gates,
)
from wirework.ablation.packed import Packed, attend_from
from wirework.ablation.settle import pass_gates, pass_gates_plain
from wirework.circuit import extract
from wirework.core import Site
from wirework.core.names import sites
from wirework.discovery import DiscoveryConfig
from wirework.discovery.edge_gates import GatedEdges
from wirework.model import ModelConfig, Taps, Transformer, sparse
from wirework.model.attention import attend_plain

VARIANTS: list[dict[str, Any]] = [
    {},
    {"position": "concat", "position_table": "sinusoidal"},
    {"position": "concat", "position_in_topk": True},
    {"position": "add", "sink": False},
    {"bias": False, "activation": "relu", "bigram": "none"},
    {"afrac": 1.0, "tied": True},
    {"norm": "layer", "residual": "relu"},
    {"n_layer": 1, "afrac_places": ["attn.in", "attn.q", "mlp.neuron", "resid.attn", "resid.mlp"]},
]
ANSWERS = np.array([3, 4, 7])


def random_model(seed: int, **changes: Any) -> Transformer:
    """A model nobody trained, with four in ten weights cut, in float64."""
    model = Transformer(ModelConfig.parse({**SHAPE, "vocab_size": 50, **changes}), seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.4)
        for matrix in model.projected():
            matrix.weight.mul_(torch.rand(matrix.weight.shape, generator=draw) < 0.6)
    return model.double()


def random_prompts(seed: int, pairs: int = 6) -> PromptTensors:
    """Pairs of prompts of 3 to 14 tokens; the sides of a pair are equally long. Many begin alike,
    and some are the beginning of another."""
    draw = torch.Generator().manual_seed(seed)
    last = torch.randint(2, 14, (pairs,), generator=draw).repeat(2)
    tokens = torch.randint(0, 50, (2 * pairs, int(last.max()) + 1), generator=draw)
    for row in range(1, 2 * pairs):
        alike = int(torch.randint(0, tokens.shape[1] + 1, (), generator=draw))
        tokens[row, :alike] = tokens[row - 1, :alike]
    side = torch.tensor([1, -1]).repeat_interleave(pairs)
    both = torch.tensor([[3, 4], [7, -1]])
    wanted, other = both[(side < 0).long()], both[(side > 0).long()]
    return PromptTensors(tokens, last, wanted, other, side, torch.zeros(2 * pairs).long())


def random_keep(model: Transformer, seed: int, share: float) -> dict[Site, NDArray[np.bool_]]:
    """Some nodes of every site, but for three sites of which none is kept."""
    random = np.random.default_rng(seed)
    places = sites(model.config.n_layer)
    keep = {site: random.random(model.config.width(site.kind)) < share for site in places}
    for index in random.permutation(len(places))[:3]:
        keep[places[index]][:] = False
    return keep


def random_constants(keep: Keep, seed: int) -> dict[Site, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    drawn = {site: random.normal(size=len(kept)) * 0.3 for site, kept in keep.items()}
    return {site: value.astype(np.float32) for site, value in drawn.items()}


def compact(
    model: Transformer, constants: dict[Site, NDArray[np.float32]], **options: Any
) -> CompactModel:
    tensors = {site: torch.from_numpy(value).double() for site, value in constants.items()}
    return CompactModel(model, tensors, torch.from_numpy(ANSWERS), **options)


def as_gates(keep: Keep) -> dict[Site, torch.Tensor]:
    return {site: torch.from_numpy(mask).double() for site, mask in keep.items()}


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.95))
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_margins_are_those_of_the_whole_model(
    changes: dict[str, Any], seed: int, share: float
) -> None:
    model, prompts = random_model(seed, **changes), random_prompts(seed)
    keep = random_keep(model, seed, share)
    constants = random_constants(keep, seed)
    expected = all_margins(model, prompts, keep_taps(keep, constants))
    for kept in (None, keep):
        found = compact(model, constants, kept=kept).margins(prompts, as_gates(keep))
        assert (found - expected).abs().max() < 1e-9


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.9))
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_gates_before_abstopk_are_those_of_the_lone_circuit(
    changes: dict[str, Any], seed: int, share: float
) -> None:
    model, prompts = random_model(seed, **changes), random_prompts(seed)
    keep = random_keep(model, seed, share)
    constants = random_constants(keep, seed)
    small = compact(model, constants, kept=keep, before=True)
    lone = extract(sparse(model), site_gates(keep, constants, before=True), ANSWERS)
    found = small.margins(prompts, as_gates(keep)).numpy()
    assert np.abs(found - lone_margins(lone, prompts)).max() < 1e-9


@settings(max_examples=5)
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.95))
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_closed_edges_are_those_of_the_lone_circuit(
    changes: dict[str, Any], before: bool, seed: int, share: float
) -> None:
    model, prompts = random_model(seed, **changes), random_prompts(seed)
    keep = random_keep(model, seed, share)
    constants = random_constants(keep, seed)
    tensors = {site: torch.from_numpy(value).double() for site, value in constants.items()}
    config = DiscoveryConfig().override([f"ablation.gate={'before' if before else 'after'}"])
    holding = Holding(config.ablation, tensors)
    gated = GatedEdges(model, holding, ANSWERS, keep, config, seed=seed)
    random = np.random.default_rng(seed)
    opened = {
        site: torch.from_numpy((random.random(len(found)) < 0.5).astype(np.float64))
        for site, found in gated.edges.items()
    }
    cut = [e for site, found in gated.edges.items()
           for e, gate in zip(found, opened[site], strict=True) if gate == 0]  # fmt: skip
    gates = site_gates(keep, constants, before=before)
    lone = extract(sparse(model), gates, ANSWERS, cut)
    found = gated.margins(prompts, opened).numpy()
    assert np.abs(found - lone_margins(lone, prompts)).max() < 1e-9


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_resampled_nodes_take_their_values_from_the_other_side(changes: dict[str, Any]) -> None:
    model, prompts = random_model(1, **changes), random_prompts(1)
    keep = random_keep(model, 1, 0.5)
    whole = compact(model, random_constants(keep, 1))
    holding = Holding(AblationConfig(kind="resample"), whole.constants)
    with torch.no_grad():
        record = Taps(record=list(keep))
        model.read_out(prompts.tokens, record)
    half = len(prompts)

    def resample(site: Site, x: torch.Tensor) -> torch.Tensor:
        other = record.values[site].roll(half, 0)
        return torch.where(torch.from_numpy(keep[site]), x, other)

    taps = Taps(replace={site: partial(resample, site) for site in keep})
    with torch.no_grad():
        expected = margins(model, prompts, taps)
    found = masked_margins(whole, holding, keep, prompts)
    assert (found - expected).abs().max() < 1e-9


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_with_every_node_open_no_ablation_changes_anything(changes: dict[str, Any]) -> None:
    model, prompts = random_model(2, **changes), random_prompts(2)
    keep = {s: np.ones(model.config.width(s.kind), np.bool_) for s in sites(model.config.n_layer)}
    whole = compact(model, random_constants(keep, 1))
    expected = all_margins(model, prompts)
    for kind in ("resample", "zero"):
        for norms in ("free", "frozen"):
            config = AblationConfig.parse({"kind": kind, "norms": norms})
            found = masked_margins(whole, Holding(config, whole.constants), keep, prompts)
            assert (found - expected).abs().max() < 1e-9


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 150), halves=st.booleans())
def test_the_fast_gates_are_the_plain_ones(seed: int, rows: int, halves: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    kind = torch.bfloat16 if halves else torch.float64
    wide = torch.float32 if halves else torch.float64
    columns = torch.tensor([0, 3, 4, 9]) if seed % 2 else None
    x = torch.randn(rows, 12, generator=draw).to(kind).requires_grad_()
    gate = (torch.rand(12, generator=draw) < 0.5).to(wide).requires_grad_()
    held = torch.randn(12, generator=draw).to(wide)
    slope = torch.randn(rows, 4 if seed % 2 else 12, generator=draw).to(kind)
    results = []
    for compute in (pass_gates, pass_gates_plain):
        out = compute(x, gate, held, columns)
        results.append((out, *torch.autograd.grad(out, (x, gate), slope)))
    for fast, plain in zip(*results, strict=True):
        assert torch.allclose(
            fast, plain, rtol=2e-2 if halves else 1e-12, atol=2e-2 if halves else 1e-12
        )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20)
def test_attention_from_the_last_token_is_a_row_of_attention(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    q, k, v = torch.randn(3, 4, 2, 9, 5, generator=draw, dtype=torch.float64)
    last = torch.randint(0, 9, (4,), generator=draw)
    rows = torch.arange(4)
    for sink in (None, torch.randn(2, generator=draw, dtype=torch.float64)):
        whole = attend_plain(q, k, v, sink)[rows, :, last]
        assert (attend_from(q[rows, :, last], k, v, sink, last) - whole).abs().max() < 1e-12


@given(seed=st.integers(0, 10_000), shared=st.booleans())
def test_every_token_finds_its_row(seed: int, shared: bool) -> None:
    prompts = random_prompts(seed)
    packed = Packed.of(prompts, shared=shared)
    real = torch.arange(prompts.tokens.shape[1]) <= prompts.last[:, None]
    for numbers, wanted in (
        (packed.tokens, prompts.tokens),
        (packed.positions, torch.arange(prompts.tokens.shape[1]).expand_as(prompts.tokens)),
    ):
        assert torch.equal(packed.pad(numbers[:, None])[..., 0][real], wanted[real])
    assert torch.equal(packed.at_ends(packed.positions), prompts.last)
    x = torch.randn(len(packed.tokens), 3)
    assert torch.equal(packed.unpad(packed.pad(x)), x)
    beginnings = {
        tuple(row[: n + 1])
        for row, last in zip(prompts.tokens.tolist(), prompts.last.tolist(), strict=True)
        for n in range(last + 1)
    }
    assert len(packed.tokens) == (len(beginnings) if shared else int(real.sum()))
