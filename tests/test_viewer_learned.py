"""Page, Python engine and masked torch model answer alike, in float64, on every learned task."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from playwright.sync_api import Page

from browser import start_browser
from page_engine import open_modules, start_engine
from wirework.ablation import PromptTensors, lone_margins
from wirework.circuit import Circuit, without_edges
from wirework.core import Edge, Node
from wirework.core.names import sites
from wirework.discovery import take_circuit
from wirework.model import Checkpoint
from wirework.tasks import Task, load_task
from wirework.training import load_checkpoint
from wirework.validation.subject import Subject
from wirework.viewer import render_page
from wirework.viewer.examples import answer_sets
from wirework.viewer.program import program

MODEL = "reference/v1-sparse-small"
LEARNED = ("python/single_double_quote", "python/if_equals", "python/indent_for")

Margins = NDArray[np.float64]


@pytest.fixture(scope="module")
def page(chromium: Path) -> Iterator[Page]:
    with start_browser(chromium) as browser:
        yield open_modules(browser)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(MODEL)


def drawn_circuit(checkpoint: Checkpoint, task: Task, share: float) -> Circuit:
    """A circuit that nobody searched for: a share of all nodes, drawn at random."""
    random = np.random.default_rng(7)
    config = checkpoint.model.config
    nodes = [
        Node(site, int(index))
        for site in sites(config.n_layer)
        for index in np.flatnonzero(random.random(config.width(site.kind)) < share)
    ]
    return take_circuit(checkpoint, task, nodes)


def three_margins(
    page: Page,
    circuit: Circuit,
    checkpoint: Checkpoint,
    task: Task,
    pairs: int,
    cut: Collection[Edge] = (),
) -> list[Margins]:
    """Calibrated margins (2N) of the circuit without the edges `cut`, on the first `pairs` of
    `report`: in the page, in the engine, in torch."""
    less = replace(circuit, network=without_edges(circuit.network, cut))
    subject = Subject.of(less, checkpoint, task)
    subject = replace(subject, model=deepcopy(subject.model).double())
    prompts = subject.report.pairs(torch.arange(pairs))
    engine = lone_margins(less.network, prompts, np.float64)
    masked = subject.circuit_margins(prompts).numpy()
    scale, side = circuit.calibration, prompts.side.numpy()
    # The page cuts the edges itself.
    sets = answer_sets(task, task.encode(checkpoint.tokenizer, circuit.network.context))
    start_engine(page, program(circuit, sets) or {})
    found = page.evaluate(
        "([rows, edges]) => rows.map(([ids, ...asked]) => engine"
        ".run(Int32Array.from(ids), { edges }).margin(...asked).at(-1))",
        [list(asked_rows(task, prompts, sets)), [str(edge) for edge in cut]],
    )
    raw = (scale.scale * margins + scale.shift * side for margins in (engine, masked))
    return [np.array(found), *raw]


def asked_rows(
    task: Task, prompts: PromptTensors, sets: Mapping[str, tuple[int, ...]]
) -> Iterator[list[Any]]:
    """Of every row its tokens, the answer that it wants, the other one, and its side."""
    pairs = len(prompts)
    for row in range(2 * pairs):
        pair, side = task.report[row % pairs], row // pairs
        names = [pair.answer, pair.counter_answer]
        names = names[::-1] if side else names
        for name, answers in zip(names, (prompts.wanted[row], prompts.other[row]), strict=True):
            assert sets[name] == tuple(sorted(answers[answers >= 0].tolist()))
        yield [prompts.tokens[row, : int(prompts.last[row]) + 1].tolist(), *names, side]


def largest_gap(
    page: Page,
    circuit: Circuit,
    checkpoint: Checkpoint,
    task: Task,
    pairs: int,
    cut: Collection[Edge] = (),
) -> float:
    """The largest difference between two of the three, relative to the range of the logits."""
    found, engine, masked = three_margins(page, circuit, checkpoint, task, pairs, cut)
    tokens = task.encode(checkpoint.tokenizer, circuit.network.context).report.tokens[:4]
    size = np.ptp(circuit.logits(tokens, np.float64))
    return float(max(np.abs(found - engine).max(), np.abs(found - masked).max()) / size)


@pytest.mark.parametrize("name", LEARNED[:1])
def test_three_answers_are_one(page: Page, checkpoint: Checkpoint, name: str) -> None:
    task = load_task(name)
    circuit = drawn_circuit(checkpoint, task, 0.35)
    assert circuit.n_edges > 200
    assert largest_gap(page, circuit, checkpoint, task, 8) < 1e-9


def test_three_answers_without_an_edge_are_one(page: Page, checkpoint: Checkpoint) -> None:
    task = load_task(LEARNED[0])
    circuit = drawn_circuit(checkpoint, task, 0.35)
    edge = circuit.edges()[-1][0]
    assert largest_gap(page, circuit, checkpoint, task, 4, [edge]) < 1e-9


@pytest.mark.long
@pytest.mark.parametrize("name", LEARNED)
def test_three_answers_are_one_on_200_prompts(
    page: Page, checkpoint: Checkpoint, name: str
) -> None:
    task = load_task(name)
    circuit = drawn_circuit(checkpoint, task, 0.35)
    assert largest_gap(page, circuit, checkpoint, task, 100) < 1e-9


@pytest.mark.long
def test_any_single_edge_cut_gives_one_answer(page: Page, checkpoint: Checkpoint) -> None:
    task = load_task(LEARNED[0])
    circuit = drawn_circuit(checkpoint, task, 0.2)
    for edge, _ in circuit.edges():
        assert largest_gap(page, circuit, checkpoint, task, 2, [edge]) < 1e-9, str(edge)


@pytest.mark.long
def test_the_page_of_a_circuit_of_the_larger_model_is_small() -> None:
    task = load_task(LEARNED[0])
    circuit = drawn_circuit(load_checkpoint("reference/v1-sparse"), task, 0.05)
    assert len(render_page(circuit).encode()) <= 1_500_000
