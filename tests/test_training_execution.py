"""One run however it is executed: passes, recomputed activations, precisions; how runs fail."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from launched import InterruptAt, torchrun
from training_runs import config, content, text_folder, toml
from wirework.core import WireworkError
from wirework.core.arrays import load_arrays, save_arrays
from wirework.data import Batches, Corpus
from wirework.model import Transformer
from wirework.training import TrainConfig, train
from wirework.training.distributed import joined
from wirework.training.execution import ExecutionConfig, Executor
from wirework.training.failures import first_not_finite, memory_told


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_folder(tmp_path_factory.mktemp("source") / "text")


def arrays(run: Path, name: str = "state") -> dict[str, Any]:
    return load_arrays(run / f"{name}.safetensors")[0]


def test_micro_batches_add_up_to_one_pass(text: Path, tmp_path: Path) -> None:
    wanted = config(text, dtype="float64", batch=6, steps=20)
    train(wanted, tmp_path / "whole")
    for size in (1, 2, 3):
        train(wanted, tmp_path / f"by{size}", execution=ExecutionConfig(micro_batch=size))
        whole, parts = arrays(tmp_path / "whole"), arrays(tmp_path / f"by{size}")
        for name, value in whole.items():
            assert value.dtype == np.float64 or name.endswith("/step")
            np.testing.assert_allclose(parts[name], value, rtol=0, atol=1e-9)
            assert np.array_equal(parts[name] == 0, value == 0)


def test_recomputed_activations_change_no_bit(text: Path, tmp_path: Path) -> None:
    wanted = config(text, steps=12)
    train(wanted, tmp_path / "kept")
    train(wanted, tmp_path / "again", execution=ExecutionConfig(checkpoint_activations=True))
    kept, again = arrays(tmp_path / "kept"), arrays(tmp_path / "again")
    assert all(np.array_equal(again[name], value) for name, value in kept.items())


def test_a_resume_may_be_executed_in_another_way(text: Path, tmp_path: Path) -> None:
    train(config(text), tmp_path / "whole")
    with pytest.raises(WireworkError, match="interrupted"):
        train(config(text), tmp_path / "changed", start=InterruptAt(11))
    other = ExecutionConfig(checkpoint_activations=True, parallel="none", device="cpu")
    train(config(text), tmp_path / "changed", resume=True, execution=other)
    # Nothing that this changes enters a number.
    assert (
        content(tmp_path / "whole")["state.safetensors"]
        == (content(tmp_path / "changed")["state.safetensors"])
    )


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # of the compiler, about torch itself
def test_a_compiled_run_learns_the_same(text: Path, tmp_path: Path) -> None:
    wanted = config(text, dtype="float64", steps=6)
    train(wanted, tmp_path / "plain")
    train(wanted, tmp_path / "compiled", execution=ExecutionConfig(compile=True))
    plain, compiled = arrays(tmp_path / "plain"), arrays(tmp_path / "compiled")
    for name, value in plain.items():
        np.testing.assert_allclose(compiled[name], value, rtol=0, atol=1e-9)


def test_resume_says_what_is_different(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(WireworkError, match="interrupted"):
        train(config(text), run, start=InterruptAt(9))
    before = content(run)
    other = config(text, batch=5).override(["sparsity.lr=0.02"])
    with pytest.raises(WireworkError, match="resume-mismatch") as caught:
        train(other, run, resume=True)
    assert caught.value.expected == "batch = 4, sparsity.lr = 0.01"
    assert caught.value.got == "batch = 5, sparsity.lr = 0.02"
    assert "--set 'batch=4' --set 'sparsity.lr=0.01'" in caught.value.hint
    assert content(run) == before
    saved, header = load_arrays(run / "state.safetensors")
    name = "weight/layers.0.mlp.read.weight"
    for damage in ({name: saved[name][:, :3]}, {"weight/of.another": saved[name]}):
        save_arrays(run / "state.safetensors", {**saved, **damage}, header)
        with pytest.raises(WireworkError, match=r"state-mismatch[\s\S]*(mlp.read|of.another)"):
            train(config(text), run, resume=True)


def wild(text: Path, **changes: Any) -> TrainConfig:
    sparsity = {"epsilon": 1e-8, "density": 1.0, "embedding_density": 1.0, "warmup": 0.0}
    return config(text, checkpoint_every=1, sparsity={**sparsity, **changes})


def test_weights_that_explode_stop_the_run_and_are_kept_to_be_looked_at(
    text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(WireworkError, match="loss-not-finite") as caught:
        train(wild(text, lr=1e30), run)
    assert "at step 1, and the weight embedding.weight was the first" in caught.value.message
    assert "--set sparsity.lr=2.5e+29" in caught.value.hint
    looked_at = arrays(run, "not-finite")
    assert not np.isfinite(looked_at["weight/embedding.weight"]).all()
    assert load_arrays(run / "not-finite.safetensors")[1]["step"] == 1
    assert load_arrays(run / "state.safetensors")[1]["step"] == 1


def test_activations_that_overflow_are_named_by_their_site(text: Path, tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="loss-not-finite") as caught:
        train(wild(text, lr=1e25, weight_decay=0.0), tmp_path / "run")
    assert re.search(r"the activation 0\.attn\.\w+ was the first", caught.value.message)
    saved = arrays(tmp_path / "run", "not-finite")
    assert all(np.isfinite(v).all() for k, v in saved.items() if k.startswith("weight/"))


def test_a_gradient_that_is_not_finite_is_named(text: Path, tmp_path: Path) -> None:
    wanted = config(text)
    train(wanted, tmp_path / "run")
    corpus = Corpus.open(tmp_path / "run" / "corpus")
    batch = Batches(corpus.train, batch=4, context=16, seed=0)(0)
    with joined("none", "cpu") as world:
        executor = Executor(Transformer(wanted.model), wanted, ExecutionConfig(), world)
        executor.backward(executor.share(batch))
        assert first_not_finite(executor, batch) == "the sum of squares of all gradients"
        for name in ("layers.0.attn.qkv.weight", "layers.0.mlp.write.weight"):
            gradient = executor.model.get_parameter(name).grad
            assert gradient is not None
            gradient[0, 0] = torch.inf
        assert first_not_finite(executor, batch) == "the gradient of layers.0.mlp.write.weight"


def lacking(rows: int, fit: int | None) -> WireworkError:
    with (
        pytest.raises(WireworkError, match="out-of-memory") as caught,
        memory_told(rows, lambda: fit),
    ):
        torch.empty(1 << 58)
    return caught.value


def test_memory_that_is_not_there_is_told_with_what_fits() -> None:
    tried = lacking(8, 4)
    assert "4: a step with it was tried" in tried.expected
    assert tried.hint.endswith("--micro-batch 4")
    assert "can't allocate memory" in tried.got
    assert "not tried" in lacking(8, None).expected
    assert "--checkpoint-activations" in lacking(1, 0).hint
    with pytest.raises(WireworkError, match="model-too-large"), memory_told():
        torch.empty(1 << 58)
    with pytest.raises(RuntimeError, match="must match the size"), memory_told():
        torch.ones(2) + torch.ones(3)


LIMITED = """
import os, resource, sys
from pathlib import Path
from wirework.cli.session import settle_process
settle_process()
from wirework.core import WireworkError
from wirework.training import TrainConfig, train
from wirework.training.execution import ExecutionConfig

