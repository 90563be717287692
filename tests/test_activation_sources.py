"""Activations of our models, of any torch module and of Hugging Face models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors
from torch import Tensor, nn

from probing_sources import VOCAB, Reader, small_checkpoint, small_model
from wirework.core import Site, WireworkError
from wirework.model import Taps
from wirework.probing.activation_source import PADDING, Source, WireworkSource
from wirework.probing.hugging_face_source import (
    FAMILIES,
    HuggingFaceSource,
    load_hugging_face,
    special_tokens,
)
from wirework.probing.module_source import ModuleSource

CAUSAL = [kind for kind, family in FAMILIES.items() if family.causal]


def ragged(lengths: list[int], vocabulary: int = VOCAB, low: int = 3) -> NDArray[np.int64]:
    random = np.random.default_rng(0)
    tokens = random.integers(low, vocabulary, (len(lengths), max(lengths)))
    tokens[np.arange(max(lengths)) >= np.array(lengths)[:, None]] = PADDING
    return tokens


def require_padding_is_nothing(source: Source, tokens: NDArray[np.int64]) -> None:
    """Every row is as it would be alone, at every site."""
    together = source.run(tokens, source.sites())
    for row, ids in enumerate(tokens):
        length = int((ids != PADDING).sum())
        alone = source.run(ids[None, :length], source.sites())
        for site in source.sites():
            assert together[site].dtype == np.float32
            assert together[site].shape == (*tokens.shape, source.width(site))
            np.testing.assert_allclose(
                together[site][row, :length], alone[site][0], rtol=2e-6, atol=2e-6
            )


def test_our_models_give_what_taps_record() -> None:
    checkpoint = small_checkpoint()
    source = WireworkSource(checkpoint)
    tokens = ragged([16, 5, 9])
    require_padding_is_nothing(source, tokens)
    site = Site(1, "mlp.neuron")
    taps = Taps(record=[site])
    checkpoint.model.read_out(torch.from_numpy(tokens[:1]), taps)
    found = source.run(tokens[:1], (str(site),))
    assert list(found) == [str(site)]
    assert np.array_equal(found[str(site)], taps.values[site].numpy())
    assert source.hash() == checkpoint.hash() != WireworkSource(small_checkpoint(1)).hash()
    assert source.context == 16 and WireworkSource(checkpoint, context=7).context == 7


def test_what_our_model_has_not_is_refused() -> None:
    source = WireworkSource(small_checkpoint())
    for ask in (source.width, lambda site: source.run(ragged([2]), (site,))):
        with pytest.raises(WireworkError) as caught:
            ask("1.mlp.neurons")
        assert caught.value.code == "site-absent" and caught.value.hint == "1.mlp.neuron"
    with pytest.raises(WireworkError) as caught:
        WireworkSource(small_checkpoint(), context=17)
    assert caught.value.code == "context-too-long"


@pytest.mark.parametrize("causal", [True, False])
def test_modules_by_the_names_of_their_parts(causal: bool) -> None:
    module = Reader(causal=causal).eval()
    sites = ["embedding", "inner/in", "inner", "act"]
    source = ModuleSource(module, sites, context=8, causal=causal)
    tokens = ragged([8, 3, 3, 6])
    require_padding_is_nothing(source, tokens)
    with torch.no_grad():
        found = source.run(tokens[:1], tuple(sites))
        inner = module.inner(torch.from_numpy(found["inner/in"])).numpy()
    # The part behind it writes in place; what was recorded stays.
    np.testing.assert_allclose(found["inner"], inner, atol=1e-6)
    assert np.array_equal(found["act"], np.maximum(found["inner"], 0)) and (inner < 0).any()
    assert source.hash() == ModuleSource(Reader().eval(), [], context=8).hash()
    assert source.hash() != ModuleSource(Reader(seed=1).eval(), [], context=8).hash()


class _Oddities(nn.Module):
    """Parts that are called twice or never, that take no positional tensor, that fail."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, 4)
        self.named = _Named()
        self.twice = nn.Identity()
        self.never = nn.Identity()
        self.pooled = nn.Identity()
        self.fails = False

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.named(x=self.twice(self.twice(self.embedding(tokens))))
        if self.fails:
            raise RuntimeError("no more")
        pooled: Tensor = self.pooled(x[0].mean(1))
        return pooled


