"""Site, Node and Edge: one spelling, parsed and printed without loss, ordered as computed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirework.core import Edge, Node, Site, WireworkError
from wirework.core.names import EDGE_BLOCKS, FINAL, LAYER_SITES, READ_SITES, WRITE_SITES, sites

any_site = st.one_of(
    st.just(Site(None, FINAL)),
    st.builds(Site, st.integers(0, 99), st.sampled_from(LAYER_SITES)),
)
any_node = st.builds(Node, any_site, st.integers(0, 10**6))
any_edge = st.builds(Edge, any_node, any_node)


@given(any_site)
def test_a_site_is_read_as_it_is_written(site: Site) -> None:
    assert Site.parse(str(site)) == site


@given(any_node)
def test_a_node_is_read_as_it_is_written(node: Node) -> None:
    assert Node.parse(str(node)) == node


@given(any_edge)
def test_an_edge_is_read_as_it_is_written(edge: Edge) -> None:
    assert Edge.parse(str(edge)) == edge


def test_the_spelling() -> None:
    neuron = Node(Site(3, "mlp.neuron"), 817)
    assert str(neuron) == "3.mlp.neuron:817"
    assert str(Edge(neuron, Node(Site(3, "mlp.out"), 40))) == "3.mlp.neuron:817 -> 3.mlp.out:40"
    assert str(Node(Site(None, FINAL), 5)) == "final:5"


@given(st.integers(0, 5))
def test_sites_stand_in_the_order_of_computation(layers: int) -> None:
    listed = sites(layers)
    assert len(listed) == 8 * layers + 1
    assert sorted(listed) == list(listed)
    assert listed[-1] == Site(None, FINAL)
    assert {site.layer for site in listed[:-1]} == set(range(layers))


def test_order_counts_layers_as_numbers() -> None:
    assert Site(2, "mlp.out") < Site(10, "attn.in") < Site(None, FINAL)
    assert Site(0, "attn.in") < Site(0, "attn.q") < Site(0, "mlp.neuron") < Site(1, "attn.in")
    assert Node(Site(0, "attn.q"), 9) < Node(Site(0, "attn.q"), 10) < Node(Site(0, "attn.k"), 0)


def test_names_serve_as_keys() -> None:
    assert {Site(0, "attn.q"): 1}[Site.parse("0.attn.q")] == 1
    assert len({Node.parse("final:1"), Node.parse("final:1"), Node.parse("final:2")}) == 2


def test_blocks_join_known_places_in_order() -> None:
    for source, target in EDGE_BLOCKS:
        assert Site(0, source) < Site(0, target)
    assert set(READ_SITES) - {FINAL} <= set(LAYER_SITES)
    assert set(WRITE_SITES) <= set(LAYER_SITES)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("3.mlp.neurn", "3.mlp.neuron"),
        ("0.attn.qq", "0.attn.q"),
        ("finale", "final"),
        ("mlp.in", "0.mlp.in"),
        ("1.attn", "1.attn."),
        ("-1.attn.q", ".attn.q"),
        ("", ""),
        ("1.final", "final"),
    ],
)
def test_an_unknown_site_names_the_nearest(text: str, near: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Site.parse(text)
    assert caught.value.code == "site-unknown"
    assert caught.value.got == text
    assert near in caught.value.hint
    assert "mlp.neuron" in caught.value.expected


@pytest.mark.parametrize(
    ("layer", "kind"), [(None, "attn.q"), (-1, "attn.q"), (2, FINAL), (0, "attn"), (None, "")]
)
def test_an_impossible_site_cannot_be_made(layer: int | None, kind: str) -> None:
    with pytest.raises(WireworkError, match="site-unknown"):
        Site(layer, kind)


@pytest.mark.parametrize("text", ["3.mlp.neuron", "3.mlp.neuron:", "final:-1", "final:x", ":3", ""])
def test_a_malformed_node(text: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Node.parse(text)
    assert caught.value.code == "node-malformed"
    assert caught.value.expected == "SITE:INDEX"


def test_a_node_at_an_unknown_site() -> None:
    with pytest.raises(WireworkError, match="site-unknown"):
        Node.parse("3.mlp.nothing:1")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("final:1", "edge-malformed"),
        ("final:1->final:2", "edge-malformed"),
        ("final:1 -> ", "node-malformed"),
        ("final:1 -> 0.attn.x:2", "site-unknown"),
    ],
)
def test_a_malformed_edge(text: str, code: str) -> None:
    with pytest.raises(WireworkError) as caught:
        Edge.parse(text)
    assert caught.value.code == code
