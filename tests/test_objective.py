"""What gates are trained for: the loss at the best scale, within the limits of a candidate."""

from __future__ import annotations

from math import inf

import pytest
import torch

from wirework.ablation import GateSet, PromptTensors, two_sided_loss
from wirework.circuit import Calibration
from wirework.core import Site
from wirework.discovery import DiscoveryConfig
from wirework.discovery.objective import Objective

SITE = Site(0, "mlp.in")


def prompts(template: list[int]) -> PromptTensors:
    """As many rows as template numbers; the first half are prompts, the others counterfactuals."""
    count = len(template)
    side = torch.tensor([1, -1]).repeat_interleave(count // 2)
    answers = torch.zeros(count, 1, dtype=torch.long)
    last = torch.zeros(count, dtype=torch.long)
    return PromptTensors(answers, last, answers, answers, side, torch.tensor(template))


def objective(
    *,
    limits: dict[int, float] | None = None,
    margins: tuple[float, float] = (-inf, -inf),
    **changes: float | str,
) -> Objective:
    return Objective(
        DiscoveryConfig().replace(**changes),
        0.5,
        calibration=Calibration(2.0, 0.25),
        limits=limits or {},
        margins=margins,
    )


def test_the_loss_is_that_of_the_calibrated_margins() -> None:
    values = torch.tensor([0.3, -1.0, 0.7, 2.0])
    rows = prompts([0, 0, 0, 0])
    scaled = 2 * values + 0.25 * rows.side
    assert torch.allclose(objective().loss(values, rows), two_sided_loss(scaled))


def test_only_the_limits_that_are_exceeded_count() -> None:
    values = torch.tensor([0.3, -1.0, 0.7, 2.0])
    plain = objective().loss(values, prompts([0, 0, 0, 0]))
    of_one = torch.nn.functional.softplus(-(2 * values[1] + 0.25))
    limits = {0: 9.0, 3: 0.5}
    found = objective(limits=limits).loss(values, prompts([0, 3, 0, 0]))
    assert torch.allclose(found - plain, (of_one - 0.5) / 4)
    assert torch.allclose(objective(limits=limits).loss(values, prompts([0, 9, 0, 0])), plain)


def test_what_the_margin_lacks_counts_as_a_share() -> None:
    rows = prompts([0, 0, 0, 0])
    short = torch.tensor([1.0, 1.0, 1.0, 1.0])
    free, bound = objective(), objective(margins=(0.5, 2.5))
    assert torch.allclose(bound.loss(short, rows) - free.loss(short, rows), torch.tensor(0.75))
    assert torch.equal(bound.loss(short * 3, rows), free.loss(short * 3, rows))


@pytest.mark.parametrize(("done", "share"), [(0.0, 0.0), (0.05, 0.5), (0.1, 1.0), (0.9, 1.0)])
def test_the_price_of_a_gate_rises_to_the_coefficient(done: float, share: float) -> None:
    count = torch.tensor(2.0)
    assert float(objective(ramp=0.1).price(count, done)) == pytest.approx(share * 0.5 * 2)
    assert float(objective(ramp=0).price(count, done)) == 1.0


@pytest.mark.parametrize(("calibrate", "learned"), [("during", True), ("after", False)])
def test_the_scale_is_learned_where_candidates_are_calibrated(
    calibrate: str, learned: bool
) -> None:
    wanted = objective(calibrate=calibrate)
    assert [p.requires_grad for p in wanted.parameters()] == [learned, learned]


def test_gates_that_closed_later_rank_higher() -> None:
    gates = GateSet({SITE: 4}, bias=0.1, noise=0, temperature=1, seed=0)
    for done, closed in ((0.1, []), (0.2, [2]), (0.3, [2, 0]), (0.4, [2, 0, 3])):
        with torch.no_grad():
            gates.tau[closed] = -0.2
        gates.look(done)
    ranks = gates.ranks()[SITE]
    assert list(ranks.argsort()) == [2, 0, 3, 1]
    assert [bool(rank >= 0) for rank in ranks] == [False, True, False, False]
