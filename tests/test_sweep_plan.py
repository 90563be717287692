"""Plans of sweeps: runs known by their content, rungs, who goes on; curves of what was found."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import WireworkError
from wirework.discovery import DiscoveryConfig
from wirework.discovery.sweep_config import Candidate, SweepConfig, SweepExecution
from wirework.discovery.sweep_plan import Plan, RunResult, SweepTask, survivors
from wirework.discovery.sweep_result import edges_at, geomean_of_edges, lower_edge


def plan_of(*tasks: str, **settings: Any) -> Plan:
    named = tuple(SweepTask(name=name, content=f"hash of {name}", local=False) for name in tasks)
    config = SweepConfig.parse(settings)
    return Plan(model="runs/tiny", model_hash="ab" * 32, config=config, tasks=named)


def finals(plan: Plan) -> list[Any]:
    return plan.finals(dict.fromkeys(plan.groups, plan.config.candidates))


def result(edges: int | None, status: str = "found", **changes: Any) -> RunResult:
    sizes = {} if edges is None else {"edges": edges, "nodes": 2 * edges}
    base = {
        "id": "0", "task": "t", "variant": "", "coefficient": 1e-3, "lr": 1e-3, "seed": 0,
        "steps": 1, "trial": True, "status": status, "sizes": sizes,
    }  # fmt: skip
    return RunResult.parse({**base, **changes})


def test_every_task_meets_every_candidate_seed_and_variant() -> None:
    plan = plan_of(
        "a", "b", coefficients=[1e-3, 1e-2], lrs=[1e-3, 3e-3], seeds=[0, 1, 2],
        ablations=["mean-pretraining", "zero"], vary={"every_template": [True, False]},
    )  # fmt: skip
    runs = finals(plan)
    assert len({run.id for run in runs}) == len(runs) == plan.count() == 2 * 2 * 2 * 3 * 2 * 2
    assert {run.variant for run in runs} == {
        f"{ablation} every_template={value}"
        for ablation in ("mean-pretraining", "zero")
        for value in ("true", "false")
    }
    zero = next(run for run in runs if run.variant == "zero every_template=false")
    assert zero.discovery.ablation.kind == "zero"
    assert zero.discovery.every_template is False


def test_the_identity_is_the_content_and_not_the_names_beside_it() -> None:
    (run,) = finals(plan_of("a", coefficients=[1e-3]))
    for change in (
        {"seed": 1}, {"task_hash": "x"}, {"model_hash": "x"}, {"unlearned_ok": True},
        {"task": "b"}, {"discovery": DiscoveryConfig(steps=7).plain()},
    ):  # fmt: skip
        assert run.replace(**change).id != run.id
    assert run.replace(variant="zero", trial=True).id == run.id
    assert run.id == "".join(c for c in run.id if c in "0123456789abcdef")
    assert len(run.id) == 16


def test_a_plan_survives_its_file() -> None:
    plan = plan_of("a", "b", halving=True)
    plan = plan.with_runs(plan.trials(10, dict.fromkeys(plan.groups, plan.config.candidates)))
    assert Plan.parse(plan.plain()) == plan
    assert [run.id for run in Plan.parse(plan.plain()).runs] == [run.id for run in plan.runs]


def test_equal_candidates_are_run_once() -> None:
    assert len(finals(plan_of("a", coefficients=[1e-3, 1e-3]))) == 1


def test_rungs_double_their_steps_and_halve_the_candidates() -> None:
    config = SweepConfig(
        coefficients=(1e-4, 3e-4, 1e-3, 3e-3), lrs=(1e-3, 3e-3, 1e-2), halving=True,
        discovery=DiscoveryConfig(steps=800),
    )  # fmt: skip
    assert list(config.rungs) == [(100, 12), (200, 6), (400, 3)]
    assert SweepConfig(coefficients=(1e-3,), halving=True).rungs == ()
    assert SweepConfig().rungs == ()


def test_trials_are_short_without_clean_up_and_at_one_seed() -> None:
    plan = plan_of("a", seeds=[4, 5], halving=True, discovery={"edges": True})
    runs = plan.trials(30, dict.fromkeys(plan.groups, plan.config.candidates))
    assert len(runs) == len(plan.config.candidates)
    for run in runs:
        assert run.trial
        assert run.seed == 4
        assert run.discovery.steps == 30
        assert not run.discovery.clean_up
        assert not run.discovery.edges


@given(
    coefficients=st.lists(st.sampled_from([1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]), min_size=1,
                          unique=True),
    seeds=st.integers(1, 3),
    tasks=st.integers(1, 3),
    halving=st.booleans(),
)  # fmt: skip
def test_the_number_of_runs_is_known_before_the_first(
    coefficients: list[float], seeds: int, tasks: int, halving: bool
) -> None:
    plan = plan_of(
        *(f"task {i}" for i in range(tasks)), coefficients=coefficients, halving=halving,
        seeds=list(range(seeds)),
    )  # fmt: skip
    going = {group: list(plan.config.candidates) for group in plan.groups}
    total = 0
    for rung in plan.config.rungs:
        runs = plan.trials(rung.steps, going)
        assert len(runs) == rung.candidates * tasks
        total += len(runs)
        for group in going:
            mine = [result(3, coefficient=run.candidate.coefficient, lr=run.candidate.lr)
                    for run in runs if run.group == group]  # fmt: skip
            going[group] = survivors(mine)
    assert total + len(plan.finals(going)) == plan.count()


def test_the_better_half_met_the_target_with_the_fewest_edges() -> None:
    results = [
        result(40, coefficient=1e-4),
        result(None, "missed", coefficient=3e-4),
        result(9, coefficient=1e-3),
        result(2, "missed", coefficient=3e-3),
        result(9, coefficient=1e-2),
    ]
    assert survivors(results) == [Candidate(c, 1e-3) for c in (1e-3, 1e-2, 1e-4)]
    assert survivors(results[1:2]) == [Candidate(3e-4, 1e-3)]


points = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 30), st.floats(0, 1, allow_nan=False)), max_size=12
)


@given(points, st.floats(0, 1))
def test_the_curve_gives_the_fewest_edges_at_every_loss(
    found: list[tuple[int, int, float]], loss: float
) -> None:
    curve = lower_edge(found)
    assert [edges for _, edges, _ in curve] == sorted({edges for _, edges, _ in curve})
    assert all(a[2] > b[2] for a, b in pairwise(curve))
    wanted = min((edges for _, edges, reached in found if reached <= loss), default=None)
    assert edges_at(curve, loss) == wanted


def test_circuits_without_edges_count_as_one_in_the_geometric_mean() -> None:
    value, low, high = geomean_of_edges([0, 3])
    assert value == pytest.approx(2)
    assert 1 <= low <= value <= high <= 4


def test_wrong_settings_are_refused_by_name() -> None:
    with pytest.raises(WireworkError, match="ablation-unknown"):
        SweepConfig(ablations=("nothing",)).variants()
    with pytest.raises(WireworkError, match="config-unknown-key"):
        SweepConfig.parse({"vary": {"stepps": [1, 2]}}).variants()
    with pytest.raises(WireworkError, match="config-invalid"):
        SweepConfig.parse({"coefficients": []})


def test_threads_decide_how_many_run_at_a_time() -> None:
    alone = SweepExecution().processes()
    assert alone >= 1
    assert SweepExecution(threads=alone).processes() == 1
    assert SweepExecution(jobs=3, threads=64).processes() == 3
