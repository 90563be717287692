"""Validation tells a circuit that carries its task from one that does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from planted_circuits import all_nodes, circuit_of, fit_and_controls, random_nodes
from wirework.ablation import PromptTensors, all_margins, keep_of, keep_taps, require_model_of
from wirework.circuit import Circuit
from wirework.core import Report, Site, WireworkError
from wirework.planted import Planted, close_quote, quote_with_decoys, twin_values
from wirework.plots import draw_validation
from wirework.tasks import Answers, Pair
from wirework.validation import RULES, ValidationConfig, validate
from wirework.validation.controls import random_circuit, random_elsewhere
from wirework.validation.groups import GROUPS, require_curves

JUDGED = ("fit", "controls", "exactness", "subsets", "mechanism")
QUOTE = ("read opening", "read kind", "key", "value", "write answer", "final answer")
MEASURES = {
    "task_loss", "task_loss_raw", "task_accuracy", "faithfulness", "sufficiency", "necessity",
    "model_loss", "model_accuracy", "exactness", "exactness_float32",
}  # fmt: skip
SIZES = {Site.parse("0.attn.q"): 9, Site.parse("0.mlp.neuron"): 40, Site.parse("final"): 6}


@pytest.fixture(scope="module")
def planted() -> Planted:
    return quote_with_decoys()


@pytest.fixture(scope="module")
def circuit(planted: Planted) -> Circuit:
    return circuit_of(planted, planted.nodes(*QUOTE))


def test_a_planted_circuit_is_faithful(planted: Planted, circuit: Circuit) -> None:
    report = validate(circuit, planted.checkpoint, groups=JUDGED)
    assert report.kind == "validation"
    assert report.verdict == "faithful"
    assert report.passed
    assert set(report.measures) >= MEASURES
    assert report["task_accuracy"].value == 1
    assert report["sufficiency"].value == 1
    assert report["exactness"].value < 1e-9
    assert report["exactness_float32"].value < 1e-4
    report.require(faithfulness=0.9, sufficiency=0.95, necessity=0.95)


def test_random_nodes_are_unfaithful(planted: Planted) -> None:
    wrong = random_nodes(planted, planted.nodes(*QUOTE), seed=1)
    report = fit_and_controls(circuit_of(planted, wrong), planted.checkpoint, draws=20)
    assert report.verdict == "unfaithful"
    assert report["task_loss"].passed is False
    assert abs(report["faithfulness"].value) < 0.1
    assert report["task_accuracy"].value < 0.7
    # It is still exactly the model with those nodes kept.
    assert report["exactness"].passed


def test_one_of_two_equal_units_is_enough_for_the_task_but_is_not_all_of_the_model() -> None:
    twins = twin_values()
    report = validate(circuit_of(twins, twins.nodes(*QUOTE)), twins.checkpoint, groups=JUDGED)
    assert report.verdict == "partly"
    assert report["task_loss"].passed
    assert report["task_accuracy"].passed
    assert report["faithfulness"].passed is False


def test_keeping_everything_and_nothing_are_the_ends_of_the_scale(planted: Planted) -> None:
    whole = fit_and_controls(circuit_of(planted, all_nodes(planted)), planted.checkpoint, draws=3)
    assert whole["faithfulness"].value == 1
    assert whole["task_loss_raw"].value == pytest.approx(whole["model_loss"].value, abs=1e-12)
    # Every random circuit of this size is the whole model too: none is beaten, and there are no
    # other nodes to remove.
    assert whole["sufficiency"].value == 0
    assert np.isnan(whole["necessity"].value) and whole["necessity"].passed is False
    none = fit_and_controls(circuit_of(planted, []), planted.checkpoint, draws=3)
    assert none["faithfulness"].value == 0
    assert none["task_loss"].value == pytest.approx(np.log(2), abs=1e-3)
    assert none["task_accuracy"].value == 0.5


def test_faithfulness_is_the_ratio_of_mean_margins(planted: Planted) -> None:
    checkpoint = planted.checkpoint
    nodes = planted.nodes(*QUOTE) - {planted.parts["key"]}
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.report)
    widths = {site: len(mean) for site, mean in checkpoint.means.items()}
    masks = keep_of({}, widths)
    empty = all_margins(checkpoint.model, prompts, keep_taps(masks, checkpoint.means)).mean()
    for node in nodes:
        masks[node.site][node.index] = True
    kept = all_margins(checkpoint.model, prompts, keep_taps(masks, checkpoint.means)).mean()
    full = all_margins(checkpoint.model, prompts).mean()
    report = fit_and_controls(circuit_of(planted, nodes), checkpoint, draws=1)
    found = report["faithfulness"]
    assert found.value == pytest.approx(float((kept - empty) / (full - empty)), abs=1e-5)
    assert found.low is not None and found.high is not None
    assert found.low <= found.value <= found.high


def test_bars_come_from_the_circuit_and_from_the_defaults(
    planted: Planted, circuit: Circuit
) -> None:
    report = fit_and_controls(circuit, planted.checkpoint, draws=2)
    assert report["task_loss"].bar == circuit.losses["target_loss"]
    bars = {name: rule.bar for name, rule in RULES.items() if name in report.measures}
    assert {name: report[name].bar for name in bars} == {
        **bars,
        "task_loss": circuit.losses["target_loss"],
    }
    assert all(measure.note for measure in report.measures.values())
    assert report["task_loss"].n == 100
    assert report["task_accuracy"].n == report["exactness"].n == 200
    assert report["sufficiency"].n == 2
    aimless = fit_and_controls(replace(circuit, losses={}), planted.checkpoint, draws=2)
    assert aimless["task_loss"].bar == RULES["task_loss"].bar


def test_a_report_is_repeatable_and_survives_its_file(
    planted: Planted, circuit: Circuit, tmp_path: Path
) -> None:
    report = fit_and_controls(circuit, planted.checkpoint, seed=3, draws=4)
    again = fit_and_controls(circuit, planted.checkpoint, seed=3, draws=4)
    assert report.to_json() == again.to_json()
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json").to_json() == report.to_json()
    provenance = report.provenance
    assert {"commit", "versions", "seed", "device", "dtype", "threads", "inputs"} <= set(provenance)
    assert provenance["seed"] == 3
    assert provenance["threads"] == torch.get_num_threads()
    assert provenance["inputs"]["model"] == planted.checkpoint.hash()
    assert provenance["inputs"]["task"] == planted.task.hash()


def test_random_circuits_are_as_large_at_every_site_and_differ() -> None:
    keep = keep_of({site: tuple(range(count // 3)) for site, count in SIZES.items()}, SIZES)
    drawn = [random_circuit(keep, 0, draw) for draw in range(300)]
    for other in drawn:
        assert {site: int(mask.sum()) for site, mask in other.items()} == {
            site: count // 3 for site, count in SIZES.items()
        }
    for site, count in SIZES.items():
        often = np.mean([other[site] for other in drawn], axis=0)
        assert np.abs(often - (count // 3) / count).max() < 0.12
    same = random_circuit(keep, 0, 7)
    assert all(np.array_equal(same[site], drawn[7][site]) for site in SIZES)


def test_what_is_removed_instead_are_other_nodes() -> None:
    keep = keep_of({site: tuple(range(count // 3)) for site, count in SIZES.items()}, SIZES)
    for draw in range(20):
        for site, mask in random_elsewhere(keep, 0, draw).items():
            assert mask.sum() == keep[site].sum() and not (mask & keep[site]).any()
    most = keep_of({site: tuple(range(1, count)) for site, count in SIZES.items()}, SIZES)
    assert all(mask.sum() == 1 for mask in random_elsewhere(most, 0, 0).values())


def test_another_model_is_refused_in_plain_words(planted: Planted, circuit: Circuit) -> None:
    other = quote_with_decoys(seed=1).checkpoint
    found = replace(circuit, model_step=3000)
    with pytest.raises(WireworkError) as caught:
        validate(found, replace(other, step=4000))
    assert caught.value.code == "circuit-model-mismatch"
    assert caught.value.hint == "the model that the circuit was found in"
    with pytest.raises(WireworkError) as caught:
        require_model_of(
            found,
            replace(other, step=4000),
            circuit_name="quote.circuit",
            model_name="runs/tiny",
            right_model=lambda: "runs/tiny@3000",
        )
    assert str(caught.value).splitlines() == [
        f"error[circuit-model-mismatch]: quote.circuit was found in model "
        f"{circuit.model_hash[:6]}… but runs/tiny is {other.hash()[:6]}…",
        "  expected  a model with the same weights hash",
        "  got       runs/tiny (step 4000; the circuit was found at step 3000)",
        "  try       --model runs/tiny@3000",
    ]


def test_another_task_may_be_asked_if_the_circuit_has_its_answers(
    planted: Planted, circuit: Circuit
) -> None:
    short = replace(planted.task, report=planted.task.report[:10])
    assert fit_and_controls(circuit, planted.checkpoint, short, draws=2)["task_loss"].n == 10
    brackets = {"double": Answers(tokens=(")",)), "single": Answers(tokens=("]",))}
    with pytest.raises(WireworkError) as caught:
        validate(circuit, planted.checkpoint, replace(planted.task, answers=brackets))
    assert caught.value.code == "circuit-lacks-answers"


def test_what_cannot_be_validated_is_refused_before_any_work(
    planted: Planted, circuit: Circuit
) -> None:
    with pytest.raises(WireworkError) as caught:
        validate(circuit, planted.checkpoint, groups=["fitt"])
    assert caught.value.code == "group-unknown"
    assert caught.value.hint == "fit"
    with pytest.raises(WireworkError) as caught:
        validate(replace(circuit, ablation="by hand"), planted.checkpoint)
    assert caught.value.code == "ablation-unknown"


@pytest.mark.long
def test_groups_say_whether_they_have_curves(
    planted: Planted, circuit: Circuit, tmp_path: Path
) -> None:
    config = ValidationConfig(
        draws=2, pairs=4, restore_draws=1, budgets=(1,), adversary_restarts=1, adversary_steps=1,
        adversary_tries=1, attack_pairs=2, null_steps=2, matched_draws=2, needed_nodes=1,
        test_draws=5, padding_draws=5, edge_draws=3, edge_tests=1, interchange_draws=1,
        ablation_pairs=8,
    )  # fmt: skip
    for name, group in GROUPS.items():
        if not group.usual:
            continue
        report = validate(circuit, planted.checkpoint, groups=[name], config=config)
        if group.curves:
            require_curves([name])
            draw_validation(report, tmp_path / f"{name}.svg")
            continue
        for refused in (
            lambda name=name: require_curves([name]),
            lambda report=report, name=name: draw_validation(report, tmp_path / f"{name}.svg"),
        ):
            with pytest.raises(WireworkError, match="curves-missing"):
                refused()


@pytest.mark.parametrize("name", ["restore_rates", "budgets"])
def test_a_test_needs_something_to_try(name: str) -> None:
    with pytest.raises(WireworkError, match="config-invalid"):
        ValidationConfig.parse({name: []})


def test_one_template_and_one_pair_are_enough_for_a_report() -> None:
    planted = close_quote()
    circuit = circuit_of(planted, planted.active)
    pair: Pair = planted.task.report[0]
    report = fit_and_controls(
        circuit, planted.checkpoint, replace(planted.task, report=(pair,)), draws=1
    )
    found = report["task_loss"]
    assert found.n == 1
    assert found.low == found.high == pytest.approx(found.value)


def test_node_order_of_a_random_draw_does_not_matter(planted: Planted) -> None:
    nodes = sorted(planted.nodes(*QUOTE))
    reports = [
        fit_and_controls(circuit_of(planted, order), planted.checkpoint, draws=2).to_json()[
            "measures"
        ]
        for order in (nodes, list(reversed(nodes)))
    ]
    assert reports[0] == reports[1]
