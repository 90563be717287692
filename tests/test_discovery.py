"""Discovery: exactness of what is taken out, repeats, resumes, refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wirework.ablation import PromptTensors, keep_taps, kept_nodes, site_gates
from wirework.circuit import Circuit, extract
from wirework.core import Site, WireworkError
from wirework.core.files import sha256_file
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.discovery import DiscoveryConfig, discover
from wirework.engine import forward
from wirework.model import Checkpoint, ModelConfig, Transformer, reference_means, sparse
from wirework.tasks import Task, load_task

SHAPE: dict[str, Any] = {
    "context": 160, "n_layer": 2, "d_model": 24, "n_head": 3, "d_head": 8, "d_mlp": 48,
    "d_position": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("python/single_double_quote")


@pytest.fixture(scope="module")
def tokenizer(task: Task) -> Tokenizer:
    return Tokenizer.train([pair.prompt for pair in task.fit], 400)


def random_checkpoint(tokenizer: Tokenizer, seed: int = 0, **changes: Any) -> Checkpoint:
    """A model nobody trained, with half of its weights cut."""
    config = ModelConfig.parse({**SHAPE, "vocab_size": tokenizer.vocab_size, **changes})
    model = Transformer(config, seed=seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.3)
        for matrix in model.projected():
            matrix.weight.mul_(torch.rand(matrix.weight.shape, generator=draw) < 0.5)
    text = torch.randint(0, tokenizer.vocab_size, (4, 60), generator=draw)
    return Checkpoint(model, tokenizer, reference_means(model, [text]), step=1)


SWITCHES: list[dict[str, Any]] = [
    {},
    {"position": "concat", "position_table": "sinusoidal"},
    {"position": "add", "sink": False},
    {"bias": False, "activation": "relu", "bigram": "none"},
    {"afrac": 1.0},
    {"afrac_places": ["attn.in", "attn.q", "mlp.neuron", "resid.attn", "resid.mlp"]},
]


@settings(max_examples=4)
@given(seed=st.integers(0, 10_000), share=st.floats(0.02, 0.9))
@pytest.mark.parametrize(
    "changes",
    [*SWITCHES[:3], *(pytest.param(one, marks=pytest.mark.long) for one in SWITCHES[3:])],
    ids=str,
)
def test_masked_model_circuit_and_engine_agree_on_200_prompts(
    changes: dict[str, Any], seed: int, share: float, task: Task, tokenizer: Tokenizer
) -> None:
    checkpoint = random_checkpoint(tokenizer, seed, **changes)
    model = checkpoint.model.double()
    encoded = task.encode(tokenizer, 160)
    prompts = encoded.report.take(range(100))  # 100 pairs, 200 prompts
    random = np.random.default_rng(seed)
    keep = {
        site: random.random(model.config.width(site.kind)) < share
        for site in sites(model.config.n_layer)
    }
    answers = encoded.answer_tokens()
    tensors = PromptTensors.of(prompts)
    taps = keep_taps(keep, checkpoint.means)
    with torch.no_grad():
        final = model.read_out(tensors.tokens, taps())
        rows = torch.arange(200)
        chosen = model.unembed(final[rows, tensors.last], tensors.tokens[rows, tensors.last])
    masked = chosen[:, torch.from_numpy(answers)].numpy()

    gates = site_gates(keep, checkpoint.means)
    lone = extract(sparse(model), gates, answers)
    alone = forward(lone, prompts.tokens, dtype=np.float64, last=prompts.last).logits
    whole = forward(sparse(model), prompts.tokens, dtype=np.float64, last=prompts.last).logits
    with torch.no_grad():
        final = model.read_out(tensors.tokens)
        full = model.unembed(final[rows, tensors.last], tensors.tokens[rows, tensors.last])
    assert np.abs(alone - masked).max() < 1e-9
    assert np.abs(whole - full.numpy()).max() < 1e-9


QUICK = DiscoveryConfig(steps=12, batch=4, coefficient=1e-3, dtype="float32", clean_up=False)


def search(checkpoint: Checkpoint, task: Task, **options: Any) -> Circuit:
    return discover(checkpoint, task, config=QUICK, unlearned_ok=True, **options)


def test_a_found_circuit_says_all_about_itself(
    task: Task, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint = random_checkpoint(tokenizer)
    circuit = search(checkpoint, task)
    circuit.save(tmp_path / "quote.circuit")
    info = Circuit.load(tmp_path / "quote.circuit").info()
    for name in (
        "nodes", "edges", "embedding_edges", "unembedding_edges", "shadow_weights", "runs_alone",
        "task", "task_loss", "task_loss_raw", "task_accuracy", "model_hash",
    ):  # fmt: skip
        assert name in info
    assert info["task"] == task.name
    assert info["model_hash"] == checkpoint.hash()


def test_equal_seeds_give_equal_circuits(task: Task, tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint = random_checkpoint(tokenizer)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        search(checkpoint, task, seed=seed).save(tmp_path / name)
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")
    assert sha256_file(tmp_path / "a") != sha256_file(tmp_path / "c")


def test_the_losses_in_the_file_are_those_of_the_lone_circuit(
    task: Task, tokenizer: Tokenizer
) -> None:
    checkpoint = random_checkpoint(tokenizer)
    circuit = search(checkpoint, task)
    prompts = task.encode(tokenizer, 160).report
    logits = circuit.logits(prompts.tokens, np.float64, last=prompts.last)
    column = {int(token): i for i, token in enumerate(circuit.network.answers)}

    def side(ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows = [np.logaddexp.reduce([row[column[int(t)]] for t in own if t >= 0])
                for row, own in zip(logits, ids, strict=True)]  # fmt: skip
        return np.array(rows)

    margin = side(prompts.wanted) - side(prompts.other)
    sign = np.repeat([1, -1], len(prompts))
    calibrated = circuit.calibration.scale * margin + circuit.calibration.shift * sign
    assert np.logaddexp(0, -calibrated).mean() == pytest.approx(
        circuit.losses["task_loss"], abs=1e-4
    )
    assert np.logaddexp(0, -margin).mean() == pytest.approx(
        circuit.losses["task_loss_raw"], abs=1e-4
    )
    assert (calibrated > 0).mean() == pytest.approx(circuit.losses["task_accuracy"], abs=0.01)


def test_a_model_that_misses_the_target_is_refused_before_any_work(
    task: Task, tokenizer: Tokenizer
) -> None:
    with pytest.raises(WireworkError, match="task-unlearned") as caught:
        discover(random_checkpoint(tokenizer), task, config=QUICK)
    assert "loss" in caught.value.got
    assert "--unlearned-ok" in caught.value.hint


def test_no_node_of_a_circuit_lies_off_every_path(task: Task, tokenizer: Tokenizer) -> None:
    from wirework.circuit import off_path

    circuit = search(random_checkpoint(tokenizer), task)
    tokens = np.array(circuit.prompt_tokens)
    assert off_path(circuit.network, circuit.nodes, tokens=tokens) == {}


def test_ctrl_c_saves_and_resume_gives_the_same_bytes(
    task: Task, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint = random_checkpoint(tokenizer)
    search(checkpoint, task).save(tmp_path / "whole")
    state = tmp_path / "state"
    with pytest.raises(WireworkError, match=r"interrupted[\s\S]*--resume"):
        search(checkpoint, task, state=state, start=InterruptGates(5))
    assert state.exists()
    search(checkpoint, task, state=state).save(tmp_path / "resumed")
    assert sha256_file(tmp_path / "whole") == sha256_file(tmp_path / "resumed")
    with pytest.raises(WireworkError, match="resume-mismatch"):
        search(checkpoint, task, state=state, seed=3)


class InterruptGates:
    """A progress bar that presses Ctrl-C at a step of the gate training."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.label = ""

    def __call__(self, label: str, total: int, done: int = 0) -> InterruptGates:
        self.label = label
        return self

    def __enter__(self) -> InterruptGates:
        return self

    def __exit__(self, *ignored: object) -> None:
        return None

    def advance(self, steps: int = 1, **shown: float | int | str) -> None:
        if self.label == "gates":
            self.left -= steps
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGINT)


