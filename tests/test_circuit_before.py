"""Gates that stand before AbsTopK as well: cut channels compete there as their constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import (
    CONTEXT,
    PLACES,
    Switches,
    dense_forward,
    nodes_of,
    random_gates,
    random_network,
    random_tokens,
    switches,
)
from wirework.circuit import extract, sizes
from wirework.core import Site
from wirework.engine import Decoder, SiteGate, forward

ANSWERS = np.array([7, 2, 4])
WANT = Switches(
    3, 2, "concat", True, True, True, "gelu", PLACES, False, "layer", True, position_in_topk=True
)


@settings(max_examples=80)
@given(switches(), st.integers(0, 2**32 - 1))
def test_the_lone_circuit_is_the_masked_model(want: Switches, seed: int) -> None:
    network, tokens = random_network(want), random_tokens(want)
    gates = random_gates(network, seed, before=True)
    gated = replace(network, gates=gates)
    masked = forward(gated, tokens, dtype=np.float64, record=True)
    logits, defined = dense_forward(gated, tokens)
    np.testing.assert_allclose(masked.logits, logits, rtol=0, atol=1e-9)
    lone = forward(extract(network, gates, ANSWERS), tokens, dtype=np.float64, record=True)
    np.testing.assert_allclose(lone.logits, masked.logits[..., ANSWERS], rtol=0, atol=1e-9)
    for site in nodes_of(gated):
        np.testing.assert_allclose(masked.sites[site], defined[site], rtol=0, atol=1e-9)
        np.testing.assert_allclose(lone.sites[site], defined[site], rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(switches(), st.integers(0, 2**32 - 1), st.integers(1, CONTEXT), st.booleans())
def test_one_token_at_a_time_gives_the_same_numbers(
    want: Switches, seed: int, begin: int, narrow: bool
) -> None:
    network, row = random_network(want), random_tokens(want)[0]
    gated = replace(network, gates=random_gates(network, seed, before=True))
    dtype = np.float32 if narrow else np.float64
    stream, logits = Decoder(gated, dtype=dtype).open(row[:begin], len(row))
    found = np.stack([logits, *(stream.push(int(token)) for token in row[begin:])])
    whole = forward(gated, row[np.newaxis], dtype=dtype).logits[0]
    np.testing.assert_array_equal(found, whole[begin - 1 :])


@settings(max_examples=40)
@given(switches(), st.integers(0, 2**32 - 1))
def test_no_shadow_weights_are_needed(want: Switches, seed: int) -> None:
    network = random_network(want)
    gates = {
        site: replace(gate, before=True)
        for site, gate in random_gates(network, seed, every=True).items()
    }
    alone = extract(network, gates, ANSWERS)
    assert sizes(alone, nodes_of(alone), ()).shadow_weights == 0


def test_a_large_constant_takes_the_place_of_a_kept_channel() -> None:
    network = replace(random_network(WANT), topk={"mlp.neuron": 1})
    tokens, site = random_tokens(WANT), Site(0, "mlp.neuron")
    width = network.width(site)
    constant = np.where(np.arange(width) == 0, 1e3, 0.0)
    for before in (False, True):
        gate = SiteGate(np.arange(width) != 0, constant, before)
        run = forward(replace(network, gates={site: gate}), tokens, dtype=np.float64, record=True)
        assert run.sites[site][..., 1:].any() == (not before)
        assert (run.sites[site][..., 0] == 1e3).all()
