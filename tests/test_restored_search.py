"""Gates trained to bear what is restored beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from planted_cancelled import TRUE, WRONG, cancelled
from test_discovery import InterruptGates
from wirework.ablation import Adversary, GateSet, PromptTensors, keep_of
from wirework.circuit import Calibration, Circuit
from wirework.core import Edge, Node, Site, WireworkError
from wirework.core.files import sha256_file
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.bench import Bench
from wirework.discovery.objective import Objective
from wirework.discovery.restored import Restored
from wirework.discovery.take_circuit import nodes_by_site
from wirework.planted import Planted
from wirework.validation.subject import Subject

SHORT = DiscoveryConfig(
    steps=80, batch=8, lr=3e-2, coefficient=2e-3, faithfulness=0, dtype="float32", look_every=10,
    calibration_pairs=16, price_pairs=8, tries=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def planted() -> Planted:
    whole = cancelled(size=16)
    return replace(whole, task=replace(whole.task, report=whole.task.report[:12]))


def search(planted: Planted, restore: str, **options: Any) -> Circuit:
    config = SHORT.override([f"restore={restore}"])
    return discover(planted.checkpoint, planted.task, config=config, **options)


def lost(planted: Planted, circuit: Circuit) -> float:
    """Share of the model's answers that restoring one node takes from the circuit."""
    subject = Subject.of(circuit, planted.checkpoint, None)
    rest = {site: ~kept for site, kept in subject.keep.items()}
    signs = torch.sign(subject.margins(None))
    adversary = Adversary(subject.whole, subject.holding, subject.keep, rest, subject.report, signs)
    margins = adversary.worst([1], seed=0)[1].margins
    return float((margins * signs <= 0).double().mean())


def values(planted: Planted, circuit: Circuit) -> set[str]:
    names = {node: name for name, node in planted.parts.items()}
    site = Site.parse("0.attn.v")
    return {names[Node(site, index)] for index in circuit.nodes[site]}


def test_a_search_that_restores_nodes_avoids_what_one_of_them_breaks(planted: Planted) -> None:
    plain = search(planted, "none")
    assert len(values(planted, plain)) == 1
    assert lost(planted, plain) == 1
    for restore in ("random", "adversarial"):
        found = search(planted, restore)
        assert lost(planted, found) == 0, (restore, values(planted, found))
        assert found.losses["task_loss"] < SHORT.target_loss


@pytest.mark.parametrize("restore", ["none", "random", "adversarial"])
def test_a_candidate_must_bear_what_its_gates_were_trained_for(
    planted: Planted, restore: str
) -> None:
    checkpoint = planted.checkpoint
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    bench = Bench.of(checkpoint, encoded, SHORT.override([f"restore={restore}"]))
    found = {}
    for names in (TRUE, WRONG):
        nodes = nodes_by_site(planted.nodes(*names), bench.widths)
        found[names] = bench.measure(keep_of(nodes, bench.widths))
    assert found[TRUE].meets_target
    assert found[WRONG].meets_target == (restore == "none")
    # One edge less, and one true value is all that is left.
    cut = {Edge(planted.parts["read"], planted.parts["true 0"])}
    assert bench.measure(found[TRUE].keep, cut).meets_target == (restore == "none")


@pytest.mark.parametrize("name", ["optimal", "resample", "zero"])
def test_every_ablation_can_be_restored(planted: Planted, name: str) -> None:
    settings = ["restore=adversarial", f"ablation.kind={name}", "steps=20"]
    config = SHORT.override(settings)
    circuit = discover(planted.checkpoint, planted.task, config=config)
    assert len(values(planted, circuit)) > 1


@pytest.mark.parametrize("restore", ["random", pytest.param("adversarial", marks=pytest.mark.long)])
def test_equal_seeds_give_equal_circuits_also_after_a_break(
    planted: Planted, restore: str, tmp_path: Path
) -> None:
    search(planted, restore).save(tmp_path / "whole")
    state = tmp_path / "state"
    with pytest.raises(WireworkError, match="interrupted"):
        search(planted, restore, state=state, start=InterruptGates(55))
    search(planted, restore, state=state).save(tmp_path / "resumed")
    assert sha256_file(tmp_path / "whole") == sha256_file(tmp_path / "resumed")
    with pytest.raises(WireworkError, match="resume-mismatch"):
        search(planted, "none", state=state)


class Toy:
    """Margins that are a sum over gates, so that what was opened can be read off."""

    def __init__(
        self, weights: list[float], open_gates: list[int], config: DiscoveryConfig
    ) -> None:
        self.weights = torch.tensor(weights)
        self.site = Site.parse("0.mlp.in")
        self.gates = GateSet({self.site: len(weights)}, bias=-0.5, noise=0, temperature=1, seed=0)
        with torch.no_grad():
            self.gates.tau[open_gates] = 0.5
        self.seen: list[torch.Tensor] = []
        self.objective = Objective(
            config, 0.0, calibration=Calibration(), limits={}, margins=(-torch.inf, -torch.inf)
        )
        self.restored = Restored(self.margins, self.gates, self.objective, config, seed=1)
        rows = torch.zeros(4, 1, dtype=torch.long)
        side = torch.tensor([1, 1, -1, -1])
        self.prompts = PromptTensors(rows, rows[:, 0], rows, rows, side, rows[:, 0])

    def margins(self, prompts: PromptTensors, opened: Any) -> torch.Tensor:
        gates: torch.Tensor = opened[self.site]
        self.seen.append(gates.detach())
        return (self.weights * gates).sum().expand(len(prompts.last))

    def step(self, step: int) -> torch.Tensor:
        opened = self.gates.opened()
        plain = self.objective.loss(
            self.margins(self.prompts, self.gates.by_site(opened)), self.prompts
        )
        return self.restored.loss(plain, opened, self.prompts, step)


def test_the_adversary_opens_the_closed_gates_that_hurt_most() -> None:
    config = DiscoveryConfig(restore="adversarial", restore_budget=2)
    toy = Toy([2.0, -3.0, 1.0, -0.5, -4.0, -1.0], [0, 4], config)
    toy.step(0)
    # Those that help, and the one that is open already, are not among them.
    assert toy.seen[-1].tolist() == [1, 1, 0, 0, 1, 1]
    few = Toy([2.0, 1.0, -1.0, 1.0], [0], config)
    few.step(0)
    assert few.seen[-1].tolist() == [1, 0, 1, 0]


def test_random_restores_are_a_function_of_the_step() -> None:
    config = DiscoveryConfig(restore="random", restore_rate=0.5)
    toy = Toy([1.0] * 400, [0, 1, 2], config)
    for step in (0, 1, 2, 0):
        toy.step(step)
    first, second, third, again = toy.seen[1::2]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    for opened in (first, second, third):
        assert opened[:3].tolist() == [1, 1, 1]
        assert opened.mean() < 0.6


def test_only_open_gates_learn_from_what_is_restored() -> None:
    config = DiscoveryConfig(restore="random")
    toy = Toy([1.0, 2.0, -1.0, 0.5] * 10, [0, 1], config)
    toy.step(3).backward()  # type: ignore[no-untyped-call]
    gradient, opened = toy.gates.tau.grad, toy.seen[-1]
    assert gradient is not None
    restored = (opened > 0) & (toy.gates.tau < 0)
    assert restored.any() and (gradient[restored] == 0).all()
    assert (gradient[:2] != 0).all()