SCRIPT = """
import sys
from pathlib import Path
from wirework.discovery import DiscoveryConfig, discover
from wirework.model import Checkpoint
from wirework.tasks import load_task
folder, out, state = map(Path, sys.argv[1:])
config = DiscoveryConfig(steps=200, batch=4, coefficient=1e-3, dtype="float32", clean_up=False)
circuit = discover(Checkpoint.load(folder), load_task("python/single_double_quote"), config=config,
                   state=state, unlearned_ok=True)
circuit.save(out)
"""


@pytest.mark.long
def test_kill_nine_then_resume_gives_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    random_checkpoint(tokenizer).save(tmp_path / "model")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "model")]
    subprocess.run([*command, str(tmp_path / "whole"), str(tmp_path / "state-a")], check=True)
    state = tmp_path / "state-b"
    child = subprocess.Popen([*command, str(tmp_path / "broken"), str(state)])
    while child.poll() is None and not state.exists():
        time.sleep(0.002)
    assert child.poll() is None
    child.kill()
    child.wait()
    assert not (tmp_path / "broken").exists()
    subprocess.run([*command, str(tmp_path / "broken"), str(state)], check=True)
    assert sha256_file(tmp_path / "whole") == sha256_file(tmp_path / "broken")


def test_kept_nodes_and_masks_are_inverse() -> None:
    from wirework.ablation import keep_of

    site = Site(0, "attn.v")
    nodes = {site: (1, 4)}
    keep = keep_of(nodes, {site: 6, Site(0, "attn.q"): 2})
    assert kept_nodes(keep) == nodes
    assert not keep[Site(0, "attn.q")].any()


def test_float32_and_float64_circuits_stay_close(task: Task, tokenizer: Tokenizer) -> None:
    """Near-ties of AbsTopK may fall differently in float32; most prompts do not meet one."""
    circuit = search(random_checkpoint(tokenizer), task)
    prompts = task.encode(tokenizer, 160).report
    low = circuit.logits(prompts.tokens, np.float32, last=prompts.last)
    high = circuit.logits(prompts.tokens, np.float64, last=prompts.last)
    gaps = np.abs(low - high).max(axis=1)
    assert np.median(gaps) < 1e-4
