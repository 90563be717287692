"""A weight-sparse transformer as plain arrays: a whole checkpoint and a lone circuit alike.

Shapes: V vocabulary, D d_model, A = n_head * d_head, M d_mlp, P width of a concatenated position
vector (0 without), I = D + P what attention and MLP read, O outputs (V unless `outputs` says).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wirework.core import Site
from wirework.core.names import FINAL
from wirework.engine.sparse import Floats, SparseMatrix

NORM_EPSILON = 2.0**-23


@dataclass(frozen=True, eq=False)
class SiteGate:
    """Stands behind the AbsTopK of a site: x -> where(keep, x, constant).

    `keep` bool (d), `constant` float64 (d). `before`: it stands before the AbsTopK as well, so
    that cut channels compete there as their constants.
    """

    keep: NDArray[np.bool_]
    constant: NDArray[np.float64]
    before: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """One attention and one MLP; an absent bias is None.

    `sink` (n_head): logit of one more key whose value is zero. `head_constant` (D, n_head) adds
    head_constant @ (each head's share of attention on real keys) to what attention writes: what
    cut value channels, held at constants, still contribute. `position_gain_*` (P) belong to
    concatenated positions. Columns D..D+P of q, k, v and mlp_in read the position vector. Every
    norm may add a bias.
    """

    attn_gain: Floats
    q: SparseMatrix
    k: SparseMatrix
    v: SparseMatrix
    attn_out: SparseMatrix
    mlp_gain: Floats
    mlp_in: SparseMatrix
    mlp_out: SparseMatrix
    q_bias: Floats | None = None
    k_bias: Floats | None = None
    v_bias: Floats | None = None
    sink: Floats | None = None
    attn_out_bias: Floats | None = None
    head_constant: NDArray[np.float64] | None = None
    mlp_in_bias: Floats | None = None
    mlp_out_bias: Floats | None = None
    position_gain_attn: Floats | None = None
    position_gain_mlp: Floats | None = None
    attn_norm_bias: Floats | None = None
    mlp_norm_bias: Floats | None = None
    position_norm_bias_attn: Floats | None = None
    position_norm_bias_mlp: Floats | None = None

    def into(self, kind: str) -> SparseMatrix:
        """The matrix that ends at a place, such as `attn.q` or `mlp.neuron`."""
        return {
            "attn.q": self.q,
            "attn.k": self.k,
            "attn.v": self.v,
            "attn.out": self.attn_out,
            "mlp.neuron": self.mlp_in,
            "mlp.out": self.mlp_out,
        }[kind]


@dataclass(frozen=True, eq=False, kw_only=True)
class Network:
    """The model of weight_sparse_paper.md §1.1, every switch included.

    `topk`: place (a site's kind, `resid.attn`, `resid.mlp`) -> how many entries AbsTopK keeps
    there; absent means off. `norm`: `rms`, or `layer`, which takes the mean away first.
    `residual`: activation after every sum, before its AbsTopK. `positions`: (T, D) added to the
    embedding or (T, P) concatenated, None without positions; with `position_in_topk` concatenated
    rows take part in the AbsTopK of `attn.in` and `mlp.in`, behind the channels. `outputs`: token
    ids that the logit columns stand for, None for the whole vocabulary. `bigram`: (V, O), its row
    of the current token is added to the logits. `gates`: where a node is held at a constant; a
    site without a gate is whole.
    """

    n_head: int
    d_head: int
    embedding: SparseMatrix
    layers: tuple[Layer, ...]
    final_gain: Floats
    unembedding: SparseMatrix
    activation: Literal["gelu", "relu"] = "gelu"
    norm: Literal["rms", "layer"] = "rms"
    residual: Literal["identity", "relu"] = "identity"
    final_norm_bias: Floats | None = None
    topk: Mapping[str, int] = field(default_factory=dict)
    eps: float = NORM_EPSILON
    position: Literal["none", "add", "concat"] = "none"
    position_in_topk: bool = False
    positions: Floats | None = None
    unembedding_bias: Floats | None = None
    bigram: Floats | None = None
    outputs: NDArray[np.int64] | None = None
    gates: Mapping[Site, SiteGate] = field(default_factory=dict)

    @property
    def vocab_size(self) -> int:
        return self.embedding.shape[0]

    @property
    def d_model(self) -> int:
        return self.embedding.shape[1]

    @property
    def context(self) -> int | None:
        """The longest prompt, None where positions set no limit."""
        return None if self.positions is None else len(self.positions)

    @property
    def answers(self) -> NDArray[np.int64]:
        """Token id of every logit column, (O)."""
        if self.outputs is not None:
            return self.outputs
        return np.arange(self.vocab_size, dtype=np.int64)

    def width(self, site: Site) -> int:
        """Number of channels of a site."""
        if site.kind in ("attn.q", "attn.k", "attn.v"):
            return self.n_head * self.d_head
        if site.kind == "mlp.neuron":
            assert site.layer is not None
            return self.layers[site.layer].mlp_in.shape[0]
        return self.d_model

    def kept(self, site: Site) -> NDArray[np.bool_]:
        """Which channels of a site pass, (d)."""
        gate = self.gates.get(site)
        return np.ones(self.width(site), dtype=np.bool_) if gate is None else gate.keep

    def competes(self, site: Site) -> bool:
        """Whether AbsTopK at a site can silence any channel."""
        return site.kind != FINAL and self.topk.get(site.kind, self.width(site)) < self.width(site)
