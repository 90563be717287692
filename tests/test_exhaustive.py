"""Finite domains are gone through whole, and every counterexample is listed."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from open_text import open_brackets, open_quote
from planted_circuits import all_nodes, circuit_of
from planted_openings import lacking, subject_of, two_openings
from wirework.core.progress import silent
from wirework.planted import Planted, copy_previous
from wirework.tasks import load_task
from wirework.validation.config import ValidationConfig
from wirework.validation.exhaustive import domains_of, exhaustive_findings, exhaustive_passes
from wirework.validation.findings import Findings

CONFIG = ValidationConfig(exhaustive_limit=400)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return two_openings(tmp_path_factory.mktemp("task"))


def gone_through(planted: Planted, *missing: str) -> Findings:
    subject = subject_of(planted, lacking(planted, *missing))
    return exhaustive_findings(subject, CONFIG, seed=0, start=silent)


def test_a_true_circuit_decides_like_its_model_everywhere(planted: Planted) -> None:
    found = gone_through(planted)
    agreement = found.measures["exhaustive_agreement"]
    details = found.details["exhaustive"]
    assert agreement.value == 1
    assert agreement.low is None
    assert agreement.n == sum(domain["prompts"] for domain in details["domains"])
    assert 200 < (agreement.n or 0) <= CONFIG.exhaustive_limit
    assert details["counterexamples"] == []
    assert agreement.note


def test_all_counterexamples_and_no_others_are_listed(planted: Planted) -> None:
    found = gone_through(planted, "read bracket")
    domains = found.details["exhaustive"]["domains"]
    listed = found.details["exhaustive"]["counterexamples"]
    words = domains[0]["fillings"]["word"]
    # The circuit answers every string behind a bracket alike, so that one side of each is wrong.
    names = permutations(words, 3), permutations(words, 4)
    expected = {f"{a} f(?{b} {c}" for a, b, c in names[0]}
    expected |= {f"{a} {b} f(?{c} {d}" for a, b, c, d in names[1]}
    assert {example["text"].replace('"', "?").replace("'", "?") for example in listed} == expected
    assert len(listed) == len(expected) == domains[0]["disagreed"]
    n = sum(domain["prompts"] for domain in domains)
    assert found.measures["exhaustive_agreement"].value == pytest.approx(1 - len(listed) / n)
    assert all(example["model"] > 0 >= example["circuit"] for example in listed)


def test_a_small_domain_is_taken_whole(planted: Planted) -> None:
    fillings, strings = domains_of(planted.task, 10_000, 0)
    assert "all fillings" in fillings.says
    assert len(fillings.pairs) == 2 * (7 * 6 * 5 + 7 * 6 * 5 * 4)
    assert len({pair.prompt for pair in fillings.pairs}) == len(fillings.pairs)
    longest = strings.parts["longest"]
    pieces = ("a", " b", '\\"', "\\'")
    rows = ["".join(row) for k in range(1, longest + 1) for row in product(pieces, repeat=k)]
    begin = strings.pairs[0].prompt.partition('"')[0] + '"'
    assert [pair.prompt for pair in strings.pairs] == [begin + row for row in rows]
    assert all(open_quote(pair.prompt) == '"' for pair in strings.pairs)
    assert all(open_quote(pair.counterfactual) == "'" for pair in strings.pairs)


@pytest.mark.parametrize("limit", [2, 60, 500])
def test_no_more_prompts_than_the_limit_are_asked(planted: Planted, limit: int) -> None:
    domains = domains_of(planted.task, limit, 0)
    assert sum(2 * len(domain.pairs) for domain in domains) <= limit


def test_brackets_of_every_depth_keep_their_label() -> None:
    _, brackets = domains_of(load_task("python/bracket_counting"), 2000, 0)
    assert {open_brackets(pair.prompt) for pair in brackets.pairs} == {"]]"}
    assert {open_brackets(pair.counterfactual) for pair in brackets.pairs} == {"]"}
    inside = {pair.prompt.count("[") for pair in brackets.pairs}
    assert len(inside) > 2


def test_nothing_is_said_of_a_task_without_a_domain() -> None:
    letters = copy_previous()
    subject = subject_of(letters, circuit_of(letters, all_nodes(letters)))
    assert exhaustive_findings(subject, CONFIG, seed=0, start=silent) == Findings()
    assert exhaustive_passes(subject, CONFIG) == 0
