"""Details of a feature: the texts in which a node is most active, the answers that it pushes.

Format: circuit_tools.md §4.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wirework.circuit import Circuit
from wirework.core import Node
from wirework.core.names import FINAL
from wirework.data import Tokenizer
from wirework.interop.evidence import Examples
from wirework.interop.neuronpedia.graph import safe, shown_token
from wirework.interop.neuronpedia.ids import cantor, row_of

_LISTS = {"top": "Top activations", "random": "Random activations"}
_ANSWERS = 10


def feature_number(circuit: Circuit, node: Node) -> int:
    """The node's number in graphs, which is also the name of its file."""
    return cantor(row_of(node.site, len(circuit.network.layers)), node.index)


def feature_details(
    circuit: Circuit, node: Node, examples: Examples | None = None
) -> dict[str, Any]:
    """A node's details as plain JSON values; without `examples` its lists are empty.

    `top_logits`, `bottom_logits`: the answer tokens on which a node of `final` has the largest
    positive and negative weights; of other nodes there are none, since they push no answer
    directly.
    """
    found = examples or {}
    values = [v for lists in found.values() for _, numbers, _ in lists for v in numbers]
    raised, lowered = _answers(circuit, node)
    details: dict[str, Any] = {
        "index": feature_number(circuit, node),
        "examples_quantiles": [
            {"quantile_name": _LISTS[kind], "examples": [_example(*one) for one in lists]}
            for kind, lists in found.items()
            if lists
        ],
        "top_logits": raised,
        "bottom_logits": lowered,
        "wirework_node": str(node),
    }
    if values:
        # The page colours from act_min to act_max, and 0 is to be one of its colours.
        details |= {"act_min": min(0.0, *values), "act_max": max(0.0, *values)}
    return details


def _example(tokens: list[str], values: list[float], position: int) -> dict[str, Any]:
    return {
        "tokens": [safe(token) for token in tokens],
        "tokens_acts_list": values,
        "train_token_ind": position,
        "is_repeated_datapoint": False,
    }


def _answers(circuit: Circuit, node: Node) -> tuple[list[str], list[str]]:
    if node.site.kind != FINAL:
        return [], []
    matrix, tokenizer = circuit.network.unembedding, Tokenizer.from_json(circuit.tokenizer)
    here = np.flatnonzero(matrix.indices == node.index)
    order = here[np.argsort(-matrix.values[here], kind="stable")]
    tokens = circuit.network.answers[matrix.row_of[order]]
    texts = [shown_token(tokenizer, int(token)) for token in tokens]
    count = int((matrix.values[order] > 0).sum())
    return texts[:count][:_ANSWERS], texts[count:][::-1][:_ANSWERS]
