"""A model on a task: margins, the two-sided loss, gates, masks, calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from planted_circuits import circuit_of
from wirework.ablation import (
    CompactModel,
    NodeGates,
    PromptTensors,
    TaskScore,
    all_margins,
    calibrate,
    calibrated,
    keep_of,
    keep_taps,
    kept_nodes,
    lone_margins,
    margins,
    score,
    score_of,
    shifted,
    site_gates,
    two_sided_loss,
)
from wirework.circuit import Calibration
from wirework.core import Site, WireworkError
from wirework.core.names import sites
from wirework.model import ModelConfig, Taps, Transformer
from wirework.model.means import Means
from wirework.planted import close_quote, quote_with_decoys
from wirework.tasks import NO_TOKEN, Prompts

CONFIG = ModelConfig(
    vocab_size=20, context=8, n_layer=2, d_model=12, n_head=2, d_head=4, d_mlp=16,
    bigram="learned",
)  # fmt: skip


def small_model() -> Transformer:
    model = Transformer(CONFIG, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(20)
    return model


def some_prompts(pairs: int = 3, answers: int = 1) -> Prompts:
    """Rows of different lengths; the last answer of every other row is padding."""
    random = np.random.default_rng(0)
    rows = 2 * pairs
    ids = np.stack([random.permutation(20)[: 2 * answers] for _ in range(rows)])
    wanted, other = ids[:, :answers].copy(), ids[:, answers:].copy()
    if answers > 1:
        wanted[::2, -1] = NO_TOKEN
        other[1::2, -1] = NO_TOKEN
    return Prompts(
        tokens=random.integers(0, 20, (rows, 8)),
        last=random.integers(1, 8, rows),
        wanted=wanted.astype(np.int64),
        other=other.astype(np.int64),
        template=np.arange(rows) % 2,
    )


def constants(seed: int = 0) -> dict[Site, NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return {
        site: random.normal(size=CONFIG.width(site.kind)).astype(np.float32) for site in sites(2)
    }


def test_two_sided_loss_by_hand() -> None:
    # p(wanted) = 3/4 on one side and 1/2 on the other: the mean of both, not their sum.
    values = torch.tensor([math.log(3), 0.0])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert float(two_sided_loss(values)) == pytest.approx(expected)


def test_task_score_by_hand() -> None:
    margin = np.array([math.log(3), 0.0, -1.0, 2.0])
    result = TaskScore(margin, np.array([0, 1, 0, 1]))
    losses = [math.log(4 / 3), math.log(2), math.log1p(math.e), math.log1p(math.exp(-2))]
    assert result.losses == pytest.approx(losses)
    assert result.loss == pytest.approx(np.mean(losses))
    # A margin of zero is no right answer.
    assert result.accuracy == 0.5
    assert result.by_template() == pytest.approx(
        {0: (losses[0] + losses[2]) / 2, 1: (losses[1] + losses[3]) / 2}
    )


def test_a_single_answer_gives_the_logit_difference() -> None:
    model, prompts = small_model(), some_prompts()
    tensors = PromptTensors.of(prompts)
    with torch.no_grad():
        logits = model(tensors.tokens)
        found = margins(model, tensors)
    for row in range(6):
        at = logits[row, prompts.last[row]]
        difference = at[prompts.wanted[row, 0]] - at[prompts.other[row, 0]]
        assert float(found[row]) == pytest.approx(float(difference), abs=1e-5)


def test_sets_of_answers_are_scored_by_their_summed_probability() -> None:
    model, prompts = small_model(), some_prompts(pairs=4, answers=3)
    tensors = PromptTensors.of(prompts)
    with torch.no_grad():
        shares = model(tensors.tokens).softmax(-1).double().numpy()
    found = score(model, tensors)
    for row in range(8):
        at = shares[row, prompts.last[row]]
        right = at[prompts.wanted[row][prompts.wanted[row] != NO_TOKEN]].sum()
        wrong = at[prompts.other[row][prompts.other[row] != NO_TOKEN]].sum()
        assert found.losses[row] == pytest.approx(-math.log(right / (right + wrong)), abs=1e-5)


def test_pieces_and_padding_do_not_change_the_margins() -> None:
    model, prompts = small_model(), some_prompts(pairs=6)
    tensors = PromptTensors.of(prompts)
    at_once = margins(model.double(), tensors).detach()
    for chunk in (1, 5, 128):
        assert torch.allclose(all_margins(model, tensors, chunk=chunk), at_once, atol=1e-12)
    padded = prompts.tokens.copy()
    for row, last in enumerate(prompts.last):
        padded[row, last + 1 :] = 0
    other = Prompts(padded, prompts.last, prompts.wanted, prompts.other, prompts.template)
    assert torch.allclose(all_margins(model, PromptTensors.of(other)), at_once, atol=1e-12)


def test_pairs_keep_both_sides_together() -> None:
    tensors = PromptTensors.of(some_prompts(pairs=5))
    some = tensors.pairs(torch.tensor([3, 0]))
    assert len(some) == 2
    assert some.side.tolist() == [1, 1, -1, -1]
    assert torch.equal(some.last, tensors.last[[3, 0, 8, 5]])
    assert torch.equal(some.template, tensors.template[[3, 0, 8, 5]])
    assert [len(tensors.first(count)) for count in (2, 5, 9)] == [2, 5, 5]


def test_open_gates_are_zero_or_one_and_pass_the_gradient_of_a_sigmoid() -> None:
    gates = NodeGates(
        {Site(0, "mlp.in"): torch.zeros(4)}, bias=0.0, noise=1.0, temperature=0.5, seed=3
    )
    with torch.no_grad():
        gates.tau.copy_(torch.tensor([-1.0, -1e-6, 0.0, 0.7]))
    opened = gates.opened()
    assert opened.tolist() == [0, 0, 1, 1]
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    torch.autograd.backward([(opened * weights).sum()])
    slope = torch.sigmoid(gates.tau / 0.5)
    expected = weights * slope * (1 - slope) / 0.5
    assert gates.tau.grad is not None
    assert torch.allclose(gates.tau.grad, expected)


def test_gates_start_open_repeatably_and_stay_between_minus_one_and_one() -> None:
    means = constants()
    gates, again = (
        NodeGates(tensors_of(means), bias=0.1, noise=0.01, temperature=1.0, seed=7)
        for _ in range(2)
    )
    assert torch.equal(gates.tau, again.tau)
    assert abs(float(gates.tau.detach().mean()) - 0.1) < 0.005
    assert abs(float(gates.tau.detach().std()) - 0.01) < 0.003
    with torch.no_grad():
        gates.tau.mul_(100)
    gates.clamp()
    assert float(gates.tau.detach().abs().max()) <= 1


def test_closed_gates_give_the_constant_and_open_ones_the_activation() -> None:
    model, tensors, means = small_model(), PromptTensors.of(some_prompts()), constants()
    gates = NodeGates(tensors_of(means), bias=0.0, noise=1.0, temperature=1.0, seed=0)
    opened = gates.by_site(gates.opened())
    keep = {site: gate.detach().numpy() > 0 for site, gate in opened.items()}
    with torch.no_grad():
        trained = compact_of(model, tensors, means).margins(tensors, opened)
        masked = margins(model, tensors, keep_taps(keep, means)())
    assert torch.allclose(trained, masked, atol=1e-5)


def test_gradients_reach_every_gate_that_matters() -> None:
    model, tensors, means = small_model(), PromptTensors.of(some_prompts()), constants()
    gates = NodeGates(tensors_of(means), bias=0.1, noise=0.0, temperature=1.0, seed=0)
    values = compact_of(model, tensors, means).margins(tensors, gates.by_site(gates.opened()))
    torch.autograd.backward([two_sided_loss(values)])
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert gates.tau.grad is not None
    assert all(bool(slope.abs().sum() > 0) for slope in gates.by_site(gates.tau.grad).values())


def test_a_gate_that_is_shut_stays_shut() -> None:
    gates = NodeGates({Site(0, "mlp.in"): torch.zeros(3)}, bias=0, noise=0, temperature=1, seed=0)
    with torch.no_grad():
        gates.tau.copy_(torch.tensor([-0.4, -0.2, 0.1]))
    assert gates.shut_low(-0.3)
    assert not gates.shut_low(-0.3)
    with torch.no_grad():
        gates.tau.fill_(1.0)
    gates.clamp()
    assert gates.tau.tolist() == [-1, 1, 1]
    assert gates.may_open()[Site(0, "mlp.in")].tolist() == [False, True, True]


def tensors_of(means: Means) -> dict[Site, torch.Tensor]:
    return {site: torch.from_numpy(mean) for site, mean in means.items()}


def compact_of(model: Transformer, prompts: PromptTensors, means: Means) -> CompactModel:
    answers = np.unique(np.concatenate([prompts.wanted.numpy(), prompts.other.numpy()]))
    return CompactModel(model, tensors_of(means), torch.from_numpy(answers[answers >= 0]))


def test_masks_put_the_constants_in_place_of_cut_nodes() -> None:
    model, tensors, means = small_model(), PromptTensors.of(some_prompts()), constants()
    random = np.random.default_rng(2)
    keep = {site: random.random(len(mean)) < 0.5 for site, mean in means.items()}
    taps = keep_taps(keep, means)()
    watched = Taps(record=means, replace=taps.replace)
    with torch.no_grad():
        model.read_out(tensors.tokens, watched)
    for site, value in watched.values.items():
        cut = value[..., torch.from_numpy(~keep[site])]
        constant = torch.from_numpy(means[site][~keep[site]])
        assert torch.equal(cut, constant.expand_as(cut))
    everything = {site: np.ones_like(mask) for site, mask in keep.items()}
    same = all_margins(model, tensors, keep_taps(everything, means))
    assert torch.equal(same, all_margins(model, tensors))


@given(st.integers(0, 2**32 - 1))
def test_masks_and_node_lists_are_two_forms_of_one_thing(seed: int) -> None:
    random = np.random.default_rng(seed)
    means = constants()
    keep = {site: random.random(len(mean)) < random.random() for site, mean in means.items()}
    widths = {site: len(mean) for site, mean in means.items()}
    nodes = kept_nodes(keep)
    back = keep_of(nodes, widths)
    assert all(np.array_equal(back[site], keep[site]) for site in keep)
    assert all(found == tuple(sorted(found)) and found for found in nodes.values())
    gates = site_gates(keep, means)
    assert all(gates[site].keep is keep[site] for site in keep)
    assert all(np.array_equal(gates[site].constant, means[site]) for site in keep)


@given(
    scale=st.floats(0.1, 5),
    shift=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
def test_calibration_undoes_a_scale_and_a_shift(scale: float, shift: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    side = torch.from_numpy(np.repeat([1.0, -1.0], 300))
    # Answers drawn with the probabilities that the margins of the first side say.
    logit = torch.from_numpy(random.normal(size=600) * 1.5)
    first = torch.from_numpy(random.random(600)) < torch.sigmoid(logit)
    side = torch.where(first, 1.0, -1.0).double()
    values = side * (logit - shift) / scale
    before, found = two_sided_loss(side * logit), calibrate(values, side)
    after = two_sided_loss(calibrated(values, side, found))
    assert float(after) <= float(before) + 5e-3
    assert found.scale == pytest.approx(scale, rel=0.4)


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=20), st.integers(0, 99))
def test_the_scale_is_positive_and_no_inverted_circuit_becomes_right(
    numbers: list[float], seed: int
) -> None:
    values = torch.tensor(numbers * 2, dtype=torch.float64)
    side = torch.from_numpy(
        np.random.default_rng(seed).permutation(np.repeat([1, -1], len(numbers)))
    )
    found = calibrate(values, side)
    assert found.scale > 0
    # Every prompt wrong by the same margin: turning round would give no loss at all.
    inverted = -torch.ones(20, dtype=torch.float64) * 3
    sides = torch.from_numpy(np.repeat([1, -1], 10))
    upside_down = calibrate(inverted, sides)
    assert upside_down.scale > 0
    assert float(two_sided_loss(calibrated(inverted, sides, upside_down))) >= math.log(2)


def test_calibration_never_makes_the_loss_worse() -> None:
    random = np.random.default_rng(0)
    side = torch.from_numpy(np.repeat([1, -1], 50))
    for size in (0.01, 1.0, 50.0):
        values = torch.from_numpy(random.normal(size, size, 100))
        found = calibrate(values, side)
        after = two_sided_loss(calibrated(values, side, found))
        assert float(after) <= float(two_sided_loss(values)) + 1e-9


@given(
    values=st.lists(st.floats(-20, 20), min_size=2, max_size=20),
    offset=st.floats(-30, 30),
    scale=st.floats(0.1, 3),
)
def test_no_shift_is_better_than_the_one_that_is_fitted(
    values: list[float], offset: float, scale: float
) -> None:
    side = torch.from_numpy(np.repeat([1.0, -1.0], len(values)))
    margins = torch.tensor(values * 2, dtype=torch.float64)
    found = shifted(margins, side, Calibration(scale, 7.0))
    least = float(two_sided_loss(calibrated(margins, side, found)))
    assert found.scale == scale
    for step in (-1.0, -1e-3, 1e-3, 1.0):
        other = Calibration(scale, found.shift + step)
        assert least <= float(two_sided_loss(calibrated(margins, side, other))) + 1e-12
    # A constant in favour of one side is made up for.
    moved = margins + offset * side
    again = float(two_sided_loss(calibrated(moved, side, shifted(moved, side, found))))
    assert again == pytest.approx(least, abs=1e-6)


def test_scores_use_the_calibration_given_to_them() -> None:
    model, tensors = small_model(), PromptTensors.of(some_prompts())
    calibration = Calibration(2.0, 0.5)
    raw = all_margins(model, tensors).double()
    expected = 2.0 * raw.numpy() + 0.5 * np.array([1, 1, 1, -1, -1, -1])
    assert score(model, tensors, calibration=calibration).margins == pytest.approx(expected)
    assert score_of(raw, tensors, calibration).margins == pytest.approx(expected)


def test_the_lone_circuit_gives_the_margins_of_the_masked_model() -> None:
    planted = close_quote()
    checkpoint = planted.checkpoint
    circuit = circuit_of(planted, planted.active)
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.report)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    keep = keep_of(circuit.nodes, widths)
    masked = all_margins(checkpoint.model.double(), prompts, keep_taps(keep, checkpoint.means))
    alone = lone_margins(circuit.network, prompts, np.float64, chunk=7)
    assert np.abs(alone - masked.numpy()).max() < 1e-9


def test_a_circuit_without_the_answers_is_refused() -> None:
    planted = quote_with_decoys()
    circuit = circuit_of(planted, planted.active)
    prompts = some_prompts()
    with pytest.raises(WireworkError) as caught:
        lone_margins(circuit.network, PromptTensors.of(prompts))
    assert caught.value.code == "circuit-lacks-answers"