class _Named(nn.Module):
    def forward(self, *, x: Tensor) -> tuple[Tensor, None]:
        return x.reshape(*x.shape[:-1], 2, 2), None


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_hooks_are_gone_whatever_happens() -> None:
    module = _Oddities().eval()
    source = ModuleSource(module, ["named", "named/in"], context=8)
    found = source.run(ragged([3]), source.sites())
    # Heads are laid side by side.
    assert np.array_equal(found["named"], found["named/in"]) and found["named"].shape == (1, 3, 4)
    assert hooks(module) == 0
    module.fails = True
    with pytest.raises(RuntimeError, match="no more"):
        source.run(ragged([3]), source.sites())
    assert hooks(module) == 0


@pytest.mark.parametrize(
    ("site", "code"),
    [("twice", "site-repeated"), ("never", "site-not-reached"), ("pooled", "site-shape")],
)
def test_parts_that_give_no_vector_a_token_are_refused(site: str, code: str) -> None:
    source = ModuleSource(_Oddities().eval(), [site], context=8)
    with pytest.raises(WireworkError) as caught:
        source.width(site)
    assert caught.value.code == code


def test_unknown_parts_and_training_are_refused() -> None:
    with pytest.raises(WireworkError) as caught:
        ModuleSource(Reader().eval(), ["iner"], context=8)
    assert caught.value.code == "site-absent" and caught.value.hint == "inner"
    with pytest.raises(WireworkError) as caught:
        ModuleSource(Reader(), ["inner"], context=8)
    assert caught.value.code == "module-training"
    module = Reader().eval()
    source = ModuleSource(module, ["inner"], context=8)
    module.act.train()
    with pytest.raises(WireworkError) as caught:
        source.run(ragged([2]), ("inner",))
    assert caught.value.code == "module-training"


@pytest.mark.parametrize("kind", FAMILIES)
def test_hugging_face_models_row_by_row(kind: str) -> None:
    source = HuggingFaceSource(small_model(kind))
    assert source.context == 16 and source.vocab_size == VOCAB
    assert source.causal == (kind in CAUSAL)
    assert source.width("0.mlp.neuron") == 20 and source.width("2.attn.head") == 12
    require_padding_is_nothing(source, ragged([11, 4, 7]))


def of(found: dict[str, Any], site: str) -> Tensor:
    return torch.from_numpy(found[site]).double()


def close(one: Tensor, other: Tensor) -> None:
    """Equal but for the float32 that sources give."""
    torch.testing.assert_close(one.double(), other.double(), rtol=2e-5, atol=2e-5)


Parts = tuple[Any, Callable[[Any], tuple[Any, Any]], Callable[[Any, Tensor], Tensor]]


def parts_of(kind: str, model: Any) -> Parts:
    """The layers, what writes to the residual stream in one, and its neurons by definition."""
    base, gelu, silu = model.base_model, nn.functional.gelu, nn.functional.silu
    if kind == "gpt2":
        return (
            base.h,
            lambda y: (y.attn.c_proj, y.mlp.c_proj),
            lambda y, x: gelu(y.mlp.c_fc(x), approximate="tanh"),
        )
    if kind == "gpt_neox":
        return (
            base.layers,
            lambda y: (y.attention.dense, y.mlp.dense_4h_to_h),
            lambda y, x: gelu(y.mlp.dense_h_to_4h(x)),
        )
    if kind in ("bert", "roberta"):
        return (
            base.encoder.layer,
            lambda y: (y.attention.output.dense, y.output.dense),
            lambda y, x: gelu(y.intermediate.dense(x)),
        )
    return (
        base.layers,
        lambda y: (y.self_attn.o_proj, y.mlp.down_proj),
        lambda y, x: silu(y.mlp.gate_proj(x)) * y.mlp.up_proj(x),
    )


