"""`beeg_config.json`: the published configuration, turned into ours and back.

Sources: weight_sparse_paper.md §1.1, §1.2, circuit_tools.md §4.5.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from wirework.core import Config, WireworkError

if TYPE_CHECKING:
    from wirework.model import ModelConfig

CONFIG_FILE = "beeg_config.json"

PLACES = {
    "attn_in": "attn.in",
    "attn_q": "attn.q",
    "attn_k": "attn.k",
    "attn_v": "attn.v",
    "attn_out": "attn.out",
    "mlp_in": "mlp.in",
    "mlp_neuron": "mlp.neuron",
    "mlp_out": "mlp.out",
    "resid_post_attn": "resid.attn",
    "resid_post_mlp": "resid.mlp",
}
"""Places of AbsTopK: their name in `afrac_loctypes` -> ours."""

_WIDEST = 2**18
"""No width of a real model: beyond it products of widths would not fit 64 bits."""


class PublishedConfig(Config):
    """The fields of the published `GPTConfig`, in its order and with its defaults.

    `d_head` None is d_model // n_head, `d_mlp` None is 4 * d_model, `afrac` None is off;
    `d_pos_emb` asks for concatenated positions. No effect on what a trained model computes have:
    dropout, debug_nans, tokenizer_name, grad_checkpointing, learnable_bigram_table,
    dropout_cat_pos_emb, sinusoidal_cat_pos_emb (the table is in the file), enable_sparse_kernels
    and flash.
    """

    block_size: int = Field(1024, ge=2, le=_WIDEST)
    vocab_size: int = Field(50304, ge=2, le=_WIDEST)
    n_layer: int = Field(12, ge=1, le=_WIDEST)
    n_head: int = Field(12, ge=1, le=_WIDEST)
    d_head: int | None = Field(None, ge=1, le=_WIDEST)
    d_model: int = Field(768, ge=1, le=_WIDEST)
    dropout: float = 0.0
    bias: bool = True
    ln_bias: bool = True
    rms_norm: bool = False
    residual_activation_type: Literal["identity", "relu"] = "identity"
    activation_type: Literal["gelu", "relu"] = "gelu"
    afrac: float | None = Field(None, gt=0, le=1)
    afrac_loctypes: str = "attn_in,attn_out,mlp_in,mlp_out"
    debug_nans: bool = False
    tied_unembed: bool = True
    tokenizer_name: str = "tinypython_2k"
    grad_checkpointing: bool = True
    d_mlp: int | None = Field(None, ge=1, le=_WIDEST)
    enable_bigram_table: bool = False
    learnable_bigram_table: bool = False
    d_pos_emb: int | None = Field(None, ge=1, le=_WIDEST)
    dropout_cat_pos_emb: bool = False
    sinusoidal_cat_pos_emb: bool = False
    enable_sparse_kernels: bool = False
    flash: bool = True
    sink: bool = False

    @property
    def head_width(self) -> int:
        return self.d_head or self.d_model // self.n_head

    @property
    def mlp_width(self) -> int:
        return self.d_mlp or 4 * self.d_model

    @property
    def places(self) -> tuple[str, ...]:
        """Where AbsTopK stands, in published names; nowhere without `afrac`."""
        off = self.afrac is None or self.afrac == 1
        return () if off else tuple(name for name in self.afrac_loctypes.split(",") if name)


def parse_config(
    values: Any, neutral: Collection[str] = ()
) -> tuple[PublishedConfig, tuple[str, ...]]:
    """The content of a `beeg_config.json`, and remarks on keys that are not the fields' own.

    `n_mlp` is an old name of `d_mlp`. Keys that no published code knows are passed over, and
    named, where their value switches something off or where they are among `neutral`. Raises
    `openai-config-unsupported` for other keys and for places that cannot be computed here,
    `config-invalid` for wrong values.
    """
    if not isinstance(values, dict):
        raise WireworkError(
            "openai-config-unsupported", f"{CONFIG_FILE} is not a table of settings",
            expected="a JSON object with the fields of GPTConfig", got=type(values).__name__,
        )  # fmt: skip
    values, remarks = _without_old_keys(dict(values))
    fields = PublishedConfig.model_fields
    for key in [key for key in values if key not in fields]:
        value = values.pop(key)
        off = not value or value in ("none", "identity")
        if not off and key not in neutral:
            raise WireworkError(
                "openai-config-unsupported",
                f"{CONFIG_FILE} has a key that may change what the model computes: {key}",
                expected=f"one of {', '.join(fields)}; or a key that is switched off",
                got=f"{key} = {str(value)[:80]}",
                hint=f"--neutral {key}, if it changes nothing after training",
            )
        remarks.append(f"passed over: unknown key {key} = {str(value)[:80]}")
    config = PublishedConfig.parse(values, CONFIG_FILE)
    if unknown := [name for name in config.places if name not in PLACES]:
        raise WireworkError(
            "openai-config-unsupported",
            f"{CONFIG_FILE} puts AbsTopK where it cannot be put here",
            expected=f"afrac_loctypes among {', '.join(PLACES)}",
            got=", ".join(repr(name) for name in unknown)[:200],
        )
    if absent := [name for name in fields if name not in values]:
        remarks.append(f"published defaults for absent keys: {', '.join(absent)}")
    return config, tuple(remarks)


def _without_old_keys(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    remarks = []
    if "n_mlp" in values:
        width = values.pop("n_mlp")
        if values.setdefault("d_mlp", width) != width:
            raise WireworkError(
                "openai-config-unsupported", f"{CONFIG_FILE} gives two widths of the MLP",
                expected="n_mlp, the old name, equal to d_mlp",
                got=f"{width} and {values['d_mlp']}",
            )  # fmt: skip
        remarks.append("old key n_mlp read as d_mlp")
    if "bigram_table_rank" in values:
        # The published loader drops it too: the table in the file is whole.
        values.pop("bigram_table_rank")
        remarks.append("passed over: old key bigram_table_rank")
    if "use_tied_aux_matrix" in values:
        if values.pop("use_tied_aux_matrix"):
            raise WireworkError(
                "openai-config-unsupported",
                "this model was trained with an auxiliary matrix that no published code computes",
                expected="use_tied_aux_matrix = false", got="true",
            )  # fmt: skip
        remarks.append("passed over: old key use_tied_aux_matrix (false)")
    return values, remarks


def from_published(config: PublishedConfig, *, with_positions: bool) -> ModelConfig:
    """Our configuration of the same model.

    `with_positions`: whether the table of added positions holds anything but zeros.
    Raises `afrac-too-small`.
    """
    from wirework.model import ModelConfig

    position = "none" if not with_positions else "add"
    bigram = "learned" if config.learnable_bigram_table else "frozen"
    values: dict[str, Any] = {}
    if config.d_pos_emb is not None:
        position = "concat"
        values["d_position"] = config.d_pos_emb
        values["position_table"] = "sinusoidal" if config.sinusoidal_cat_pos_emb else "learned"
        values["position_in_topk"] = True
    return ModelConfig.parse(
        {
            **values,
            "vocab_size": config.vocab_size,
            "context": config.block_size,
            "n_layer": config.n_layer,
            "d_model": config.d_model,
            "n_head": config.n_head,
            "d_head": config.head_width,
            "d_mlp": config.mlp_width,
            "activation": config.activation_type,
            "bias": config.bias,
            "sink": config.sink,
            "bigram": bigram if config.enable_bigram_table else "none",
            "position": position,
            "norm": "rms" if config.rms_norm else "layer",
            "norm_bias": config.ln_bias,
            "residual": config.residual_activation_type,
            "tied": config.tied_unembed,
            "afrac": config.afrac or 1.0,
            "afrac_places": [PLACES[name] for name in config.places],
        },
        CONFIG_FILE,
    )


def to_published(config: ModelConfig) -> PublishedConfig:
    """The published configuration of a model of ours.

    Raises `openai-not-expressible`, naming the switches that the published code does not have.
    """
    names = {ours: theirs for theirs, ours in PLACES.items()}
    concat = config.position == "concat"
    published = PublishedConfig.parse(
        {
            "block_size": config.context,
            "vocab_size": config.vocab_size,
            "n_layer": config.n_layer,
            "n_head": config.n_head,
            "d_head": config.d_head,
            "d_model": config.d_model,
            "bias": config.bias,
            "ln_bias": config.norm_bias,
            "rms_norm": config.norm == "rms",
            "residual_activation_type": config.residual,
            "activation_type": config.activation,
            "afrac": None if config.afrac == 1 else config.afrac,
            "afrac_loctypes": ",".join(names[place] for place in config.afrac_places),
            "tied_unembed": config.tied,
            "grad_checkpointing": False,
            "d_mlp": config.d_mlp,
            "enable_bigram_table": config.bigram != "none",
            "learnable_bigram_table": config.bigram == "learned",
            "d_pos_emb": config.d_position if concat else None,
            "sinusoidal_cat_pos_emb": concat and config.position_table == "sinusoidal",
            "sink": config.sink,
        },
        "the model's configuration",
    )
    back = from_published(published, with_positions=config.position == "add")
    before, after = _meaning(config), _meaning(back)
    lost = [f"{key} = {before[key]}" for key in before if before[key] != after[key]]
    if config.d_model % config.n_head:
        lost.append(f"n_head = {config.n_head}, which does not divide d_model = {config.d_model}")
    if lost:
        raise WireworkError(
            "openai-not-expressible", "the published format cannot say what this model computes",
            expected="switches that GPTConfig has", got="; ".join(lost),
        )  # fmt: skip
    return published


def _meaning(config: ModelConfig) -> dict[str, Any]:
    """The settings, those without effect at a fixed value."""
    values = config.plain()
    places = sorted(set(config.afrac_places)) if config.afrac < 1 else []
    values["afrac_places"] = places
    if config.norm == "rms":
        values["norm_bias"] = True
    if config.position != "concat":
        values.update(d_position=0, position_table="learned")
    if config.position != "concat" or not {"attn.in", "mlp.in"}.intersection(places):
        values["position_in_topk"] = True
    return values
