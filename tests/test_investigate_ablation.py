"""Neurons ablated in real models: losses, hooks, what the investigation says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

import wirework as ww
from probing_sources import VOCAB, reader_source, small_checkpoint, small_model
from wirework.core import Report, WireworkError
from wirework.probing.activation_source import PADDING, Ablatable, Held, WireworkSource
from wirework.probing.activation_store import Activations, collect
from wirework.probing.feature import Feature
from wirework.probing.feature_sets import feature_set
from wirework.probing.hugging_face_source import HuggingFaceSource, load_hugging_face
from wirework.probing.investigate import investigate
from wirework.probing.label_tokens import label_tokens
from wirework.probing.labelled import LabelledTokens
from wirework.probing.module_source import ModuleSource

A, B, NEURON = 5, 6, 3


class Pairs(nn.Module):
    """After token A, neuron 3 says B; neuron 4 fires on A too and says nothing. Others are noise
    that is not read, but for neuron 5, which fires everywhere and says token 0."""

    def __init__(self) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.embedding = nn.Embedding(VOCAB, 12)
        self.act = nn.ReLU()
        self.out = nn.Linear(12, VOCAB, bias=False)
        with torch.no_grad():
            self.embedding.weight.normal_(0, 0.3, generator=random)
            self.embedding.weight[:, [NEURON, 4]] = 0
            self.embedding.weight[A, [NEURON, 4]] = 2.0
            self.embedding.weight[:, 5] = 1.0
            self.out.weight.zero_()
            self.out.weight[B, NEURON] = 4.0
            self.out.weight[0, 5] = 1.0

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.out(self.act(self.embedding(tokens)))
        return logits


def pairs_source(module: nn.Module) -> ModuleSource:
    return ModuleSource(module.eval(), ["act"], context=8, vocab_size=VOCAB, causal=True)


def documents(count: int = 24, each: int = 40) -> LabelledTokens:
    """Random tokens, B behind every A; the first feature is A."""
    random = np.random.default_rng(0)
    tokens = random.integers(0, VOCAB, (count, each))
    tokens[random.random(tokens.shape) < 0.2] = A
    tokens[:, 1:][tokens[:, :-1] == A] = B
    flat = tokens.ravel()
    return LabelledTokens(
        tokens=flat,
        document=np.repeat(np.arange(count), each),
        position=np.tile(np.arange(each), count),
        labels=np.stack([flat == A, flat == B], 1).astype(np.int8),
        features=(Feature("is_a", "made", "token A"), Feature("is_b", "made", "token B")),
        documents=tuple(f"{i}.txt" for i in range(count)),
        feature_set="made",
    )


def investigated(
    source: Ablatable, labelled: LabelledTokens, site: str, neuron: int, folder: Path, **more: Any
) -> Report:
    activations = collect(source, labelled, [site], folder)
    options = {"least": 5, "rotations": 1, "steps": 2, "random_neurons": 4, "refits": 5} | more
    return investigate("is_a", (site, neuron), activations, labelled, source=source, **options)


def change_of_loss(held: float) -> float:
    """Of predicting B behind A, where the neuron is held at a value instead of 2."""
    rest = VOCAB - 2 + np.e
    return float(np.log((np.exp(4 * held) + rest) / (np.exp(8) + rest)) + 8 - 4 * held)


def test_a_neuron_that_is_used_changes_the_loss_as_computed_by_hand(tmp_path: Path) -> None:
    labelled = documents()
    found = investigated(pairs_source(Pairs()), labelled, "act", NEURON, tmp_path / "a")
    measure = found["zero_loss_positive"]
    assert measure.value == pytest.approx(change_of_loss(0), abs=1e-4)
    # It is the same for every A, so that there is nothing to be uncertain about.
    assert measure.low == pytest.approx(measure.high, abs=1e-4)
    assert found["zero_loss_negative"].value == pytest.approx(0, abs=1e-6)
    assert found["zero_loss_specific"].value == pytest.approx(measure.value, abs=1e-6)
    assert found["zero_loss_beyond_random"].value == pytest.approx(measure.value, abs=0.2)
    assert abs(found["zero_loss_positive_shuffled"].value) < measure.value / 2
    assert found.details["ablation"]["zero"]["random_at_least_as_large"] == 0
    assert found.details["ablation"]["zero"]["largest"][0]["token"] == A
    mean = found.details["ablation"]["means"][0]
    training, _ = labelled.split(0)
    assert mean == pytest.approx(2 * (labelled.tokens[training] == A).mean(), abs=1e-3)
    assert found["mean_loss_positive"].value == pytest.approx(change_of_loss(mean), abs=1e-4)


def test_a_neuron_that_is_not_read_has_a_perfect_score_and_no_effect(tmp_path: Path) -> None:
    source, labelled = pairs_source(Pairs()), documents()
    found = investigated(source, labelled, "act", 4, tmp_path / "a")
    assert found["f1"].value == 1
    assert found["zero_loss_positive"].value == pytest.approx(0, abs=1e-6)
    assert found["mean_loss_positive"].value == pytest.approx(0, abs=1e-6)
    both = investigated(source, labelled, "act", 4, tmp_path / "b", ablated_with=[NEURON])
    assert both["zero_loss_positive"].value > 1
    assert all(len(group) == 2 for group in both.details["ablation"]["random_neurons"])
    alone = investigated(
        source, labelled, "act", 4, tmp_path / "c", ablated_with=[NEURON], random_neurons=0
    )
    assert alone["zero_loss_positive"] == both["zero_loss_positive"]
    assert np.isnan(alone["zero_loss_beyond_random"].value)


def test_the_control_of_a_feature_in_few_documents_has_an_interval(tmp_path: Path) -> None:
    """Many draws of documents hold no positive; none of them may count."""
    every = documents()
    _, held = every.split(0)
    few = every.document == every.document[held][0]
    labels = every.labels.copy()
    labels[held & ~few] = 0
    known = replace(every, labels=labels)
    source = pairs_source(Pairs())
    activations = collect(source, known, ["act"], tmp_path / "a", dtype="float32")
    found = investigate(
        "is_a", ("act", NEURON), activations, known, source=source, rotations=0, least=2, seed=0
    )
    control = found["zero_loss_positive_shuffled"]
    assert control.low is not None and control.high is not None
    assert np.isfinite([control.low, control.high]).all()


def test_only_held_out_documents_are_read_and_no_more_tokens_than_asked(tmp_path: Path) -> None:
    source, labelled = pairs_source(Pairs()), documents()
    found = investigated(source, labelled, "act", NEURON, tmp_path / "a", tokens=60)
    assert 30 < found.details["ablation"]["tokens"] <= 76
    _, held = labelled.split(0)
    tested = set(labelled.document[held])
    for kind in ("zero", "mean"):
        assert {one["document"] for one in found.details["ablation"][kind]["largest"]} <= tested


def ragged(rows: int = 3, length: int = 9, vocabulary: int = VOCAB) -> NDArray[np.int64]:
    tokens = np.random.default_rng(1).integers(3, vocabulary, (rows, length))
    tokens[0, 4:] = PADDING
    return tokens


def require_losses(losses: NDArray[np.float32], logits: Tensor, tokens: NDArray[np.int64]) -> None:
    """`logits` (B, T, V) of the same rows."""
    logs = logits.double().log_softmax(-1)
    for row, column in np.ndindex(tokens.shape):
        last = column + 1 == tokens.shape[1] or tokens[row, column + 1] == PADDING
        assert np.isnan(losses[row, column]) == last
        if not last:
            expected = -float(logs[row, column, tokens[row, column + 1]])
            assert losses[row, column] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
def test_losses_of_hugging_face_models_are_their_own(kind: str) -> None:
    model = small_model(kind)
    source, tokens = HuggingFaceSource(model), ragged()
    ids = torch.from_numpy(np.where(tokens == PADDING, 0, tokens))
    with torch.no_grad():
        require_losses(source.losses(tokens, {}), model(ids).logits, tokens)


@torch.no_grad()
def test_a_held_neuron_is_one_that_is_cut(tmp_path: Path) -> None:
    cut, tokens = small_model("gpt2"), ragged()
    source = HuggingFaceSource(small_model("gpt2"))
    # The output matrix of the MLP reads neurons: (neurons, d).
    cut.transformer.h[1].mlp.c_proj.weight[[2, 7]] = 0
    held: Held = {"1.mlp.neuron": (np.array([2, 7]), np.zeros(2, np.float32))}
    expected = HuggingFaceSource(cut).losses(tokens, {})
    np.testing.assert_allclose(source.losses(tokens, held), expected, atol=1e-5)
    assert not np.allclose(source.losses(tokens, {}), expected, equal_nan=True)
    # A value at what attention gives: as a bias that replaces what is computed.
    shifted = small_model("gpt2")
    shifted.transformer.h[0].attn.c_proj.weight[:, 4] = 0
    shifted.transformer.h[0].attn.c_proj.bias[4] = 0.7
    held = {"0.attn.out": (np.array([4]), np.array([0.7], np.float32))}
    expected = HuggingFaceSource(shifted).losses(tokens, {})
    np.testing.assert_allclose(source.losses(tokens, held), expected, atol=1e-5)


def test_a_loaded_model_has_its_head_where_asked(tmp_path: Path) -> None:
    words = {f"w{i}": i for i in range(VOCAB - 1)} | {"a": VOCAB - 1}
    backend = Tokenizer(WordLevel(words, unk_token="w0"))
    fast = transformers.PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=backend)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(tmp_path)
    model, tokens = small_model("gpt2").float(), ragged()
    model.save_pretrained(tmp_path)
    source = load_hugging_face(str(tmp_path), head=True)
    expected = HuggingFaceSource(model)
    np.testing.assert_allclose(source.losses(tokens, {}), expected.losses(tokens, {}), atol=1e-4)
    assert source.hash() == expected.hash() == load_hugging_face(str(tmp_path)).hash()
    with pytest.raises(WireworkError, match="head=True"):
        load_hugging_face(str(tmp_path)).losses(tokens, {})


def test_special_tokens_stand_around_what_is_predicted() -> None:
    model, tokens = small_model("gpt2"), ragged()[1:]
    source = HuggingFaceSource(model, before=(1,), after=(2,))
    rows = np.concatenate([np.full((2, 1), 1), tokens, np.full((2, 1), 2)], 1)
    with torch.no_grad():
        logits = model(torch.from_numpy(rows)).logits[:, 1:-1]
    require_losses(source.losses(tokens, {}), logits, tokens)


@torch.no_grad()
def test_losses_of_our_models_are_their_own() -> None:
    checkpoint, tokens = small_checkpoint(), ragged(vocabulary=200)
    source = WireworkSource(checkpoint)
    ids = torch.from_numpy(np.where(tokens == PADDING, 0, tokens))
    require_losses(source.losses(tokens, {}), checkpoint.model(ids), tokens)
    whole = source.losses(tokens[1:], {})
    targets = ids[1:, 1:]
    mean = checkpoint.model(ids[1:, :-1], targets=targets)
    assert np.nanmean(whole) == pytest.approx(float(mean), abs=1e-4)
    site = source.sites()[-1]
    held: Held = {site: (np.arange(3), np.full(3, 0.5, np.float32))}
    assert not np.allclose(source.losses(tokens, held), source.losses(tokens, {}), equal_nan=True)
    with pytest.raises(WireworkError, match="site-absent"):
        source.losses(tokens, {"nowhere": held[site]})


def hooks(model: nn.Module) -> int:
    return sum(len(p._forward_hooks) + len(p._forward_pre_hooks) for p in model.modules())


def test_no_hook_stays_behind_an_error() -> None:
    model = small_model("gpt2")
    source, tokens = HuggingFaceSource(model), ragged()
    good = (np.array([0]), np.zeros(1, np.float32))
    beyond = (np.array([10_000]), np.zeros(1, np.float32))
    with pytest.raises(IndexError):
        source.losses(tokens, {"0.mlp.neuron": good, "0.attn.out": good, "2.mlp.out": beyond})
    assert hooks(model) == 0
    source.losses(tokens, {"0.mlp.neuron": good})
    assert hooks(model) == 0


def test_models_that_predict_no_next_token_are_refused() -> None:
    tokens = ragged()
    for source in (
        HuggingFaceSource(small_model("bert")),
        HuggingFaceSource(small_model("gpt2").transformer),
        reader_source(context=16),
        reader_source(context=16, causal=False),
    ):
        with pytest.raises(WireworkError, match="losses-unavailable"):
            source.losses(tokens, {})
    with pytest.raises(WireworkError, match="site-absent"):
        reader_source(context=16).losses(tokens, {"x": (np.zeros(1, int), np.zeros(1, np.float32))})


def test_a_real_gpt2_is_investigated(tmp_path: Path) -> None:
    model = small_model("gpt2").float()
    found = investigated(
        HuggingFaceSource(model), documents(), "1.mlp.neuron", 3, tmp_path / "a", rotations=2
    )
    assert hooks(model) == 0
    assert len(found.details["ablation"]["random_neurons"]) == 4
    for name in ("zero_loss_positive", "mean_loss_positive", "zero_loss_beyond_random"):
        measure = found[name]
        assert measure.low is not None and measure.high is not None
        assert measure.low <= measure.value <= measure.high
    assert found.provenance["model"] == HuggingFaceSource(model).hash()


def test_activations_of_another_model_are_refused(tmp_path: Path) -> None:
    labelled = documents()
    source = HuggingFaceSource(small_model("gpt2"))
    collect(source, labelled, ["0.mlp.neuron"], tmp_path / "a")
    with pytest.raises(WireworkError, match="activations-model-mismatch"):
        investigate(
            "is_a", ("0.mlp.neuron", 0), Activations.of(tmp_path / "a"), labelled,
            source=HuggingFaceSource(small_model("gpt2", seed=1)),
        )  # fmt: skip


@pytest.mark.long
def test_a_reference_model_is_investigated(tmp_path: Path) -> None:
    checkpoint = ww.load("reference/v1-sparse-small")
    files = sorted((Path(ww.__file__).parent / "core").glob("*.py"))
    texts = {path.name: path.read_text()[:3000] for path in files}
    features = feature_set("python")
    labelled = label_tokens(texts, checkpoint.tokenizer, features)
    source = WireworkSource(checkpoint)
    site = "1.mlp.neuron"
    activations = collect(source, labelled, [site], tmp_path / "a")
    found = investigate(
        "is_newline", (site, 0), activations, labelled, source=source,
        text_of=checkpoint.tokenizer.token_text, rotations=1, steps=3, random_neurons=2,
        tokens=1500, least=20,
    )  # fmt: skip
    assert found["site_f1"].value > found["site_f1_shuffled"].value + 0.2
    assert {"zero_loss_positive", "matched_f1", "top_covered"} <= set(found.measures)
    labelled_twice = replace(labelled, tokenizer="0" * 64)
    with pytest.raises(WireworkError, match="labels-tokenizer-mismatch"):
        investigate(
            "is_newline", (site, 0), activations, labelled_twice, source=source, rotations=0,
            steps=1, least=20,
        )  # fmt: skip