@pytest.mark.parametrize("kind", FAMILIES)
@torch.no_grad()
def test_hugging_face_sites_are_what_they_are_said_to_be(kind: str) -> None:
    model = small_model(kind)
    source = HuggingFaceSource(model)
    tokens = ragged([9, 9])
    found = source.run(tokens, source.sites())
    told = model.base_model(
        input_ids=torch.from_numpy(tokens), output_hidden_states=True, output_attentions=True
    )
    layers, writers, neurons = parts_of(kind, model)
    for number, layer in enumerate(layers):
        of_attention, of_mlp = writers(layer)
        close(of_attention(of(found, f"{number}.attn.head")), of(found, f"{number}.attn.out"))
        close(of_mlp(of(found, f"{number}.mlp.neuron")), of(found, f"{number}.mlp.out"))
        close(neurons(layer, of(found, f"{number}.mlp.in")), of(found, f"{number}.mlp.neuron"))
        # Hugging Face gives the last layer's residual behind the last norm, where there is one.
        if number + 1 < len(layers) or not source.causal:
            close(told.hidden_states[number + 1], of(found, f"{number}.resid.mlp"))
        added = of(found, f"{number}.attn.out") + of(found, f"{number}.mlp.out")
        if source.causal and number:
            close(of(found, f"{number - 1}.resid.mlp") + added, of(found, f"{number}.resid.mlp"))
    if source.causal:
        close(told.last_hidden_state, of(found, "final"))
    else:
        assert "final" not in source.sites()


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
@torch.no_grad()
def test_heads_lie_side_by_side(kind: str) -> None:
    model = small_model(kind)
    source = HuggingFaceSource(model)
    tokens = ragged([9])
    found = source.run(tokens, ("1.attn.in", "1.attn.head"))
    told = model.base_model(input_ids=torch.from_numpy(tokens), output_attentions=True)
    x = of(found, "1.attn.in")
    if kind == "gpt2":
        values = model.base_model.h[1].attn.c_attn(x).chunk(3, dim=-1)[2]
    else:
        values = model.base_model.encoder.layer[1].attention.self.value(x)
    heads = values.unflatten(-1, (3, 4)).transpose(1, 2)
    mixed = told.attentions[1] @ heads
    close(mixed.transpose(1, 2).flatten(2), of(found, "1.attn.head"))


@pytest.mark.parametrize("kind", ["bert", "llama"])
@torch.no_grad()
def test_special_tokens_stand_around_every_row_and_are_dropped(kind: str) -> None:
    model = small_model(kind)
    source = HuggingFaceSource(model, before=(1,), after=(2,))
    assert source.context == 14
    tokens = ragged([14, 5])
    require_padding_is_nothing(source, tokens)
    row = torch.tensor([[1, *tokens[1, :5].tolist(), 2]])
    told = model.base_model(input_ids=row, output_hidden_states=True)
    found = source.run(tokens[1:, :5], ("0.resid.mlp",))
    close(told.hidden_states[1][:, 1:-1], of(found, "0.resid.mlp"))


def tokenizer_with_specials() -> Any:
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefgh"]
    backend = Backend(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    specials = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    fast = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=backend, **specials)  # type: ignore[no-untyped-call]


def test_models_from_a_folder_bring_their_special_tokens(tmp_path: Path) -> None:
    tokenizer = tokenizer_with_specials()
    assert special_tokens(tokenizer) == ((1,), (2,))
    model = small_model("bert").float()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    source = load_hugging_face(str(tmp_path), context=10)
    mine = HuggingFaceSource(model, before=(1,), after=(2,))
    # Without its head and with a pooler that nobody has trained, it is the same model.
    assert source.hash() == mine.hash() and source.describe() == mine.describe()
    tokens = ragged([10, 3])
    one, other = (s.run(tokens, ("2.mlp.neuron",))["2.mlp.neuron"] for s in (source, mine))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    assert HuggingFaceSource(small_model("bert", seed=1)).hash() != mine.hash()


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WireworkError) as caught:
        HuggingFaceSource(Reader().eval())
    assert caught.value.code == "model-unsupported"
    with pytest.raises(WireworkError) as caught:
        HuggingFaceSource(small_model("gpt2").train())
    assert caught.value.code == "module-training"
    with pytest.raises(WireworkError) as caught:
        HuggingFaceSource(small_model("gpt2"), before=tuple(range(16)))
    assert caught.value.code == "context-too-long"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WireworkError) as caught:
        load_hugging_face(str(tmp_path))
    assert caught.value.code == "model-unreadable"
    with pytest.raises(WireworkError) as caught:
        HuggingFaceSource(small_model("gpt2")).width("0.mlp.neurons")
    assert caught.value.code == "site-absent" and caught.value.hint == "0.mlp.neuron"
