"""A model and its text, ready for probes: ours and Hugging Face's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import wirework as ww
from wirework.core import WireworkError
from wirework.probing import (
    LabelledTokens,
    ProbedModel,
    ProbeStore,
    SparseProbe,
    feature_set,
    fit_probe,
)
from wirework.probing.probed import drawn_rows

MODEL = "reference/v1-sparse-small"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    for number in range(6):
        lines = [f"value_{number} = {n} + {n * n}  # note {n}" for n in range(60)]
        (folder / f"part{number}.py").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random GPT-2 with the reference model's tokenizer, as its users keep it."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = ww.load(MODEL).tokenizer
    file = folder / "tokenizer.json"
    tokenizer.save(file)
    fast = PreTrainedTokenizerFast(tokenizer_file=str(file))  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.vocab_size, n_layer=2, n_embd=32, n_head=2, n_positions=64
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def labels_of(probed: ProbedModel, text: Path) -> LabelledTokens:
    return probed.label(feature_set("python").only(["is_number", "is_comment"]), str(text), 10**6)


@pytest.mark.parametrize("name", [MODEL, "hf"])
def test_a_probe_finds_numbers_in_any_model(
    name: str, text: Path, gpt2: Path, tmp_path: Path
) -> None:
    probed = ProbedModel.load(f"hf:{gpt2}" if name == "hf" else name)
    labelled = labels_of(probed, text)
    sites = ["mlp.neuron"]
    activations = probed.collect(labelled, sites, tmp_path / "a", tokens=4000)
    assert activations.sites == ("0.mlp.neuron", "1.mlp.neuron")
    probe = SparseProbe(8, "greedy", allow_constant=True)
    found = fit_probe(activations, labelled, "is_number", "0.mlp.neuron", probe, least=50)
    assert found.k == 8
    # Random weights tell less than trained ones, but more than saying yes always.
    rate = found.scores["base_rate"]
    assert found.scores["f1"] > (0.8 if name == MODEL else 2 * rate / (1 + rate) + 0.1)
    # Stored weights are those of activations as the model gives them.
    piece = "value_7 = 12 + 3  # note"
    tokens, texts = probed.tokens(piece)
    assert "".join(texts) == piece
    scores = ProbeStore((found,)).watch(probed.source)(tokens[None])[0, :, 0]
    x = probed.source.run(tokens[None], ("0.mlp.neuron",))["0.mlp.neuron"][0]
    by_hand = x[:, list(found.indices)] @ np.array(found.weights) + found.bias
    np.testing.assert_allclose(scores, by_hand, atol=1e-4)


def test_both_models_see_the_same_tokens(text: Path, gpt2: Path) -> None:
    ours, theirs = (
        labels_of(ProbedModel.load(MODEL), text),
        labels_of(ProbedModel.load(f"hf:{gpt2}"), text),
    )
    np.testing.assert_array_equal(ours.tokens, theirs.tokens)
    np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_rows_are_drawn_behind_the_beginnings(text: Path) -> None:
    labelled = labels_of(ProbedModel.load(MODEL), text)
    rows = drawn_rows(labelled, 500, seed=1)
    assert len(rows) == len(np.unique(rows)) == 500
    assert labelled.position[rows].min() >= 10
    np.testing.assert_array_equal(rows, drawn_rows(labelled, 500, seed=1))
    assert (rows != drawn_rows(labelled, 500, seed=2)).any()


def test_sites_are_named_whole_or_by_their_ending(text: Path, tmp_path: Path) -> None:
    probed = ProbedModel.load(MODEL)
    labelled = labels_of(probed, text)
    names = ["1.attn.v", "mlp.neuron", "0.mlp.neuron"]
    found = probed.collect(labelled, names, tmp_path / "a", tokens=200)
    assert set(found.sites) == {"0.mlp.neuron", "1.attn.v", "1.mlp.neuron"}
    with pytest.raises(WireworkError, match="site-absent"):
        probed.collect(labelled, ["neuron.mlp"], tmp_path / "b", tokens=200)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WireworkError, match="model-unreadable"):
        ProbedModel.load(f"hf:{tmp_path / 'nothing'}")


def test_what_cannot_be_fitted_is_told_before_any_work() -> None:
    probed = ProbedModel.load(MODEL)
    width = probed.source.width("1.mlp.neuron")
    for probe, told in (
        (SparseProbe(width + 1), r"probe-k-invalid.*1\.mlp\.neuron"),
        (SparseProbe(method="best"), "probe-method-unknown"),
        (SparseProbe(gap=-1.0), "probe-option-invalid"),
    ):
        with pytest.raises(WireworkError, match=told):
            probed.require_fit([SparseProbe(), probe], ["1.mlp.neuron"])
    probed.require_fit([SparseProbe(width)], ["1.mlp.neuron"])
    probed.require_neuron("1.mlp.neuron", width - 1)
    with pytest.raises(WireworkError, match="neuron-absent"):
        probed.require_neuron("1.mlp.neuron", width)


def test_a_fit_that_fails_names_feature_and_site(text: Path, tmp_path: Path) -> None:
    probed = ProbedModel.load(MODEL)
    labelled = labels_of(probed, text)
    activations = probed.collect(labelled, ["0.mlp.neuron"], tmp_path / "a", tokens=1000)
    with pytest.raises(WireworkError, match=r"constant-columns.*'is_number' at 0\.mlp"):
        fit_probe(activations, labelled, "is_number", "0.mlp.neuron", SparseProbe(), least=20)
    none = replace(labelled, labels=np.zeros_like(labelled.labels))
    with pytest.raises(WireworkError, match=r"positives-too-few.*'is_number'"):
        fit_probe(activations, none, "is_number", "0.mlp.neuron", SparseProbe(), least=20)
