"""Measurements: both sides compute the same thing, ratios are what they say, misses are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from wirework.bench import DecodeBench, LoadBench, TrainBench
from wirework.bench.dense_decode import DenseDecoder
from wirework.bench.load import bytes_of
from wirework.bench.machine import describe_machine, notes_on
from wirework.bench.memory import bytes_in
from wirework.bench.random_network import random_network
from wirework.bench.reference_step import Attend, ReferenceStep
from wirework.bench.train import batches, fresh_model
from wirework.bench.turns import Side, quickest, ratio, take_turns
from wirework.cli.app import app
from wirework.core import Report, WireworkError
from wirework.core.progress import silent
from wirework.data import Tokenizer
from wirework.engine import Network, forward, generate
from wirework.model import Checkpoint, ModelConfig, Transformer
from wirework.sparsity import SparseAdamW, project
from wirework.training.loss import next_token_loss

TINY = ["--d-model", 32, "--layers", 1, "--vocab", 300]
NETWORK = ModelConfig(
    vocab_size=300, context=40, n_layer=2, d_model=64, n_head=4, d_head=16, d_mlp=256
)


def bench(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `wirework bench`."""
    done = CliRunner().invoke(app, ["bench", *(str(argument) for argument in arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def network() -> Network:
    return random_network(NETWORK, 1 / 12, seed=3)


@pytest.fixture(scope="module")
def prompts() -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).integers(NETWORK.vocab_size, size=(2, 9))


def both_steps(attend: Attend, *, stable: bool) -> tuple[Transformer, ReferenceStep, list[float]]:
    """Our model and the reference after three steps in float64; gaps of their losses."""
    config = TrainBench(d_model=32, layers=2, context=16, batch=2, vocab_size=300)
    recipe = config.sparsity_of("sparse").replace(warmup=0.0, lr=0.05, epsilon=1e-3)
    model = fresh_model(config, "sparse", torch.float64)
    optimizer = SparseAdamW(model, recipe, 10)
    reference = ReferenceStep(
        fresh_model(config, "sparse", torch.float64), recipe, 10,
        dtype=torch.float64, attend=attend, stable=stable,
    )  # fmt: skip
    gaps = []
    for step, windows in enumerate(batches(config)[:3]):
        loss = next_token_loss(model, windows)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
        gaps.append(abs(reference(windows, step) - float(loss.detach())))
    return model, reference, gaps


@pytest.mark.parametrize("attend", get_args(Attend))
def test_reference_step_is_our_step(attend: Attend) -> None:
    model, reference, gaps = both_steps(attend, stable=True)
    assert max(gaps) < 1e-9
    for name, ours in model.named_parameters():
        theirs = reference.weights[name]
        assert torch.equal(ours == 0, theirs == 0), name
        torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-9)
    projected = [matrix.weight for matrix in model.projected()]
    assert sum(int(w.count_nonzero()) for w in projected) < 0.4 * sum(w.numel() for w in projected)


def test_quicker_reference_step_differs_in_ties_alone() -> None:
    """Its gradients may pass through other zeros; the first loss has none to choose from."""
    _, _, gaps = both_steps("written", stable=False)
    assert gaps[0] < 1e-9
    assert max(gaps) < 1e-4


def test_dense_decoding_is_the_engine(
    network: Network, prompts: np.ndarray[Any, np.dtype[np.int64]]
) -> None:
    dense = DenseDecoder(network, torch.float64, capacity=NETWORK.context, batch=2)
    found = [dense.prefill(prompts)]
    rows = [prompts]
    for _ in range(20):
        chosen = found[-1].argmax(-1)
        rows.append(chosen[:, None].numpy())
        found.append(dense.decode(chosen))
    logits = forward(network, np.concatenate(rows, 1), dtype=np.float64).logits
    assert np.abs(torch.stack(found, 1).numpy() - logits[:, 8:]).max() < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dense_decoding_is_near_in_lower_precision(
    network: Network, prompts: np.ndarray[Any, np.dtype[np.int64]], dtype: torch.dtype
) -> None:
    """Compared without AbsTopK, whose near-ties may fall otherwise."""
    exact = DenseDecoder(network, torch.float64, capacity=NETWORK.context, batch=2, top_k=False)
    near = DenseDecoder(network, dtype, capacity=NETWORK.context, batch=2, top_k=False)
    assert near.weight_bytes * 8 == exact.weight_bytes * dtype.itemsize
    assert near.cache_bytes == 2 * 2 * 2 * (NETWORK.context + 1) * 64 * dtype.itemsize
    bound = 1e-3 if dtype == torch.float32 else 0.3
    for tokens in (None, torch.tensor([1, 2]), torch.tensor([3, 4])):
        both = [d.prefill(prompts) if tokens is None else d.decode(tokens) for d in (exact, near)]
        assert (both[0] - both[1]).abs().max() < bound


@pytest.mark.long
def test_both_sides_generate_the_same_tokens(
    network: Network, prompts: np.ndarray[Any, np.dtype[np.int64]]
) -> None:
    dense = DenseDecoder(network, torch.float32, capacity=NETWORK.context)
    found = generate(network, list(prompts), tokens=12)
    for prompt, ours in zip(prompts, found, strict=True):
        assert list(dense.stream(prompt[None], 12)) == list(ours)


def test_random_network_gives_every_neuron_its_floor(network: Network) -> None:
    for layer in network.layers:
        for matrix in (layer.q, layer.k, layer.v, layer.mlp_in):
            assert np.diff(matrix.indptr).min() >= 4
        for matrix in (layer.attn_out, layer.mlp_out):
            assert np.bincount(matrix.indices, minlength=matrix.shape[1]).min() >= 4
            assert matrix.nnz == int(matrix.shape[0] * matrix.shape[1] / 12)
    again = random_network(NETWORK, 1 / 12, seed=3)
    other = random_network(NETWORK, 1 / 12, seed=4)
    assert np.array_equal(again.layers[1].mlp_out.values, network.layers[1].mlp_out.values)
    assert not np.array_equal(other.layers[1].mlp_out.values, network.layers[1].mlp_out.values)


def test_bytes_of_a_network_are_those_of_its_arrays(network: Network) -> None:
    matrix = network.layers[0].q
    assert bytes_in(matrix) == matrix.values.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    assert network.bigram is not None
    assert bytes_in(network) > network.bigram.nbytes + 2 * 6 * bytes_in(matrix)


def test_turns_alternate_and_the_first_ones_do_not_count() -> None:
    order: list[str] = []
    sides = {
        "a": Side(lambda: order.append("a"), lambda: order.append("ready")),
        "b": Side(lambda: order.append("b")),
    }
    seconds = take_turns(sides, turns=2, warm_up=1, label="", start=silent)
    assert order == ["ready", "a", "b"] * 3
    assert {name: len(every) for name, every in seconds.items()} == {"a": 2, "b": 2}


def test_ratio_is_the_median_of_pairs() -> None:
    """Not the ratio of medians, and one slow turn does not move it."""
    measure = ratio([2.0, 4.0, 300.0, 6.0, 9.0], [1.0, 2.0, 1.0, 3.0, 3.0], better="lower", bar=2)
    assert (measure.value, measure.n, measure.passed) == (2.0, 5, True)
    assert measure.low == 2.0
    assert measure.high is not None and 2.0 <= measure.high <= 300.0
    assert quickest({"a": [1.0, 1.0, 9.0], "b": [2.0, 2.0, 2.0]}) == "a"


def test_train_reports_its_ratios(tmp_path: Path) -> None:
    out = tmp_path / "train.json"
    code, text, _ = bench("train", *TINY, "--context", 8, "--batch", 2, "--json", "--out", out)
    value = json.loads(text)
    assert code == 0
    assert set(value["measures"]) == {
        "sparse_over_dense_step", "reference_over_sparse_step", "projection_share",
    }  # fmt: skip
    for measure in value["measures"].values():
        assert measure["n"] == 5
        assert 0 < measure["low"] <= measure["value"] <= measure["high"]
        assert measure["bar"] is None  # not the shape that the bars are meant for
    details = value["provenance"]["details"]
    assert details["milliseconds"]["sparse"]["median"] > 0
    assert details["machine"]["cores"] >= 1
    assert Report.load(out).to_json() == value


def test_decode_reports_its_ratios_and_a_miss_gives_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The bars of the large shape: the bigram table of this small one outweighs all else.
    monkeypatch.setattr(DecodeBench, "as_asked", True)
    code, text, _ = bench("decode", *TINY, "--context", 80, "--json")
    value = json.loads(text)
    assert code == 1
    assert value["verdict"] == "bars missed"
    assert value["measures"]["memory_ratio"]["passed"] is False
    assert set(value["measures"]) >= {
        "decode_speedup", "decode_speedup_long", "prefill_speedup",
        "prefill_speedup_without_abstopk", "generate_speedup", "memory_ratio",
    }  # fmt: skip
    assert all(measure["value"] > 0 for measure in value["measures"].values())
    counted = value["provenance"]["details"]["bytes"]
    caches = 2 * 80 * 32 * 4
    assert counted["caches_and_buffers"] > caches
    assert value["measures"]["memory_ratio"]["value"] == pytest.approx(
        (counted["weights"] + counted["caches_and_buffers"]) / counted["dense_bfloat16"]
    )


def test_load_reports_sizes_and_times() -> None:
    code, text, _ = bench("load", "--d-model", 64, "--layers", 1, "--vocab", 300, "--json")
    value = json.loads(text)
    assert code == 0 and value["verdict"] == "bars met"
    assert 5 < value["measures"]["bytes_per_nonzero_float32"]["value"] < 6
    assert 3 < value["measures"]["bytes_per_nonzero_bfloat16"]["value"] < 4
    assert value["measures"]["load_speedup"]["n"] == 5


def test_bytes_of_the_projected_matrices(tmp_path: Path) -> None:
    model = Transformer(NETWORK)
    tokenizer = Tokenizer.train(["x"], 257)
    Checkpoint(model, tokenizer, {}, 0).save(tmp_path / "dense")
    matrices = model.projected()
    numel = sum(matrix.weight.numel() for matrix in matrices)
    assert bytes_of(tmp_path / "dense/model.safetensors", matrices) == 4 * numel
    for matrix in matrices:
        project(matrix, 0.1, 4)
    Checkpoint(model, tokenizer, {}, 0).save(tmp_path / "sparse")
    assert bytes_of(tmp_path / "sparse/model.safetensors", matrices) < 0.6 * numel


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "--pairs", 4], "pairs-too-few"),
        (["load", "--d-model", 64, "--density", 0.01], "density-too-small"),
        (["train", "--d-model", 100], "config-invalid"),
        (["train", "--dtype", "int8"], "config-invalid"),
        (["decode", "--context", 64], "context-too-short"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(arguments: list[Any], code: str) -> None:
    exit_code, text, _ = bench(*arguments, "--json")
    assert exit_code == 1
    assert json.loads(text)["error"]["code"] == code


def test_hint_of_a_small_density_works() -> None:
    with pytest.raises(WireworkError, match="density-too-small") as caught:
        LoadBench.parse({"d_model": 48, "density": 0.05})
    LoadBench(d_model=48, density=float(caught.value.hint.removeprefix("--density ")))


def test_bars_are_for_the_shape_that_was_asked_for() -> None:
    assert TrainBench(pairs=7, seed=2).bar(1.2) == 1.2
    assert TrainBench(d_model=512).bar(1.2) is None
    assert DecodeBench().share == 1 / 512


def test_busy_machine_is_noted() -> None:
    machine = describe_machine()
    assert notes_on({**machine, "cores": 2, "load": 0.4}) == []
    (note,) = notes_on({**machine, "cores": 2, "load": 1.4})
    assert note["code"] == "machine-busy" and note["got"] == "1.4"
