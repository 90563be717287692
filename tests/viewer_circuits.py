"""Circuits to look at: cut out of random networks, with a real tokenizer and a real task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from wirework.circuit import Calibration, Circuit, extract, on_path
from wirework.core import Site
from wirework.core.names import sites
from wirework.data import Tokenizer
from wirework.engine import Layer, Network, SiteGate, SparseMatrix
from wirework.tasks import Task, load_task

D, HEADS, WIDTH, NEURONS = 24, 4, 6, 48


def quote_task(pairs: int = 12) -> Task:
    """A few pairs of every split, from many templates."""
    task = load_task("python/single_double_quote")
    step = max(1, len(task.report) // pairs)
    return replace(
        task, fit=task.fit[:4], select=task.select[:4], report=task.report[::step][:pairs]
    )


def random_circuit(
    seed: int = 0,
    *,
    task: Task | None = None,
    keep: float = 0.35,
    layers: int = 2,
    size: int = 1,
    **fields: Any,
) -> Circuit:
    """A lone circuit of the nodes that lie on a path, out of a share `keep` drawn at random.

    `size`: how many times as wide the network is as our smallest one, in every place. `fields`
    replace those of the circuit, such as `losses` or `runs_alone`.
    """
    random = np.random.default_rng(seed)
    task = task or quote_task()
    texts = [pair.prompt for pair in (*task.fit, *task.report)]
    tokenizer = Tokenizer.train([*texts, *(pair.counterfactual for pair in task.report)], 420)
    encoded = task.encode(tokenizer, None)
    outputs = encoded.answer_tokens()
    network = _network(random, tokenizer.vocab_size, layers, size)
    prompts = tuple(int(token) for token in np.unique(encoded.report.tokens))
    kept = {
        site: tuple(int(i) for i in np.flatnonzero(random.random(network.width(site)) < keep))
        for site in sites(layers)
    }
    used = on_path(network, kept, outputs=outputs, tokens=np.array(prompts))
    gates = {}
    for site in sites(layers):
        width = network.width(site)
        mask = np.isin(np.arange(width), used.get(site, ()))
        gates[site] = SiteGate(mask, random.normal(0, 0.1, width))
    values: dict[str, Any] = {
        "calibration": Calibration(1.7, -0.2),
        "model_hash": "8f3a1c02be77" * 5 + "0123",
        "model_step": 4000,
        "losses": {"task_loss": 0.1234, "task_loss_raw": 0.31, "task_accuracy": 0.978,
                   "model_loss": 0.041, "model_accuracy": 0.996, "target_loss": 0.15},
    }  # fmt: skip
    return Circuit(
        nodes=used,
        network=extract(network, gates, outputs),
        tokenizer=tokenizer.to_json(),
        task=task.to_json(),
        prompt_tokens=prompts,
        **{**values, **fields},
    )


def _network(random: np.random.Generator, vocabulary: int, layers: int, size: int) -> Network:
    d, heads, neurons = D * size, HEADS * size, NEURONS * size

    def matrix(rows: int, cols: int, density: float = 0.13) -> SparseMatrix:
        dense = random.normal(0, 1, (rows, cols)) * (random.random((rows, cols)) < density)
        return SparseMatrix.from_dense(dense.astype(np.float32))

    def layer() -> Layer:
        flat = heads * WIDTH
        return Layer(
            attn_gain=np.ones(d), q=matrix(flat, d), k=matrix(flat, d), v=matrix(flat, d),
            attn_out=matrix(d, flat), sink=random.normal(0, 1, heads),
            mlp_gain=np.ones(d), mlp_in=matrix(neurons, d), mlp_out=matrix(d, neurons),
        )  # fmt: skip

    return Network(
        n_head=heads,
        d_head=WIDTH,
        embedding=matrix(vocabulary, d, 0.3),
        layers=tuple(layer() for _ in range(layers)),
        final_gain=np.ones(d),
        unembedding=matrix(vocabulary, d, 0.4),
        topk={"attn.in": 12, "mlp.neuron": 24, "attn.q": 12, "attn.k": 12, "attn.v": 12},
    )


def nodes_at(circuit: Circuit, kind: str) -> list[str]:
    """Names of the nodes of one kind of place, over all layers."""
    found = (
        (Site(site.layer, site.kind), kept)
        for site, kept in sorted(circuit.nodes.items())
        if site.kind == kind
    )
    return [f"{site}:{index}" for site, kept in found for index in kept]
