"""Training runs: exact repeats, exact resumes (also after kill -9), checkpoints, presets."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from launched import InterruptAt
from training_runs import config, content, text_folder, toml
from wirework.core import WireworkError
from wirework.model import Checkpoint, Transformer
from wirework.training import PRESETS, load_checkpoint, preset, train


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return text_folder(tmp_path / "text")


def test_a_run_writes_what_it_promises_and_learns(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = train(config(text, steps=60), run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 60
    assert rows[-1]["loss"] < math.log(300) / 2
    assert "<svg" in (run / "curve.svg").read_text()
    assert done.step == 60
    assert load_checkpoint(f"{run}@8").step == 8
    assert load_checkpoint(run).hash() == done.hash()
    for matrix in done.model.projected():
        assert matrix.weight.count_nonzero() <= 0.3 * matrix.weight.numel()


def test_two_runs_with_one_seed_are_equal_to_the_byte(text: Path, tmp_path: Path) -> None:
    train(config(text), tmp_path / "a")
    train(config(text), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    train(config(text, seed=1), tmp_path / "c")
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_ctrl_c_saves_and_resume_ends_with_the_same_bytes(text: Path, tmp_path: Path) -> None:
    train(config(text), tmp_path / "whole")
    with pytest.raises(WireworkError, match=r"interrupted[\s\S]*--resume"):
        train(config(text), tmp_path / "broken", start=InterruptAt(11))
    with pytest.raises(WireworkError, match="run-exists"):
        train(config(text), tmp_path / "broken")
    train(config(text), tmp_path / "broken", resume=True)
    assert content(tmp_path / "whole") == content(tmp_path / "broken")


def test_resume_refuses_another_configuration(text: Path, tmp_path: Path) -> None:
    with pytest.raises(WireworkError):
        train(config(text), tmp_path / "run", start=InterruptAt(9))
    with pytest.raises(WireworkError, match="resume-mismatch"):
        train(config(text, batch=5), tmp_path / "run", resume=True)


SCRIPT = """
import sys
from pathlib import Path
from wirework.training import TrainConfig, train
train(TrainConfig.load(Path(sys.argv[1])), Path(sys.argv[2]), resume=True)
"""


@pytest.mark.long
def test_kill_nine_then_resume_ends_with_the_same_bytes(text: Path, tmp_path: Path) -> None:
    long = config(text, steps=400, checkpoint_every=20, validate_every=40)
    (tmp_path / "run.toml").write_text(toml(long.plain()))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.toml")]
    subprocess.run([*command, str(whole)], check=True)
    kills = 0
    for wanted in (60, 180, 300):
        child = subprocess.Popen([*command, str(broken)])
        while child.poll() is None and not (broken / f"checkpoints/step-{wanted:07d}").exists():
            time.sleep(0.002)
        kills += child.poll() is None
        child.kill()
        child.wait()
    assert kills >= 2
    subprocess.run([*command, str(broken)], check=True)
    assert content(whole) == {k: v for k, v in content(broken).items() if not _draft(k)}


def _draft(name: str) -> bool:
    """A file that a killed process was still writing, under its temporary name."""
    return any(part.startswith(".") for part in name.split("/"))


def test_checkpoints_survive_the_disk_bit_for_bit(text: Path, tmp_path: Path) -> None:
    made = train(config(text), tmp_path / "run")
    made.save(tmp_path / "copy")
    again = Checkpoint.load(tmp_path / "copy")
    assert again.hash() == made.hash()
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert (again.losses, again.step, again.record) == (made.losses, made.step, made.record)


def test_damaged_checkpoints_are_refused(text: Path, tmp_path: Path) -> None:
    made = train(config(text), tmp_path / "run")
    for name in ("model.safetensors", "means.safetensors", "config.json", "tokenizer.json"):
        folder = tmp_path / f"edited-{name}"
        made.save(folder)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))
        with pytest.raises(WireworkError, match="checksum-mismatch"):
            Checkpoint.load(folder)
        (folder / name).write_bytes(bytes(data[: len(data) // 2]))
        with pytest.raises(WireworkError, match="checksum-mismatch"):
            Checkpoint.load(folder)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "model.bin").write_bytes(b"x")
    with pytest.raises(WireworkError, match="folder-foreign"):
        load_checkpoint(tmp_path / "foreign")


def test_projected_matrices_are_small_on_disk(text: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    made = train(config(text), tmp_path / "run")
    arrays = load_file(tmp_path / "run/checkpoints/step-0000024/model.safetensors")
    nonzeros = sum(int(m.weight.count_nonzero()) for m in made.model.projected())
    names = {matrix.name for matrix in made.model.projected()}
    stored = sum(a.nbytes for k, a in arrays.items() if k.partition("/")[0] in names)
    assert stored / nonzeros <= 6


def test_unknown_names_get_the_nearest_right_one(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match=r"preset-unknown[\s\S]*try +tiny"):
        preset("tinny")
    with pytest.raises(WireworkError, match=r"config-unknown-key[\s\S]*try +steps"):
        preset("tiny").override(["stepz=3"])
    with pytest.raises(WireworkError, match=r"run-missing[\s\S]*wirework train"):
        load_checkpoint(tmp_path / "nothing")


def test_presets_fit_together() -> None:
    from wirework.sparsity import SparseAdamW

    for name in PRESETS:
        made = preset(name)
        assert made.name == name
        SparseAdamW(Transformer(made.model), made.sparsity, made.steps)
    assert preset("tiny").sparsity.density <= 0.05
    assert preset("tiny").sparsity.embedding_density <= 0.05
