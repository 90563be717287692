"""What 1,000 probes cost on a running model: their time over that of its own forward pass.

    OMP_NUM_THREADS=1 python benchmarks/probes_at_run_time.py reference/v1-sparse --k 4

Probes of `k` random neurons each, spread over all MLP sites, on a batch of 8 random windows of the
model's context; one thread, processor seconds, turn by turn, so that other work on the machine
does not count. `probes`: the scores of all probes at every token, from activations that the pass
has left. `forward`: the model's pass with its logits. The ratio is the median over the turns of
all seeds, with a bootstrap interval of that median.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numba
import numpy as np
import torch

import wirework
from wirework.bench.machine import describe_machine
from wirework.bench.turns import ratio
from wirework.core.files import write_json
from wirework.probing.activation_source import WireworkSource
from wirework.probing.probe_store import ProbeStore
from wirework.probing.stored_probe import StoredProbe

WINDOWS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--probes", type=int, default=1000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    checkpoint = wirework.load(wanted.model)
    source = WireworkSource(checkpoint)
    probes: list[float] = []
    forward: list[float] = []
    for seed in range(wanted.seeds):
        watch = random_store(source, wanted.probes, wanted.k, seed).watch(source)
        shape = (WINDOWS, source.context)
        tokens = np.random.default_rng([seed, 1]).integers(source.vocab_size or 1, size=shape)
        read = partial(checkpoint.model, torch.from_numpy(tokens))
        score = partial(watch.bank.scores, {**source.run(tokens, watch.bank.sites)})
        with torch.no_grad():
            for turn in range(wanted.turns + 1):
                model, bank = seconds(read), seconds(score)
                if turn:  # the first one warms up
                    forward.append(model)
                    probes.append(bank)
    measure = ratio(probes, forward, better="lower")
    found = {
        "model": wanted.model,
        "tokens": WINDOWS * source.context,
        "probes": wanted.probes,
        "k": wanted.k,
        "ratio": {"value": measure.value, "low": measure.low, "high": measure.high},
        "forward_ms": 1e3 * float(np.median(forward)),
        "probes_ms": 1e3 * float(np.median(probes)),
        "machine": describe_machine(),
    }
    print(json.dumps(found, indent=1))
    if wanted.out:
        write_json(wanted.out, found)


def random_store(source: WireworkSource, n: int, k: int, seed: int) -> ProbeStore:
    """Probes of `k` random neurons, spread over the MLP sites of a model."""
    random = np.random.default_rng(seed)
    sites = [site for site in source.sites() if site.endswith("mlp.neuron")]
    model = source.hash()
    found = []
    for number in range(n):
        site = sites[number % len(sites)]
        indices = random.choice(source.width(site), k, replace=False).tolist()
        weights = random.normal(size=k).tolist()
        found.append(
            StoredProbe(
                feature=f"random/{number}", site=site, indices=tuple(indices),
                weights=tuple(weights), bias=0.0, threshold=0.0, model=model, data="none",
            )
        )  # fmt: skip
    return ProbeStore().add(found)


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
