"""Hugging Face models as sources of activations: GPT-2, GPT-NeoX, Llama and BERT classes.

Where every site of layer L comes from (all (B, T, channels)):

    L.attn.in     what queries, keys and values are computed from: what their projection reads
    L.attn.head   every head's mixed values, flat over heads (`h*d_head + i`): what the output
                  projection of attention reads
    L.attn.out    what attention adds to the residual stream: what that projection gives
    L.mlp.in      what the MLP reads: what its first matrix reads
    L.mlp.neuron  MLP neurons after the activation function (Llama: times the gated branch): what
                  the last matrix of the MLP reads
    L.mlp.out     what the MLP adds to the residual stream: what that matrix gives
    L.resid.mlp   the residual stream behind the layer (BERT: after its norm): what the layer gives
    final         what the unembedding reads: what the last norm gives (not in BERT classes, where
                  it is the last `resid.mlp`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from wirework.core import WireworkError
from wirework.probing.activation_source import (
    PADDING,
    Batch,
    Held,
    absent_site,
    checked_context,
    losses_unavailable,
    next_token_losses,
)
from wirework.probing.module_source import (
    Place,
    PlacedSource,
    as_batch,
    device_of,
    holding,
    logits_of,
    recording,
    require_evaluation,
    weights_hash,
)


@dataclass(frozen=True)
class _Family:
    """Where the parts of a class of models are: the list of layers, and inside a layer what reads
    for attention and MLP and what writes their results."""

    layers: str
    attn_in: str
    attn_out: str
    mlp_in: str
    mlp_out: str
    final: str | None
    causal: bool = True

    def places(self, n_layer: int) -> dict[str, Place]:
        found: dict[str, Place] = {}
        for layer in range(n_layer):
            at = f"{self.layers}.{layer}"
            found |= {
                f"{layer}.attn.in": Place(f"{at}.{self.attn_in}", "in"),
                f"{layer}.attn.head": Place(f"{at}.{self.attn_out}", "in"),
                f"{layer}.attn.out": Place(f"{at}.{self.attn_out}", "out"),
                f"{layer}.mlp.in": Place(f"{at}.{self.mlp_in}", "in"),
                f"{layer}.mlp.neuron": Place(f"{at}.{self.mlp_out}", "in"),
                f"{layer}.mlp.out": Place(f"{at}.{self.mlp_out}", "out"),
                f"{layer}.resid.mlp": Place(at, "out"),
            }
        if self.final is not None:
            found["final"] = Place(self.final, "out")
        return found


_GPT2 = _Family("h", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj", "ln_f")
_NEOX = _Family(
    "layers", "attention.query_key_value", "attention.dense",
    "mlp.dense_h_to_4h", "mlp.dense_4h_to_h", "final_layer_norm",
)  # fmt: skip
_LLAMA = _Family(
    "layers", "self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj", "norm"
)
_BERT = _Family(
    "encoder.layer", "attention.self.query", "attention.output.dense",
    "intermediate.dense", "output.dense", None, causal=False,
)  # fmt: skip

FAMILIES: Mapping[str, _Family] = {
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "bert": _BERT,
    "roberta": _BERT,
}
"""By `config.model_type`."""

_NOT_THE_MODEL = {"architectures", "dtype", "torch_dtype", "transformers_version", "use_cache"}


class HuggingFaceSource(PlacedSource):
    """A `transformers` model of a known class, with or without its head.

    `before` and `after` are special tokens that stand around every window (`[CLS]`, `[SEP]`, a
    begin-of-text): they take room in the context, and their own activations are dropped.
    """

    tokenizer = ""

    def __init__(
        self,
        model: nn.Module,
        *,
        before: tuple[int, ...] = (),
        after: tuple[int, ...] = (),
        context: int | None = None,
    ) -> None:
        """Raises `model-unsupported`, `context-too-long`, `module-training`."""
        config: Any = getattr(model, "config", None)
        kind = str(getattr(config, "model_type", type(model).__name__))
        if kind not in FAMILIES:
            raise WireworkError(
                "model-unsupported",
                f"the parts of a model of type {kind!r} have no known names",
                expected=f"one of {', '.join(FAMILIES)}",
                got=kind,
                hint="ModuleSource(model, [names of its parts], context=...)",
            )
        family = FAMILIES[kind]
        base: Any = getattr(model, "base_model", model)
        self._model: nn.Module = base
        self._with_head = model
        self._before, self._after = tuple(before), tuple(after)
        self._padding = int(getattr(config, "pad_token_id", None) or 0)
        # RoBERTa counts positions from the id of its padding on.
        lost = self._padding + 1 if kind == "roberta" else 0
        room = int(config.max_position_embeddings) - lost - len(self._before) - len(self._after)
        self.context = checked_context(context, room)
        self.vocab_size: int | None = int(config.vocab_size)
        self.causal = family.causal or bool(getattr(config, "is_decoder", False))
        self._config = config
        self._places = family.places(int(config.num_hidden_layers))
        require_evaluation(self._model)
        self._widths = {}

    def hash(self) -> str:
        """sha256 of class, configuration and weights; heads and poolers play no part in it."""
        plain = self._config.to_diff_dict()
        kept = {key: value for key, value in plain.items() if key not in _NOT_THE_MODEL}
        kept = {key: value for key, value in kept.items() if not key.startswith("_")}
        settings = json.dumps(kept, sort_keys=True, default=str)
        return weights_hash(self._model, settings, without="pooler.")

    def describe(self) -> dict[str, Any]:
        return {
            "kind": "hugging-face",
            "class": type(self._model).__qualname__,
            "before": list(self._before),
            "after": list(self._after),
        }

    @torch.no_grad()
    def run(self, tokens: NDArray[np.int64], sites: tuple[str, ...]) -> Batch:
        """Raises `site-absent`, `module-training`."""
        for site in sites:
            if site not in self._places:
                raise absent_site(site, self.sites())
        require_evaluation(self._model)
        places = {site: self._places[site] for site in sites}
        rows = self._with_specials(tokens)
        device = device_of(self._model)
        told: dict[str, Any] = {}
        if not self.causal:
            told["attention_mask"] = torch.from_numpy(rows != PADDING).long().to(device)
        ids = torch.from_numpy(np.where(rows == PADDING, self._padding, rows)).to(device)
        with recording(self._model, places) as values:
            self._model(input_ids=ids, use_cache=False, **told)
        begin, end = len(self._before), len(self._before) + tokens.shape[1]
        found = as_batch(values, places, rows.shape)
        return {site: value[:, begin:end] for site, value in found.items()}

    @torch.no_grad()
    def losses(self, tokens: NDArray[np.int64], held: Held) -> NDArray[np.float32]:
        """Raises `site-absent`, `module-training`, `losses-unavailable` for encoders and for
        models without their head."""
        for site in held:
            if site not in self._places:
                raise absent_site(site, self.sites())
        head: Any = getattr(self._with_head, "get_output_embeddings", lambda: None)()
        if not self.causal or head is None:
            what = type(self._with_head).__name__
            raise losses_unavailable(
                what, "load_hugging_face(name, head=True)" if self.causal else ""
            )
        require_evaluation(self._with_head)
        rows = self._with_specials(tokens)
        ids = torch.from_numpy(np.where(rows == PADDING, self._padding, rows))
        with holding(self._model, self._places, held):
            found = self._with_head(input_ids=ids.to(device_of(self._model)), use_cache=False)
        begin, end = len(self._before), len(self._before) + tokens.shape[1]
        return next_token_losses(logits_of(found, rows.shape)[:, begin:end], tokens)

    def _with_specials(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, T) -> (B, T + specials), padding behind the last special of a row."""
        lengths = (tokens != PADDING).sum(axis=1)
        width = len(self._before) + tokens.shape[1] + len(self._after)
        rows = np.full((len(tokens), width), PADDING, np.int64)
        rows[:, : len(self._before)] = self._before
        rows[:, len(self._before) : len(self._before) + tokens.shape[1]] = tokens
        for i, special in enumerate(self._after):
            rows[np.arange(len(rows)), len(self._before) + lengths + i] = special
        return rows


