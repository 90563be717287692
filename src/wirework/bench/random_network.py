"""A large sparse model drawn at once, nonzero by nonzero, without a dense matrix in between."""

from __future__ import annotations

import numpy as np

from wirework.engine import Layer, Network, SparseMatrix
from wirework.model import ModelConfig


def random_network(config: ModelConfig, density: float, seed: int) -> Network:
    """A network of this shape, float32; every neuron has as many weights as the next, or one more.

    Weights are drawn so that every channel has about unit variance; biases are small. For RMSNorm
    without positions.
    """
    assert config.norm == "rms" and config.position == "none" and not config.tied
    draw = _Draw(np.random.default_rng([seed, 1]), density)
    d, flat = config.d_model, config.d_attn
    layers = tuple(
        Layer(
            attn_gain=np.ones(d, dtype=np.float32),
            q=draw.rows(flat, d), k=draw.rows(flat, d), v=draw.rows(flat, d),
            q_bias=draw.bias(flat), k_bias=draw.bias(flat), v_bias=draw.bias(flat),
            sink=draw.bias(config.n_head) if config.sink else None,
            attn_out=draw.columns(d, flat), attn_out_bias=draw.bias(d),
            mlp_gain=np.ones(d, dtype=np.float32),
            mlp_in=draw.rows(config.d_mlp, d), mlp_in_bias=draw.bias(config.d_mlp),
            mlp_out=draw.columns(d, config.d_mlp), mlp_out_bias=draw.bias(d),
        )
        for _ in range(config.n_layer)
    )  # fmt: skip
    kept = {place: config.kept(place) for place in config.afrac_places}
    bigram = draw.random.normal(0, 1, (config.vocab_size,) * 2).astype(np.float32)
    return Network(
        n_head=config.n_head, d_head=config.d_head, layers=layers,
        embedding=draw.rows(config.vocab_size, d),
        final_gain=np.ones(d, dtype=np.float32),
        unembedding=draw.rows(config.vocab_size, d),
        activation=config.activation,
        topk={place: k for place, k in kept.items() if k is not None},
        bigram=None if config.bigram == "none" else bigram,
    )  # fmt: skip


class _Draw:
    def __init__(self, random: np.random.Generator, density: float) -> None:
        self.random = random
        self.density = density

    def bias(self, width: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return self.random.normal(0, 0.1, width).astype(np.float32)

    def rows(self, rows: int, columns: int) -> SparseMatrix:
        """A matrix whose neurons are its rows."""
        each, more = divmod(int(self.density * rows * columns), rows)
        counts = each + (np.arange(rows) < more)
        places = [self.random.choice(columns, n, replace=False, shuffle=False) for n in counts]
        indices = np.concatenate([np.sort(row) for row in places]).astype(np.int32)
        values = self.random.normal(0, max(1, each) ** -0.5, len(indices)).astype(np.float32)
        values[values == 0] = 1  # as rare as it is unwelcome
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return SparseMatrix((rows, columns), starts, indices, values)

    def columns(self, rows: int, columns: int) -> SparseMatrix:
        """A matrix whose neurons are its columns."""
        turned = self.rows(columns, rows)
        order = np.argsort(turned.indices, kind="stable")  # by row, then by column
        counts = np.bincount(turned.indices, minlength=rows)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        indices = turned.row_of[order].astype(np.int32)
        return SparseMatrix((rows, columns), starts, indices, turned.values[order])
