"""Edges, paths, sizes and set operations, on a network small enough to draw."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits import small_circuit
from networks import Switches, nodes_of, random_gates, random_network, switches
from wirework.circuit import Nodes, Subgraph, edges, extract, off_path, on_path, sizes
from wirework.core import Edge, Node, Site
from wirework.core.names import EDGE_BLOCKS, READ_SITES, WRITE_SITES
from wirework.engine import Layer, Network, SiteGate, SparseMatrix

ANSWERS = np.array([7, 2, 4])


def matrix(rows: int, cols: int, *places: tuple[int, int]) -> SparseMatrix:
    """Weight row + 10 * col + 1 at each (row, col)."""
    dense = np.zeros((rows, cols))
    for row, col in places:
        dense[row, col] = row + 10 * col + 1
    return SparseMatrix.from_dense(dense)


def drawn() -> Network:
    """Tokens write channels 0 and 1. Head 0 (channels 0, 1) moves 0 to 2; a neuron moves 2 to 3;
    the answer reads 3. Beside it: head 1, whose output nobody reads, and a neuron fed by nothing.
    """
    layer = Layer(
        attn_gain=np.ones(4),
        q=matrix(4, 4, (1, 1), (2, 1)),
        k=matrix(4, 4, (1, 0)),
        v=matrix(4, 4, (0, 0), (3, 0)),
        attn_out=matrix(4, 4, (2, 0), (1, 3)),
        mlp_gain=np.ones(4),
        mlp_in=matrix(3, 4, (0, 2), (1, 3)),
        mlp_out=matrix(4, 3, (3, 0), (3, 1), (3, 2)),
    )
    return Network(
        n_head=2,
        d_head=2,
        embedding=matrix(3, 4, (0, 0), (1, 0), (2, 1)),
        layers=(layer,),
        final_gain=np.ones(4),
        unembedding=matrix(3, 4, (0, 3), (1, 3), (2, 1)),
        topk={"mlp.neuron": 1},
    )


EVERYTHING: Nodes = {
    Site(0, "attn.in"): (0, 1, 3),
    Site(0, "attn.q"): (1, 2),
    Site(0, "attn.k"): (1,),
    Site(0, "attn.v"): (0, 3),
    Site(0, "attn.out"): (1, 2),
    Site(0, "mlp.in"): (2, 3),
    Site(0, "mlp.neuron"): (0, 1, 2),
    Site(0, "mlp.out"): (3,),
    Site(None, "final"): (1, 3),
}


def test_edges_are_nonzeros_between_kept_nodes() -> None:
    kept = {**EVERYTHING, Site(0, "attn.q"): (1,), Site(0, "mlp.neuron"): (0,)}
    found = {str(edge): value for edge, value in edges(drawn(), kept)}
    assert found == {
        "0.attn.in:1 -> 0.attn.q:1": 12.0,
        "0.attn.in:0 -> 0.attn.k:1": 2.0,
        "0.attn.in:0 -> 0.attn.v:0": 1.0,
        "0.attn.in:0 -> 0.attn.v:3": 4.0,
        "0.attn.v:0 -> 0.attn.out:2": 3.0,
        "0.attn.v:3 -> 0.attn.out:1": 32.0,
        "0.mlp.in:2 -> 0.mlp.neuron:0": 21.0,
        "0.mlp.neuron:0 -> 0.mlp.out:3": 4.0,
    }


def test_nodes_off_every_path_are_named() -> None:
    # Answers 0 and 1 read channel 3 only.
    answers = np.array([0, 1])
    assert off_path(drawn(), EVERYTHING, outputs=answers) == {
        Site(0, "attn.in"): (3,),  # nothing writes channel 3 before it is read
        Site(0, "attn.q"): (2,),  # steers head 1, whose value nobody needs
        Site(0, "attn.v"): (3,),
        Site(0, "attn.out"): (1,),
        Site(0, "mlp.in"): (3,),  # written only later, by mlp.out:3
        Site(0, "mlp.neuron"): (1, 2),
        Site(None, "final"): (1,),
    }
    # Token 2's answer reads channel 1, which token 2 and head 1 write.
    assert off_path(drawn(), EVERYTHING) == {
        Site(0, "attn.in"): (3,),
        Site(0, "mlp.in"): (3,),
        Site(0, "mlp.neuron"): (1, 2),
    }


def test_a_query_is_on_a_path_only_beside_a_kept_value_of_its_head() -> None:
    without = {**EVERYTHING, Site(0, "attn.v"): (3,)}
    assert off_path(drawn(), without)[Site(0, "attn.q")] == (1,)
    assert off_path(drawn(), without)[Site(0, "attn.k")] == (1,)


def test_a_value_without_a_source_is_reached_through_its_query() -> None:
    network = drawn()
    bare = replace(network.layers[0], v=matrix(4, 4))
    used = on_path(replace(network, layers=(bare,)), EVERYTHING, outputs=np.array([0]))
    assert used[Site(0, "attn.v")] == (0,)


def test_only_channels_that_the_given_tokens_write_are_sources() -> None:
    # Token 2 writes channel 1 only, so no value is carried; the query still steers.
    used = on_path(drawn(), EVERYTHING, outputs=np.array([0]), tokens=np.array([2]))
    assert used[Site(0, "attn.in")] == (1,)
    assert Site(0, "attn.k") not in used


def test_positions_are_input_too() -> None:
    added = replace(drawn(), position="add", positions=np.array([[0.0, 0, 0, 1]] * 5))
    assert off_path(added, EVERYTHING) == {
        Site(0, "attn.in"): (3,),  # now written, but no matrix reads it
        Site(0, "mlp.neuron"): (2,),
    }


def test_sizes_are_counted_apart() -> None:
    kept = {
        Site(0, "attn.in"): (0,),
        Site(0, "attn.v"): (0,),
        Site(0, "attn.out"): (2,),
        Site(0, "mlp.in"): (2,),
        Site(0, "mlp.neuron"): (0,),
        Site(0, "mlp.out"): (3,),
        Site(None, "final"): (3,),
    }
    network = drawn()
    from_three = replace(
        network.layers[0], mlp_in=matrix(3, 4, (0, 2), (1, 2), (2, 2), (1, 3))
    )  # neurons 1 and 2 compete with neuron 0 for the one place
    network = replace(network, layers=(from_three,))
    gates = {}
    for site in EVERYTHING:
        keep = np.zeros(network.width(site), dtype=np.bool_)
        keep[list(kept.get(site, ()))] = True
        gates[site] = SiteGate(keep, np.zeros(len(keep)))
    size = sizes(extract(network, gates, np.array([0, 1])), kept, (0, 2))
    assert size.nodes == 7
    assert size.edges == 4
    assert size.embedding_edges == 1  # token 0 writes channel 0; token 2 only channel 1
    assert size.unembedding_edges == 2
    assert size.shadow_weights == 2
    assert size.position_edges == 0


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1))
def test_every_nonzero_of_a_circuit_is_counted_once(want: Switches, seed: int) -> None:
    network = random_network(want)
    alone = extract(network, random_gates(network, seed), ANSWERS)
    nodes = nodes_of(alone)
    size = sizes(alone, nodes, range(network.vocab_size))
    stored = sum(layer.into(target).nnz for layer in alone.layers for _, target in EDGE_BLOCKS)
    assert size.edges + size.position_edges + size.shadow_weights == stored
    assert size.unembedding_edges == alone.unembedding.nnz
    assert len(edges(alone, nodes)) == size.edges
    # The whole model has the same edges between these nodes.
    assert edges(network, nodes) == edges(alone, nodes)


@settings(max_examples=60)
@given(switches(), st.integers(0, 2**32 - 1))
def test_paths_agree_with_a_walk_over_single_steps(want: Switches, seed: int) -> None:
    network = random_network(replace(want, bias=False))
    alone = extract(network, random_gates(network, seed), ANSWERS)
    nodes = nodes_of(alone)
    used = on_path(alone, nodes)
    assert used == walked(alone, nodes)
    assert on_path(network, nodes, outputs=ANSWERS) == used
    assert on_path(alone, used) == used
    assert not off_path(alone, used)


def walked(network: Network, nodes: Nodes) -> dict[Site, tuple[int, ...]]:
    """Steps one by one from every input and, backwards, from every answer."""
    named = [Node(site, index) for site, found in nodes.items() for index in found]
    steps: dict[Node, set[Node]] = defaultdict(set)
    for edge, _ in edges(network, nodes):
        steps[edge.source].add(edge.target)
    for a in named:
        for b in named:
            is_later = a.site < b.site and a.index == b.index
            if is_later and a.site.kind in WRITE_SITES and b.site.kind in READ_SITES:
                steps[a].add(b)
            same_head = a.site.layer == b.site.layer and (
                a.index // network.d_head == b.index // network.d_head
            )
            if a.site.kind in ("attn.q", "attn.k") and b.site.kind == "attn.v" and same_head:
                steps[a].add(b)
    written = (network.embedding.to_dense() != 0).any(axis=0)
    if network.position == "add":
        assert network.positions is not None
        written |= (network.positions != 0).any(axis=0)
    inputs = {node for node in named if node.site.kind in READ_SITES and written[node.index]}
    if network.position == "concat":
        for node in named:
            if node.site.kind in ("attn.q", "attn.k", "attn.v", "mlp.neuron"):
                assert node.site.layer is not None
                dense = network.layers[node.site.layer].into(node.site.kind).to_dense()
                if dense[node.index, network.d_model :].any():
                    inputs.add(node)
    answered = (network.unembedding.to_dense() != 0).any(axis=0)
    ends = {node for node in named if node.site.kind == "final" and answered[node.index]}
    back: dict[Node, set[Node]] = defaultdict(set)
    for a, targets in steps.items():
        for b in targets:
            back[b].add(a)
    both = spread(inputs, steps) & spread(ends, back)
    found: dict[Site, list[int]] = defaultdict(list)
    for node in sorted(both):
        found[node.site].append(node.index)
    return {site: tuple(indices) for site, indices in found.items()}


def spread(start: set[Node], steps: dict[Node, set[Node]]) -> set[Node]:
    seen, todo = set(start), list(start)
    while todo:
        new = steps[todo.pop()] - seen
        seen |= new
        todo += new
    return seen


def test_two_circuits_are_joined_and_compared() -> None:
    a = Node(Site(0, "mlp.in"), 1)
    b, c = Node(Site(0, "mlp.neuron"), 2), Node(Site(0, "mlp.neuron"), 3)
    one = Subgraph(frozenset({a, b}), frozenset({Edge(a, b)}))
    two = Subgraph(frozenset({a, c}), frozenset({Edge(a, c)}))
    assert (one | two) == Subgraph(frozenset({a, b, c}), frozenset({Edge(a, b), Edge(a, c)}))
    assert (one & two) == Subgraph(frozenset({a}), frozenset())
    assert (one - two) == Subgraph(frozenset({b}), frozenset({Edge(a, b)}))
    assert one.jaccard(two) == pytest.approx((1 / 3, 0))
    assert one.jaccard(one) == (1, 1)
    nothing = Subgraph(frozenset(), frozenset())
    assert nothing.jaccard(nothing) == (1, 1)


def test_a_circuit_gives_its_graph() -> None:
    circuit = small_circuit()
    graph = circuit.graph()
    assert len(graph.nodes) == circuit.n_nodes
    assert graph.edges == {edge for edge, _ in circuit.edges()}
    assert len(graph.edges) == circuit.n_edges > 0