def special_tokens(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What a Hugging Face tokenizer puts before and after one text.

    Raises `tokenizer-specials` where it marks a special token amid the text.
    """
    found = tokenizer("a", add_special_tokens=True, return_special_tokens_mask=True)
    ids, mask = list(found["input_ids"]), list(found["special_tokens_mask"])
    text = [place for place, special in enumerate(mask) if not special]
    if not text or text != list(range(text[0], text[-1] + 1)):
        raise WireworkError(
            "tokenizer-specials",
            "the tokenizer does not show which of its tokens stand around a text",
            expected="special tokens before and after the text, marked as such",
            got=f"tokens {ids}, marked {mask}",
            hint="HuggingFaceSource(model, before=(...), after=(...))",
        )
    return tuple(ids[: text[0]]), tuple(ids[text[-1] + 1 :])


def load_hugging_face(
    name: str, *, context: int | None = None, head: bool = False
) -> HuggingFaceSource:
    """A model with its tokenizer's special tokens, from a folder or by its name on the hub.

    `head`: with the unembedding of a causal language model, which `losses` needs.
    Weights are read from safetensors files only, as float32, and no code of theirs is run.
    Raises `extra-missing`, `model-unreadable`, and those of `HuggingFaceSource`.
    """
    if find_spec("transformers") is None:
        raise WireworkError(
            "extra-missing",
            "Hugging Face models need a library that is not installed",
            expected="the extra wirework[hf]",
            got="no module transformers",
            hint="pip install 'wirework[hf]'",
        )
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    try:
        kind = AutoModelForCausalLM if head else AutoModel
        model = kind.from_pretrained(name, use_safetensors=True, dtype=torch.float32)
        before, after = special_tokens(AutoTokenizer.from_pretrained(name))
    except (OSError, ValueError) as error:
        if isinstance(error, WireworkError):
            raise
        raise WireworkError(
            "model-unreadable",
            f"the model {name} cannot be read",
            expected="a folder or a hub name with config, safetensors weights and tokenizer",
            got=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
        ) from None
    model.eval()
    return HuggingFaceSource(model, before=before, after=after, context=context)
