"""One prompt through a lone circuit as an attribution graph that the public viewers show.

Format: circuit_tools.md §4.1; what every number means: docs/exchange.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from wirework.circuit import Circuit
from wirework.circuit.groups import Groups
from wirework.core import Config, Node, WireworkError
from wirework.data import Tokenizer
from wirework.engine.sparse import Floats
from wirework.interop.neuronpedia.check import require_size
from wirework.interop.neuronpedia.direct import DirectEffects, direct_effects
from wirework.interop.neuronpedia.groups import KEPT, LAYERS, query_params
from wirework.interop.neuronpedia.ids import (
    TOKEN_ROW,
    cantor,
    feature_id,
    logit_id,
    logit_row,
    parse_feature_id,
    row_of,
    rows,
    token_id,
)
from wirework.interop.neuronpedia.influence import Links, cumulative, influence, prune
from wirework.interop.neuronpedia.query_key import tracing_results

Graph = dict[str, Any]

_LINK_BYTES = 60
"""The least that one link takes in a file."""


class GraphConfig(Config):
    """How a graph is made.

    `slug`: its name in addresses; empty: made of the task and the prompt. `scan`: the model's
    name in the viewer; empty: of the model's hash. `logits`, `logit_share`: as many of the most
    probable answers as make up this share, but no more. Thresholds: see `prune`; 1 keeps all.
    `query_key`: how many entries each list of `qk_tracing_results` may have, 0 for none.
    `local`: for circuit-tracer's own page, which shows the details of one kind of node only.
    `features_url`: where the viewer finds feature details. `created_ms`: the time, in
    milliseconds since 1970, that the file is to carry.
    """

    slug: str = ""
    scan: str = ""
    logits: int = Field(10, ge=1)
    logit_share: float = Field(1.0, gt=0, le=1)
    node_threshold: float = Field(1.0, ge=0, le=1)
    edge_threshold: float = Field(1.0, ge=0, le=1)
    query_key: int = Field(32, ge=0)
    local: bool = False
    features_url: str = ""
    created_ms: int | None = None


def attribution_graph(
    circuit: Circuit,
    tokens: NDArray[np.integer[Any]],
    *,
    labels: Mapping[Node, str] | None = None,
    groups: Groups | None = None,
    config: GraphConfig | None = None,
) -> Graph:
    """The graph of a prompt `tokens` (T), T >= 2, as plain JSON values.

    Nodes: the tokens, every kept node where it is not zero, the answers at the last token. Links:
    exact direct effects (`direct_effects`). Raises `circuit-needs-model`, `graph-prompt-short`,
    `graph-empty`, `graph-node-too-large`, `graph-too-large`, `groups-foreign`, and what `forward`
    raises.
    """
    config = config or GraphConfig()
    if len(tokens) < 2:
        raise WireworkError(
            "graph-prompt-short", "the viewers hide everything of a prompt this short",
            expected="a prompt of two tokens or more", got=f"{len(tokens)} tokens",
        )  # fmt: skip
    if groups is not None:
        groups.require_of(circuit)
    return _Build(circuit, direct_effects(circuit, tokens), labels or {}, groups, config).graph()


def graph_text(graph: Graph) -> str:
    """A graph as the text of a file. Raises `graph-too-large`, `graph-not-finite`."""
    try:
        text = json.dumps(graph, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        raise WireworkError(
            "graph-not-finite", "a graph holds numbers that no JSON file can", got=str(error)
        ) from None
    require_size(len(text.encode()) + 1)
    return text + "\n"


@dataclass(eq=False)
class _Build:
    circuit: Circuit
    effects: DirectEffects
    labels: Mapping[Node, str]
    groups: Groups | None
    config: GraphConfig
    shown: dict[str, Graph] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.n_layer = len(self.circuit.network.layers)
        self.tokenizer = Tokenizer.from_json(self.circuit.tokenizer)
        self.length = len(self.effects.tokens)
        self.first_logit = self.length * (1 + len(self.effects.nodes))
        self.probability = _softmax(self.effects.logits)
        self.number = {node: k for k, node in enumerate(self.effects.nodes)}

    def graph(self) -> Graph:
        links, logits = self.links()
        fixed = links.row == 0
        fixed[self.first_logit :] = logits > 0
        weights = np.zeros(len(links.row))
        weights[self.first_logit :] = logits
        share = cumulative(influence(links, weights))
        nodes, kept = prune(
            links, weights, fixed,
            node_threshold=self.config.node_threshold, edge_threshold=self.config.edge_threshold,
        )  # fmt: skip
        links = links.pick(kept)
        require_size(len(links.weight) * _LINK_BYTES)
        linked = np.zeros(len(links.row), dtype=np.bool_)
        linked[links.source] = linked[links.target] = True
        listed = np.flatnonzero(fixed | (nodes & linked))
        if not ((listed >= self.length) & (listed < self.first_logit)).any():
            raise WireworkError(
                "graph-empty", "nothing of the circuit is left, and the viewers would stop",
                expected="higher thresholds, or a prompt on which some node is not zero",
                got=f"thresholds {self.config.node_threshold:g}, {self.config.edge_threshold:g}",
            )  # fmt: skip
        ids = {int(end): self.describe(int(end), share) for end in listed}
        ends = zip(links.source, links.target, links.weight, strict=True)
        value: Graph = {
            "metadata": self.metadata(),
            "qParams": query_params(self.groups, self.places()),
            "nodes": list(self.shown.values()),
            "links": [
                {"source": ids[int(s)], "target": ids[int(t)], "weight": float(w)}
                for s, t, w in ends
            ],
            KEPT: (self.groups or Groups(self.circuit.model_hash)).to_json(),
        }
        only = self.query_key()
        return {**value, "qk_only_nodes": only} if only else value

    def links(self) -> tuple[Links, Floats]:
        """The links into nodes and chosen answers; the probability of every chosen answer, else 0,
        (O)."""
        order = np.argsort(-self.probability, kind="stable")
        before = np.cumsum(self.probability[order]) - self.probability[order]
        chosen = order[before < self.config.logit_share][: self.config.logits]
        logits = np.zeros(len(self.probability))
        logits[chosen] = np.maximum(self.probability[chosen], np.finfo(float).tiny)
        row = np.zeros(self.effects.n_ends, dtype=np.int64)
        of_nodes = [row_of(node.site, self.n_layer) for node in self.effects.nodes]
        row[self.length : self.first_logit] = np.repeat(of_nodes, self.length)
        row[self.first_logit :] = logit_row(self.n_layer)
        links = Links(self.effects.source, self.effects.target, self.effects.weight, row)
        answer = links.target - self.first_logit
        return links.pick((answer < 0) | (logits[np.maximum(answer, 0)] > 0)), logits

    def describe(self, end: int, share: Floats) -> str:
        """Add the entry of an end of links; its id."""
        if end < self.length:
            entry = self.token(end)
        elif end >= self.first_logit:
            entry = self.logit(end - self.first_logit)
        else:
            node, position = divmod(end - self.length, self.length)
            entry = self.feature(self.effects.nodes[node], position)
        if end < self.first_logit:
            entry["influence"] = float(share[end])
        found: str = entry["node_id"]
        self.shown[found] = entry
        return found

    def token(self, position: int) -> Graph:
        token = int(self.effects.tokens[position])
        found = token_id(token, position)
        return {
            **_entry(found, TOKEN_ROW, position, "embedding"),
            "feature": position,
            "jsNodeId": f"{TOKEN_ROW}_{token}-{position}",
            "clerp": f'Emb: "{self.text(token)}"',
        }

    def logit(self, number: int) -> Graph:
        token, position = int(self.circuit.network.answers[number]), self.length - 1
        share = float(self.probability[number])
        # The page reads the number after the first "(p=".
        text = self.text(token).replace("(p=", "(p =")
        row = str(logit_row(self.n_layer))
        return {
            **_entry(logit_id(token, position, self.n_layer), row, position, "logit"),
            "feature": token,
            "jsNodeId": f"L_{token}-{position}",
            "clerp": f'Output "{text}" (p={share:.3f})',
            "token_prob": share,
            "is_target_logit": number == int(self.probability.argmax()),
            "wirework_logit": float(self.effects.logits[number]),
            "wirework_constant": float(self.effects.logit_constants[number]),
        }

    def feature(self, node: Node, position: int) -> Graph:
        row, number = row_of(node.site, self.n_layer), self.number[node]
        label = self.labels.get(node)
        found = {
            **_entry(feature_id(node, position, self.n_layer), str(row), position, self.kind(node)),
            "feature": cantor(row, node.index),
            "jsNodeId": f"{row}_{node.index}-{position}",
            "clerp": safe(f"{node}: {label}" if label else str(node)),
            "activation": float(self.effects.values[position, number]),
            "influence": None,
            "wirework_node": str(node),
            "wirework_constant": float(self.effects.constants[position, number]),
        }
        if node.site.kind == "mlp.neuron":
            found["wirework_before"] = float(self.effects.before[position, number])
        return found

    def kind(self, node: Node) -> str:
        if self.config.local:
            return "cross layer transcoder"
        kind = node.site.kind
        return "mlp neuron" if kind == "mlp.neuron" else f"{kind} channel"

    def text(self, token: int) -> str:
        return shown_token(self.tokenizer, token)

    def places(self) -> dict[Node, list[str]]:
        """Ids of every circuit node in the graph, by position."""
        found: dict[Node, list[str]] = {}
        for one in self.shown:
            place = parse_feature_id(one, self.n_layer)
            if place is not None:
                found.setdefault(place[0], []).append(one)
        return found

    def query_key(self) -> dict[str, Graph]:
        """Add the results of query and key to what attention writes; entries of the queries and
        keys that are no nodes of the graph."""
        only: dict[str, Graph] = {}
        for one, entry in self.shown.items() if self.config.query_key else ():
            place = parse_feature_id(one, self.n_layer)
            if place is None or place[0].site.kind != "attn.out":
                continue
            results = tracing_results(
                self.circuit, self.effects, *place, most=self.config.query_key
            )
            if results is None:
                continue
            entry["qk_tracing_results"] = results
            for item in (item for found in results.values() for item in found):
                for end in item[:-1]:
                    other = parse_feature_id(end, self.n_layer)
                    assert other is not None
                    if end not in self.shown and end not in only:
                        only[end] = self.feature(*other)
        return only

    def metadata(self) -> Graph:
        circuit, config = self.circuit, self.config
        prompt = self.tokenizer.decode(int(token) for token in self.effects.tokens)
        task = str(circuit.task.get("name", "circuit"))
        info: Graph = {
            "description": f"A circuit for {task}, run alone on one prompt. Links are exact direct "
            "effects with norms, attention and AbsTopK as they are on it; the probabilities of "
            "answers are shares among the circuit's answer tokens.",
            "creator_name": "wirework",
            "source_urls": [],
            "generator": {"name": "wirework", "version": metadata.version("wirework")},
        }
        if config.created_ms is not None:
            info["create_time_ms"] = config.created_ms
        value: Graph = {
            "slug": slug_of(config.slug or f"{task}-{_digest(self.effects.tokens)}"),
            "scan": config.scan or f"wirework-{circuit.model_hash[:12]}",
            "transcoder_list": [],
            "prompt_tokens": [self.text(int(token)) for token in self.effects.tokens],
            "prompt": prompt,
            "title_prefix": task,
            "node_threshold": config.node_threshold,
            "schema_version": 1,
            "info": info,
            "generation_settings": {
                "max_n_logits": config.logits,
                "desired_logit_prob": config.logit_share,
                "wirework_query_key": config.query_key,
            },
            "pruning_settings": {
                "node_threshold": config.node_threshold, "edge_threshold": config.edge_threshold,
            },
            LAYERS: self.n_layer,
            "wirework_rows": rows(self.n_layer),
            "wirework_token_ids": self.effects.tokens.tolist(),
            "wirework_model_hash": circuit.model_hash,
            "wirework_task": task,
            "wirework_ablation": circuit.ablation,
        }  # fmt: skip
        if config.features_url:
            value["feature_details"] = {"feature_json_base_url": config.features_url}
        return value


def _entry(found: str, layer: str, position: int, kind: str) -> Graph:
    return {
        "node_id": found,
        "feature": None,
        "layer": layer,
        "ctx_idx": position,
        "feature_type": kind,
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
    }


def shown_token(tokenizer: Tokenizer, token: int) -> str:
    """A token's text with white space that can be seen, as circuit-tracer shows it."""
    text = tokenizer.token_text(token)
    return safe(text.replace("\n", "⏎").replace("\t", "→").replace("\r", "↵"))


def safe(text: str) -> str:
    """A text without what opens a tag: the viewers put labels into their pages as markup."""
    return re.sub(r"<(?=[A-Za-z/!?])", "‹", text)


def slug_of(text: str) -> str:
    """A text as a name in addresses and of files: letters, digits, `-` and `_`."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:100] or "graph"


def _digest(tokens: NDArray[np.int64]) -> str:
    return hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest()[:8]


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max()) if len(logits) else logits
    shares: Floats = raised / raised.sum()
    return shares
