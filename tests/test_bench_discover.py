"""The plain published search beside ours: the same gates give the same margins and gradients."""

from __future__ import annotations

import torch

from wirework.ablation import Holding, PromptTensors, two_sided_loss
from wirework.bench.discover import DiscoverBench, PlainNodes, bench_discover
from wirework.discovery import DiscoveryConfig
from wirework.discovery.node_gates import GatedNodes
from wirework.planted import close_quote


def test_both_searches_train_the_same_gates_on_the_same_loss() -> None:
    planted = close_quote()
    checkpoint = planted.checkpoint
    model = checkpoint.model.double()
    encoded = planted.task.encode(checkpoint.tokenizer, checkpoint.config.context)
    prompts = PromptTensors.of(encoded.fit).first(8)
    config = DiscoveryConfig(dtype="float32", init_noise=0.2)
    holding = Holding.of(config.ablation, checkpoint, prompts)
    answers = encoded.answer_tokens()
    found = []
    for make in (GatedNodes, PlainNodes):
        gated = make(model, holding, answers, config, seed=1)
        gated.gates.double()
        values = gated.margins(prompts, gated.gates.by_site(gated.gates.opened()))
        slopes = torch.autograd.grad(two_sided_loss(values), [gated.gates.tau])
        found.append((values.detach(), *slopes))
    for ours, plain in zip(*found, strict=True):
        assert (ours - plain).abs().max() < 1e-9


def test_the_report_sets_the_two_side_by_side() -> None:
    planted = close_quote()
    quick = DiscoveryConfig(steps=40, batch=8, lr=1e-2, coefficient=3e-3, dtype="float32")
    report = bench_discover(
        planted.checkpoint, planted.task, DiscoverBench(seeds=2, discovery=quick)
    )
    assert report["discover_speedup"].n == 2
    assert report["discover_speedup"].value > 0
    assert report["edges:ours"].value > 0 and report["edges:plain"].value > 0
    assert report["loss:ours"].value <= quick.target_loss