wanted, out, room = TrainConfig.load(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
passes = int(sys.argv[4]) if len(sys.argv) > 4 else None
train(wanted.replace(batch=2), out.with_name(out.name + "-first"))  # all is loaded and compiled
status = Path("/proc/self/status").read_text().splitlines()
used = next(int(line.split()[1]) for line in status if line.startswith("VmSize")) * 1024
if os.environ.get("RANK", "1") == "1":  # of several processes only one
    resource.setrlimit(resource.RLIMIT_AS, (used + room * 2**20,) * 2)
try:
    train(wanted, out, execution=ExecutionConfig(micro_batch=passes))
except WireworkError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def large(text: Path, tmp_path: Path) -> Path:
    """A configuration file of a step that takes more than the 40 MiB that the tests leave."""
    base = config(text, steps=2, batch=64, checkpoint_every=2)
    shape = {"context": 64, "n_layer": 2, "d_model": 64, "d_mlp": 256}
    path = tmp_path / "run.toml"
    path.write_text(toml(base.replace(model={**base.model.plain(), **shape}).plain()))
    return path


@pytest.mark.long
def test_a_step_that_does_not_fit_says_which_micro_batch_does(large: Path, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LIMITED, str(large), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=280)

    first = run(str(tmp_path / "a"), "40")
    assert first.returncode == 1
    assert "error[out-of-memory]" in first.stderr
    found = re.search(r"--micro-batch (\d+)$", first.stderr.strip())
    assert found is not None
    assert int(found[1]) in (1, 2, 4, 8, 16, 32)
    second = run(str(tmp_path / "b"), "40", found[1])
    assert second.returncode == 0, second.stderr


@pytest.mark.long
def test_one_process_that_lacks_memory_tells_it_for_all(large: Path, tmp_path: Path) -> None:
    program = tmp_path / "limited.py"
    program.write_text(LIMITED)
    # So many windows that one tensor takes more than there is: then it is never a small allocation
    # of some other thread that fails, which C++ answers with an abort.
    large.write_text(large.read_text().replace("batch = 64", "batch = 1024"))
    done = torchrun(str(program), str(large), str(tmp_path / "run"), "160")
    assert done.returncode == 1
    assert done.stderr.count("error[") == 1, done.stderr
    assert re.search(r"error\[out-of-memory\][\s\S]*--micro-batch \d+\n", done.stderr), done.stderr
