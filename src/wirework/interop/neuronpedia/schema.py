"""The format of an attribution graph as a JSON schema (draft-07), and a reader of such schemas.

Written from circuit_tools.md §4.1. Additional keys are allowed at every level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_STRING = {"type": "string"}
_NUMBER = {"type": "number"}
_STRINGS = {"type": "array", "items": _STRING}

_METADATA = {
    "type": "object",
    "required": ["slug", "scan", "prompt_tokens", "prompt"],
    "properties": {
        "slug": _STRING,
        "scan": _STRING,
        "prompt_tokens": _STRINGS,
        "prompt": _STRING,
        "node_threshold": _NUMBER,
        "schema_version": {"type": "integer"},
        "transcoder_list": _STRINGS,
        "title_prefix": _STRING,
        "feature_details": {
            "type": "object",
            "properties": {
                "feature_json_base_url": _STRING,
                "neuronpedia_source_set": _STRING,
                "neuronpedia_lorsa_source_set": _STRING,
            },
        },
        "info": {
            "type": "object",
            "properties": {
                "description": _STRING,
                "creator_name": _STRING,
                "creator_url": _STRING,
                "source_urls": {"type": "array"},
                "generator": {
                    "type": "object",
                    "properties": {
                        "name": _STRING, "version": _STRING, "url": _STRING, "email": _STRING,
                    },
                },
                "create_time_ms": _NUMBER,
            },
        },
        "generation_settings": {"type": "object"},
        "pruning_settings": {
            "type": "object",
            "properties": {"node_threshold": _NUMBER, "edge_threshold": _NUMBER},
        },
    },
}  # fmt: skip

_QUERY_KEY = {
    "type": ["object", "null"],
    "properties": {
        "pair_wise_contributors": {"type": "array", "items": {"type": "array"}},
        "top_q_marginal_contributors": {"type": "array", "items": {"type": "array"}},
        "top_k_marginal_contributors": {"type": "array", "items": {"type": "array"}},
    },
}

_NODE = {
    "type": "object",
    "required": ["node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"],
    "properties": {
        "node_id": _STRING,
        "feature": {"type": ["integer", "null"]},
        "layer": {"type": ["string", "integer"]},
        "ctx_idx": {"type": "integer"},
        "feature_type": _STRING,
        "jsNodeId": _STRING,
        "clerp": _STRING,
        "influence": {"type": ["number", "null"]},
        "activation": {"type": ["number", "null"]},
        "token_prob": _NUMBER,
        "is_target_logit": {"type": "boolean"},
        "run_idx": {"type": "integer"},
        "reverse_ctx_idx": {"type": "integer"},
        "qk_tracing_results": _QUERY_KEY,
    },
}

_LINK = {
    "type": "object",
    "required": ["source", "target", "weight"],
    "properties": {"source": _STRING, "target": _STRING, "weight": _NUMBER},
}


def graph_schema() -> dict[str, Any]:
    """The schema of a whole graph, for any draft-07 validator."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Attribution graph",
        "type": "object",
        "required": ["metadata", "qParams", "nodes", "links"],
        "properties": {
            "metadata": _METADATA,
            "qParams": {
                "type": "object",
                "properties": {
                    "pinnedIds": _STRINGS,
                    "supernodes": {"type": "array"},
                    "linkType": _STRING,
                    "clickedId": _STRING,
                    "sg_pos": _STRING,
                },
            },
            "nodes": {"type": "array", "items": _NODE},
            "links": {"type": "array", "items": _LINK},
            "qk_only_nodes": {"type": "object", "additionalProperties": _NODE},
        },
    }


def feature_schema() -> dict[str, Any]:
    """The schema of a feature's details."""
    example = {
        "type": "object",
        "required": ["tokens_acts_list", "tokens"],
        "properties": {
            "tokens_acts_list": {"type": "array", "items": _NUMBER}, "tokens": _STRINGS,
        },
    }  # fmt: skip
    quantile = {
        "type": "object",
        "required": ["quantile_name", "examples"],
        "properties": {"quantile_name": _STRING, "examples": {"type": "array", "items": example}},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Feature details",
        "type": "object",
        "required": ["index", "examples_quantiles"],
        "properties": {
            "index": {"type": "integer"},
            "examples_quantiles": {"type": "array", "items": quantile},
            "top_logits": _STRINGS,
            "bottom_logits": _STRINGS,
        },
    }


def faults(schema: Mapping[str, Any], value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Where a value breaks a schema and how: (place, what is wrong).

    Reads what the schemas above are written in: `type`, `required`, `properties`, `items` and
    `additionalProperties`.
    """
    kinds = schema.get("type", list(_IS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_IS[kind](value) for kind in kinds):
        yield where, f"is {_kind(value)}, not {' or '.join(kinds)}"
        return
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield where, f"lacks the key {name!r}"
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, item in value.items():
            part = known.get(name, others)
            if part is not None:
                yield from faults(part, item, f"{where}.{name}" if where else str(name))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from faults(schema["items"], item, f"{where}[{index}]")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_IS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _number,
    "integer": lambda value: _number(value) and (isinstance(value, int) or value.is_integer()),
}


def _kind(value: Any) -> str:
    return next((kind for kind, holds in _IS.items() if holds(value)), type(value).__name__)
