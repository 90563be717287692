"""Cutting single edges and nodes, exactly: of a lone circuit or of a gated network.

An edge that is cut shows its target the source's constant instead of the source: weight * constant
goes into the target's bias, in float64, as `extract` folds cut nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wirework.circuit.graph import (
    MATRIX,
    between,
    edges,
    kept_nodes,
    replace_layers,
    weights_of,
)
from wirework.core import Edge, Node, Site, WireworkError
from wirework.core.names import EDGE_BLOCKS
from wirework.engine import Layer, Network, SiteGate, SparseMatrix
from wirework.engine.sparse import Floats, multiply

if TYPE_CHECKING:
    from wirework.circuit.circuit import Circuit


def without_edges(network: Network, cut: Collection[Edge]) -> Network:
    """The network in which every target of `cut` sees the constant of the edge's source.

    What a cut edge from attn.v gives is its weight * constant * its head's share of attention on
    real keys. Constants are those of the gates, which must stand at every source. Weights with an
    end that is itself cut are no edges and stay as they are. Raises `edge-absent`,
    `edge-without-constant`.
    """
    parts: dict[int, dict[str, Any]] = defaultdict(dict)
    for target, mask in weights_of(network, between(cut, kept_nodes(network))).items():
        assert target.layer is not None
        layer, name = network.layers[target.layer], MATRIX[target.kind]
        matrix = layer.into(target.kind)
        gone = matrix.pick(mask)
        constants = _constants(network, Site(target.layer, _SOURCE[target.kind]), matrix.shape[1])
        changed = parts[target.layer]
        changed[name] = matrix.pick(~mask)
        if target.kind == "attn.out" and layer.sink is not None:
            more = through_heads(gone, constants, network)
            changed["head_constant"] = _sum(layer, more)
        else:
            changed[f"{name}_bias"] = fold(gone, getattr(layer, f"{name}_bias"), constants)
    return replace_layers(network, parts)


_SOURCE = {target: source for source, target in EDGE_BLOCKS}


def _constants(network: Network, site: Site, width: int) -> NDArray[np.float64]:
    gate = network.gates.get(site)
    if gate is None:
        raise WireworkError(
            "edge-without-constant",
            f"no constant stands for the channels of {site}",
            expected="a gate at the source of every edge that is cut",
            got="a site without a gate",
        )
    # Position columns stand behind the channels; they are no nodes.
    return np.pad(gate.constant, (0, width - len(gate.constant)))


def fold(matrix: SparseMatrix, bias: Floats | None, held: NDArray[np.float64]) -> Floats | None:
    """bias + matrix @ held in float64; left as it is where nothing is added."""
    whole = multiply(matrix, held[np.newaxis], bias)[0]
    before = np.zeros(len(whole)) if bias is None else bias
    return bias if np.array_equal(whole, before) else whole


def through_heads(
    matrix: SparseMatrix, held: NDArray[np.float64], network: Network
) -> NDArray[np.float64]:
    """What value channels held at `held` (A) give for every head's share of attention on real
    keys, (D, n_head)."""
    found = np.zeros((matrix.shape[0], network.n_head))
    heads = matrix.indices // network.d_head
    np.add.at(found, (matrix.row_of, heads), matrix.values * held[matrix.indices])
    return found


def _sum(layer: Layer, more: NDArray[np.float64]) -> NDArray[np.float64] | None:
    whole = more if layer.head_constant is None else layer.head_constant + more
    return whole if whole.any() else None


def without_node(network: Network, node: Node) -> Network:
    """The network with one more node held at its constant; its weights stay where they are."""
    gate = network.gates[node.site]
    keep = gate.keep.copy()
    keep[node.index] = False
    gates = {**network.gates, node.site: SiteGate(keep, gate.constant, gate.before)}
    return replace(network, gates=gates)


def cut_edges(circuit: Circuit, network: Network) -> tuple[Edge, ...]:
    """The edges that were cut from a circuit of `network`, the whole model: its nonzero weights
    between kept nodes that the circuit lacks. In order of computation."""
    left = {edge for edge, _ in circuit.edges()}
    return tuple(edge for edge, _ in edges(network, circuit.nodes) if edge not in left)
