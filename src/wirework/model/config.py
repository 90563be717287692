"""Every switch of the architecture as one frozen configuration."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from wirework.core import Config, WireworkError
from wirework.core.errors import unknown_choice
from wirework.core.names import LAYER_SITES

RESIDUAL_PLACES = ("resid.attn", "resid.mlp")
PLACES = LAYER_SITES + RESIDUAL_PLACES

NORM_EPSILON = 2.0**-23
"""float32's machine epsilon, in every dtype (design §6)."""

LAYER_NORM_EPSILON = 1e-5
"""That of torch's LayerNorm, and of the published one."""


class ModelConfig(Config):
    """Shape and switches of the transformer (weight_sparse_paper.md §1.1).

    `afrac` is the share of entries that AbsTopK keeps at each of `afrac_places`; 1 turns it off.
    `position`: `none`; `add` a learned table to the embedding; `concat` its normalised rows
    (`d_position` wide) to the input of every attention and MLP. `position_table`: `learned`, or
    fixed `sinusoidal` rows. `position_in_topk`: concatenated rows take part in the AbsTopK of
    `attn.in` and `mlp.in`, as in the released code, and k is int(afrac * (d_model + d_position)).
    `bigram`: a dense vocab x vocab table added to the logits, `learned` or `frozen`.
    `norm`: RMSNorm, or `layer` for LayerNorm, with a bias where `norm_bias`. `residual`: what
    follows every addition to the residual, before its AbsTopK. `tied`: unembed by the embedding.
    """

    vocab_size: int = Field(2048, ge=2)
    context: int = Field(128, ge=2)
    n_layer: int = Field(2, ge=1)
    d_model: int = Field(256, ge=1)
    n_head: int = Field(16, ge=1)
    d_head: int = Field(16, ge=1)
    d_mlp: int = Field(1024, ge=1)
    activation: Literal["gelu", "relu"] = "gelu"
    bias: bool = True
    sink: bool = True
    bigram: Literal["none", "learned", "frozen"] = "learned"
    position: Literal["none", "add", "concat"] = "none"
    d_position: int = Field(32, ge=1)
    position_table: Literal["learned", "sinusoidal"] = "learned"
    position_in_topk: bool = False
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = True
    residual: Literal["identity", "relu"] = "identity"
    tied: bool = False
    afrac: float = Field(0.25, gt=0, le=1)
    afrac_places: tuple[str, ...] = LAYER_SITES

    @model_validator(mode="after")
    def _check(self) -> Self:
        for place in self.afrac_places:
            if place not in PLACES:
                raise unknown_choice("place-unknown", "place for AbsTopK", place, PLACES)
        for place in self.afrac_places:
            if self.kept(place) == 0:
                raise WireworkError(
                    "afrac-too-small",
                    f"AbsTopK at {place} would keep nothing",
                    expected=f"afrac >= 1/{self._competing(place)}",
                    got=f"afrac = {self.afrac}",
                )
        return self

    @property
    def d_attn(self) -> int:
        """Width of q, k and v, flat over heads."""
        return self.n_head * self.d_head

    @property
    def position_width(self) -> int:
        """Width of one row of the position table."""
        return self.d_position if self.position == "concat" else self.d_model

    @property
    def d_in(self) -> int:
        """Width of what attention and MLP read."""
        return self.d_model + (self.d_position if self.position == "concat" else 0)

    def width(self, kind: str) -> int:
        """Number of channels at a place (a site's kind, `final`, or a residual place)."""
        if kind in ("attn.q", "attn.k", "attn.v"):
            return self.d_attn
        return self.d_mlp if kind == "mlp.neuron" else self.d_model

    def kept(self, kind: str) -> int | None:
        """How many entries AbsTopK keeps at a place, int(afrac * width); None where it is off."""
        if kind not in self.afrac_places or self.afrac == 1:
            return None
        return int(self.afrac * self._competing(kind))

    def _competing(self, kind: str) -> int:
        """How many entries AbsTopK at a place chooses from."""
        with_positions = self.position_in_topk and kind in ("attn.in", "mlp.in")
        return self.d_in if with_positions else self.width(kind)
