"""Models to start from: those in the package, and going on from any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from launched import InterruptAt
from training_runs import config, content, text_folder
from wirework.core import WireworkError
from wirework.core.files import read_json
from wirework.data import Corpus
from wirework.model import Checkpoint
from wirework.training import load_checkpoint, train
from wirework.training.reference_models import (
    publish,
    reference_cards,
    reference_folder,
    reference_home,
    reference_names,
)
from wirework.training.runs import continued, training_windows

LARGEST = 4 << 20
"""Bytes of one file in the package."""


@pytest.mark.parametrize("name", reference_names())
def test_a_shipped_model_is_what_its_card_says(name: str) -> None:
    card = next(card for card in reference_cards() if card["name"] == name)
    checkpoint = load_checkpoint(name)
    assert checkpoint.hash() == card["model_hash"]
    kept = sum(int(m.weight.count_nonzero()) for m in checkpoint.model.projected())
    assert kept == card["nonzeros"]
    assert card["density"] == kept / card["projected_weights"]
    assert checkpoint.means
    for package in card["text"]["packages"]:
        assert set(package) == {"name", "version", "license", "files", "sha256"}
    for path in reference_folder(name).iterdir():
        assert path.stat().st_size <= LARGEST


def test_names_begin_with_a_version() -> None:
    assert all(name.startswith("reference/v") for name in reference_names())
    with pytest.raises(WireworkError, match="reference-unknown"):
        load_checkpoint("reference/v0-nothing")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(config(text_folder(tmp_path / "text")), tmp_path / "run")
    return tmp_path / "run"


def test_a_published_model_keeps_its_hash_and_measures_its_own_losses(
    run: Path, tmp_path: Path
) -> None:
    corpus = Corpus.open(run / "corpus")
    folder = tmp_path / "v1-small"
    stored = publish(
        load_checkpoint(run), corpus, folder, hours=0.5, answers={"quotes": 1.0}, batches=2
    )
    assert Checkpoint.load(folder).hash() == stored.hash() == read_json(folder / "run.json")["hash"]
    card = stored.record["card"]
    assert card["answers"] == {"quotes": 1.0}
    assert card["val_loss"] == stored.losses["val_loss"] > 0
    assert card["tokens"] == stored.step * 4 * stored.config.context
    with pytest.raises(WireworkError, match="reference-published"):
        publish(stored, corpus, folder, hours=1, answers={})


def test_going_on_keeps_the_tokenizer_the_weights_and_the_sparsity(
    run: Path, tmp_path: Path
) -> None:
    first = load_checkpoint(run)
    asked = continued(str(run)).override([f"corpus.source={tmp_path / 'text'}", "sparsity.lr=1e-9"])
    second = train(asked, tmp_path / "second")
    assert second.tokenizer.hash() == first.tokenizer.hash()
    for before, after in zip(first.model.projected(), second.model.projected(), strict=True):
        assert (before.weight - after.weight).abs().max() < 1e-4
        assert after.weight.count_nonzero() <= before.weight.count_nonzero()


def test_going_on_resumes_with_the_same_bytes(run: Path, tmp_path: Path) -> None:
    asked = continued(str(run)).override([f"corpus.source={tmp_path / 'text'}"])
    train(asked, tmp_path / "whole")
    with pytest.raises(WireworkError, match="interrupted"):
        train(asked, tmp_path / "broken", start=InterruptAt(11))
    train(asked, tmp_path / "broken", resume=True)
    assert content(tmp_path / "whole") == content(tmp_path / "broken")


def test_starting_from_another_shape_is_refused(run: Path, tmp_path: Path) -> None:
    asked = continued(str(run)).override(["model.d_mlp=48"])
    with pytest.raises(WireworkError, match=r"start-mismatch[\s\S]*model.d_mlp"):
        train(asked, tmp_path / "other")


def test_a_model_without_its_text_finds_examples_in_the_library(run: Path) -> None:
    bare = sorted((run / "checkpoints").iterdir())[-1]
    assert training_windows(bare, 12, count=5).shape == (5, 12)


def test_the_package_holds_its_models() -> None:
    assert reference_home().name == "reference"
