"""A limit on how far a circuit's heads may look elsewhere than the whole model's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from wirework.ablation import (
    AblationConfig,
    CompactModel,
    Holding,
    PromptTensors,
    Reference,
    attention_distance,
)
from wirework.ablation.packed import Packed
from wirework.core import Site
from wirework.discovery import DiscoveryConfig, discover
from wirework.discovery.alternatives import nodes_of
from wirework.discovery.attention_limit import AttentionLimit
from wirework.engine import forward
from wirework.model.layers import Layer
from wirework.planted import Planted, close_quote, copy_previous, quote_with_decoys

BUILDERS = pytest.mark.parametrize("builder", [close_quote, copy_previous])


def parts(planted: Planted) -> tuple[CompactModel, Holding, PromptTensors]:
    encoded = planted.task.encode(planted.checkpoint.tokenizer, planted.checkpoint.config.context)
    fit = PromptTensors.of(encoded.fit)
    holding = Holding.of(AblationConfig(), planted.checkpoint, fit)
    answers = torch.from_numpy(encoded.answer_tokens())
    return CompactModel(planted.checkpoint.model, holding.constants, answers), holding, fit


def all_open(whole: CompactModel) -> dict[Site, torch.Tensor]:
    return {site: torch.ones(len(held)) for site, held in whole.constants.items()}


@BUILDERS
def test_shares_are_the_attention_of_the_engine(builder: Callable[..., Planted]) -> None:
    planted = builder()
    whole, _, fit = parts(planted)
    few = fit.pairs(torch.arange(4))
    looks = whole.reference(Packed.of(few)).looks
    network = planted.checkpoint.sparse()
    for row, last in enumerate(few.last.tolist()):
        prompt = few.tokens[row : row + 1, : last + 1].numpy()
        attention = forward(network, prompt, attention=True).attention
        for layer, look in looks.items():
            own = planted.checkpoint.model.layers[layer]
            assert isinstance(own, Layer)
            found = look.shares(look.heads, few.last, own.attn.sink)[row, :, :, : last + 1]
            wanted = attention[layer][0]
            if found.shape[1] == 1:
                wanted = wanted[:, last:]
            np.testing.assert_allclose(found[:, : wanted.shape[1]].numpy(), wanted, atol=1e-5)


@BUILDERS
def test_the_whole_model_is_as_far_from_itself_as_nothing(builder: Callable[..., Planted]) -> None:
    planted = builder()
    whole, holding, fit = parts(planted)
    limit = AttentionLimit(whole, fit, 1e-6)
    everything = {s: np.ones(len(x), dtype=np.bool_) for s, x in whole.constants.items()}
    assert limit.met(everything, holding, {})
    index = torch.tensor([5, 2, 7])
    batch = fit.pairs(index)
    record = Reference(Packed.of(batch))
    whole.margins(batch, all_open(whole), record=record)
    assert float(limit.excess(record.looks, index)) == 0


def test_the_excess_is_the_distance_over_the_limit_and_asks_for_the_key() -> None:
    planted = quote_with_decoys()
    whole, holding, fit = parts(planted)
    index = torch.tensor([3, 0])
    batch = fit.pairs(index)
    nodes = planted.nodes("read opening", "read kind", "key", "value", "write answer")
    gates = {site: torch.zeros(len(held)) for site, held in whole.constants.items()}
    for node in nodes:
        gates[node.site][node.index] = 1
    key = planted.parts["key"]
    gates[key.site] = torch.zeros(len(gates[key.site]), requires_grad=True)
    record = Reference(Packed.of(batch))
    whole.margins(batch, gates, record=record)
    own = whole.reference(Packed.of(batch)).looks
    distance = attention_distance(whole.model, record.looks, own, batch.last)
    assert len(distance) == 1
    (away,) = (float(each.detach().mean()) for each in distance.values())
    assert 0.2 < away <= 1
    excess = AttentionLimit(whole, fit, 0.1).excess(record.looks, index)
    assert float(excess.detach()) == pytest.approx(away / 0.1 - 1, rel=1e-5)
    excess.backward()  # type: ignore[no-untyped-call]
    slope = gates[key.site].grad
    assert slope is not None
    assert int(slope.argmin()) == key.index
    assert float(slope[key.index]) < 0
    keep = {site: np.asarray(gate.detach().numpy() > 0) for site, gate in gates.items()}
    assert not AttentionLimit(whole, fit, 0.1).met(keep, holding, {})
    keep[key.site][key.index] = True
    assert AttentionLimit(whole, fit, 0.1).met(keep, holding, {})


def test_a_circuit_that_could_do_without_looking_must_look() -> None:
    planted = quote_with_decoys()
    config = DiscoveryConfig(
        target_loss=0.6, faithfulness=0, every_template=False, steps=200,
        ablation=planted.config,
    )  # fmt: skip
    free, bound = (
        nodes_of(discover(planted.checkpoint, planted.task, config=config.replace(attention=limit)))
        for limit in (1.0, 0.1)
    )
    assert planted.parts["value"] in free
    assert planted.parts["key"] not in free
    assert planted.parts["key"] in bound
