"""Why heads look where they look: exact products of queries and keys, for the page's QK panel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wirework.circuit import Circuit
from wirework.core import Node, Site
from wirework.interop.neuronpedia.direct import DirectEffects
from wirework.interop.neuronpedia.ids import feature_id

_Weighted = tuple[float, tuple[str, ...]]


def tracing_results(
    circuit: Circuit, effects: DirectEffects, node: Node, position: int, *, most: int
) -> dict[str, list[list[Any]]] | None:
    """`qk_tracing_results` of a node of `attn.out` at a position: why its heads look there.

    `pair_wise_contributors` [query node, key node, q k / sqrt(d_head)]: the products of one kept
    channel of the head at the position and at a key. `top_q_marginal_contributors` [query node,
    weight]: the channel's part of the score, in the mean over keys as the head attends to them.
    `top_k_marginal_contributors` [key node, weight]: its part of the score at that key; in both
    the other side may be held at a constant. The `most` largest of each; None without any.
    """
    layer, seen = node.site.layer, position + 1
    assert layer is not None
    width, n_layer = circuit.network.d_head, len(circuit.network.layers)
    q, k = Site(layer, "attn.q"), Site(layer, "attn.k")
    kept = {site: frozenset(circuit.nodes.get(site, ())) for site in (q, k)}
    pairs: list[_Weighted] = []
    queries: list[_Weighted] = []
    keys: list[_Weighted] = []
    heads = _heads(circuit, node)
    for channel in sorted(kept[q] | kept[k]):
        head = channel // width
        if head not in heads:
            continue
        query = effects.trace.sites[q][0, position, channel] / math.sqrt(width)
        products = query * effects.trace.sites[k][0, :seen, channel]
        attention = effects.trace.attention[layer][0, head, position, :seen]
        mine = feature_id(Node(q, channel), position, n_layer)
        if channel in kept[q] and products.any():
            queries.append((float(products @ attention), (mine,)))
        for place in np.flatnonzero(products).tolist() if channel in kept[k] else ():
            other = feature_id(Node(k, channel), place, n_layer)
            keys.append((float(products[place]), (other,)))
            if channel in kept[q]:
                pairs.append((float(products[place]), (mine, other)))
    if not (queries or keys):
        return None
    return {
        "pair_wise_contributors": _largest(pairs, most),
        "top_q_marginal_contributors": _largest(queries, most),
        "top_k_marginal_contributors": _largest(keys, most),
    }


def _heads(circuit: Circuit, node: Node) -> frozenset[int]:
    """The heads whose kept value channels have a weight into a node of `attn.out`."""
    layer = node.site.layer
    assert layer is not None
    matrix = circuit.network.layers[layer].attn_out
    into = matrix.indices[matrix.indptr[node.index] : matrix.indptr[node.index + 1]]
    kept = set(circuit.nodes.get(Site(layer, "attn.v"), ()))
    return frozenset(int(i) // circuit.network.d_head for i in into if int(i) in kept)


def _largest(found: list[_Weighted], most: int) -> list[list[Any]]:
    ordered = sorted(found, key=lambda item: (-abs(item[0]), item[1]))
    return [[*ends, weight] for weight, ends in ordered[:most]]
